// What is kept in a browser, with a database and locks that do what a browser's do.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { settle, world } from './fake.mjs'

const turn = () => new Promise(setImmediate)

/** One object store. Transactions go one after the other, whole or not at all; requests end in later turns. */
class FakeDatabase {
  rows = new Map()
  breaks = () => false // whether a row cannot be put
  paused = undefined // while it is a promise, no transaction ends
  #last = Promise.resolve()

  open = () => {
    const request = { result: this }
    turn().then(() => request.onsuccess())
    return request
  }

  transaction () {
    const waiting = []
    const request = act => {
      const own = {}
      waiting.push(() => { own.result = act(); own.onsuccess?.() })
      return own
    }
    const transaction = {
      objectStore: () => ({
        getAll: () => request(() => structuredClone([...this.rows.values()])),
        delete: id => request(() => this.rows.delete(id)),
        put: row => request(() => {
          if (this.breaks(row)) throw new Error('quota')
          this.rows.set(row.id, structuredClone(row))
        })
      })
    }
    this.#last = this.#last.then(async () => {
      const before = new Map(this.rows)
      try {
        for (let next; (next = waiting.shift());) {
          await turn()
          next()
        }
        await this.paused
        transaction.oncomplete()
      } catch (err) {
        this.rows = before
        transaction.error = err
        transaction.onabort()
      }
    })
    return transaction
  }

  bodies = () => [...this.rows.values()].map(row => row.body).sort()
}

class FakeLocks {
  #last = new Map()
  #held = new Set()

  request = (name, act) => {
    const own = Promise.resolve(this.#last.get(name)).then(async () => {
      this.#held.add(name)
      try { return await act() } finally { this.#held.delete(name) }
    })
    this.#last.set(name, own.catch(() => {}))
    return own
  }

  query = async () => ({ held: [...this.#held].map(name => ({ name })) })
}

let database

function browser (locks) {
  database = new FakeDatabase()
  Object.defineProperty(globalThis, 'indexedDB', { value: database, configurable: true })
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true })
}

beforeEach(() => browser(new FakeLocks()))

const settled = async () => { for (let n = 0; n < 10; n++) await settle() }
const published = socket => socket.take('publish').map(f => f.body)
const ack = (socket, { id, room }) => socket.say({ type: 'ack', id, room, seq: 1 })

async function reconnect (w) {
  await w.socket.drop()
  await w.clock.pass(1000)
  await w.socket.welcome()
}

/** A page of alice's that has left something unsent, and is closed unless it lives. */
async function page (body, lives) {
  const w = world()
  const { room } = await w.inRoom()
  room.send(body)
  await settled()
  if (!lives) w.client.close()
  return w
}

for (const [where, locks] of [['', () => new FakeLocks()], [', also without locks', () => undefined]]) {
  test(`a message that has its ack while another connect looks through what is kept is not sent again${where}`, async () => {
    browser(locks())
    const w = world()
    const { room, socket } = await w.inRoom()
    const told = []
    room.on('outgoing', m => told.push(m.status))
    const sending = room.send('a')
    await settled()
    assert.deepEqual([published(socket), database.bodies()], [['a'], ['a']])
    let goOn
    database.paused = new Promise(resolve => { goOn = resolve })
    await reconnect(w)
    await settled() // it has looked
    await w.socket.joined()
    assert.deepEqual(published(w.socket), ['a'])
    await ack(w.socket, sending)
    database.paused = undefined
    goOn()
    await settled()
    assert.deepEqual([database.bodies(), room.outgoing, published(w.socket)], [[], [], []])
    assert.deepEqual(told, ['queued', 'sending', 'sending', 'saved'])
  })
}

test('a page takes over what a closed one has left, once, and neither what a living one cares for, nor what is of others', async () => {
  await page('of the living', true)
  await page('of the closed')
  const other = { id: '019aa96e-c400-7c4a-9d41-5f0a2b6c8e13', room: 'lobby', body: 'of mallory', user: 'mallory', owner: 'gone' }
  database.rows.set(other.id, other)
  const next = [world(), world()]
  for (const w of next) await w.inRoom() // at once
  await settled()
  assert.deepEqual(next.map(w => w.client.room('lobby').outgoing.map(m => m.body)), [['of the closed'], []])
  assert.deepEqual(database.bodies(), ['of mallory', 'of the closed', 'of the living'])
})

test('what could not be taken over as a whole is taken over another time', async () => {
  await page('one')
  await page('two') // which takes over "one"
  const w = world()
  const told = []
  w.client.on('error', err => told.push(err.message))
  database.breaks = row => row.body === 'two'
  await w.inRoom()
  await settled()
  const outgoing = () => w.client.room('lobby').outgoing.map(m => m.body)
  assert.deepEqual([outgoing(), told], [[], ['quota']])
  database.breaks = () => false
  await reconnect(w)
  await settled()
  assert.deepEqual(outgoing(), ['one', 'two'])
})

test('a client that is closed while it takes over leaves everything to the next one', async () => {
  await page('x')
  const w = world()
  w.client.room('lobby').join()
  const taking = w.socket.welcome()
  w.client.close()
  await taking
  await settled()
  const next = world()
  const { room } = await next.inRoom()
  await settled()
  assert.deepEqual(room.outgoing.map(m => [m.body, m.status]), [['x', 'sending']])
})

test('a client that is closed before it has its lock holds none, and keeps again what it sends later', async () => {
  const w = world({ user: 'alice' })
  w.client.room('lobby').send('x')
  w.client.close() // the lock is asked for
  await settled()
  assert.deepEqual(database.bodies(), ['x'])
  const next = world()
  const { room } = await next.inRoom()
  await settled()
  assert.deepEqual(room.outgoing.map(m => m.body), ['x'])
  w.client.connect()
  await w.socket.welcome()
  w.client.room('lobby').send('y')
  await settled()
  assert.deepEqual(database.bodies(), ['x', 'y'])
})
