import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { settle, world } from './fake.mjs'
import { load } from './source.mjs'

const { unpack } = await load('wire')

/** A storage whose content outlives its client. */
class Shelf {
  kept = new Map()
  async adopt (user) { return [...this.kept.values()].filter(m => m.user === user) }
  async put (m) { this.kept.set(m.id, structuredClone(m)) }
  async delete (id) { this.kept.delete(id) }
}

const published = socket => socket.take('publish').map(f => [f.body, f.retry])
const ack = (socket, sending, seq = 1) => socket.say({ type: 'ack', id: sending.id, room: sending.room, seq })
const refuse = (socket, sending, code, retry_ms) => socket.say({ type: 'error', id: sending.id, code, message: code, retry_ms })

async function reconnect (w) {
  await w.socket.drop()
  await w.clock.pass(30_000)
  await w.socket.welcome()
}

describe('sending', () => {
  test('a message has its id and status at once, and is saved when the server says so', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const told = []
    room.on('outgoing', m => told.push([m.id === undefined, m.status]))
    const sending = room.send({ text: 'hi' }, { to: 'bob', kind: 'note' })
    assert.match(sending.id, /^[0-9a-f-]{36}$/)
    assert.equal(sending.status, 'sending')
    const { ref, ...frame } = socket.take('publish')[0]
    assert.deepEqual(frame, { type: 'publish', id: sending.id, room: 'lobby', to: 'bob', kind: 'note', body: { text: 'hi' } })
    await ack(socket, sending, 77)
    assert.deepEqual(await sending.sent, { room: 'lobby', seq: 77 })
    assert.deepEqual([sending.status, room.outgoing, told], ['saved', [], [[false, 'queued'], [false, 'sending'], [false, 'saved']]])
  })

  test('one at a time a room, in order; rooms do not wait for each other', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const other = w.client.room('other')
    const [a, b] = [room.send('a'), room.send('b')]
    other.send('c')
    await settle()
    assert.deepEqual(published(socket), [['a', undefined]])
    await socket.joined({ room: 'other' })
    assert.deepEqual(published(socket), [['c', undefined]])
    await ack(socket, a)
    assert.deepEqual(published(socket), [['b', undefined]])
    await ack(socket, b)
    assert.deepEqual(room.outgoing, [])
  })

  test('before there is a connection: it makes one, and joins the room', async () => {
    const w = world()
    w.client.room('lobby').send('x')
    assert.equal(w.client.state.name, 'connecting')
    await w.socket.welcome()
    assert.deepEqual(published(w.socket), [])
    await w.socket.joined()
    assert.deepEqual(published(w.socket), [['x', undefined]])
  })

  test('after a broken connection: the join first, then what is unacked with retry, oldest first, under the same id', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const [a] = [room.send('a'), room.send('b')]
    socket.take('publish')
    await reconnect(w)
    const c = room.send('c')
    assert.deepEqual(published(w.socket), [])
    await w.socket.joined()
    const [first] = w.socket.take('publish')
    assert.deepEqual([first.id, first.body, first.retry], [a.id, 'a', true])
    assert.equal(c.status, 'queued')
    await ack(w.socket, a)
    assert.deepEqual(published(w.socket), [['b', undefined]])
  })

  test('what is sent again is what was sent', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const body = { text: 'before' }
    room.send(body)
    body.text = 'after'
    await reconnect(w)
    await w.socket.joined()
    assert.deepEqual([socket.take('publish')[0].body, w.socket.take('publish')[0].body], [{ text: 'before' }, { text: 'before' }])
    assert.throws(() => room.send(1n), TypeError)
  })

  test('bytes', async () => {
    const w = world()
    const { room, got, socket } = await w.inRoom()
    for (const body of [new Uint8Array([1, 2]), new Uint8Array([1, 2]).buffer, new DataView(new Uint8Array([9, 1, 2]).buffer, 1)]) {
      const sending = room.send(body, { kind: 'image.png' })
      const frame = unpack(socket.sent.pop().buffer)
      assert.deepEqual([frame.type, frame.room, frame.kind, frame.id, frame.body], ['publish', 'lobby', 'image.png', sending.id, new Uint8Array([1, 2])])
      await ack(socket, sending)
    }
    const head = new TextEncoder().encode(JSON.stringify({ type: 'message', id: 'b', room: 'lobby', seq: 8, sender: 'bob', kind: 'x' }))
    await socket.say(new Uint8Array([1, 0, head.length, ...head, 255, 0]).buffer)
    assert.deepEqual(got[0].body, new Uint8Array([255, 0]))
  })
})

describe('refusals', () => {
  for (const code of ['busy', 'unavailable', 'internal', 'draining', 'rate_limited']) {
    test(`${code}: the room waits, then sends with retry, in order`, async () => {
      const w = world()
      const { room, socket } = await w.inRoom()
      const [a] = [room.send('a'), room.send('b')]
      socket.take('publish')
      await refuse(socket, a, code, 500)
      await w.clock.pass(499)
      room.send('c')
      assert.deepEqual(published(socket), [])
      await w.clock.pass(1)
      assert.deepEqual(published(socket), [['a', true]])
      await ack(socket, a)
      assert.deepEqual(published(socket), [['b', undefined]])
    })
  }

  test('not_joined: it joins, and sends again', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const a = room.send('a')
    socket.take('publish')
    await refuse(socket, a, 'not_joined')
    assert.deepEqual([socket.sent.map(f => f.type), room.joined], [['join'], false])
    await socket.joined()
    assert.deepEqual(published(socket), [['a', true]])
  })

  for (const code of ['forbidden', 'bad_request', 'too_large', 'id_conflict']) {
    test(`${code}: it has failed, the next goes on, and retry() sends it again`, async () => {
      const w = world({ storage: new Shelf() })
      const { room, socket } = await w.inRoom()
      const [a, b] = [room.send('a'), room.send('b')]
      const sent = assert.rejects(a.sent, { code })
      await refuse(socket, a, code)
      await sent
      assert.deepEqual([a.status, a.error.code, published(socket).at(-1)], ['failed', code, ['b', undefined]])
      await ack(socket, b)
      a.retry()
      a.retry()
      assert.deepEqual(published(socket), [['a', true]])
      await ack(socket, a, 9)
      assert.deepEqual([(await a.sent).seq, a.status, a.error], [9, 'saved', undefined])
    })
  }

  test('larger than the server takes: it has failed before it is sent', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const [a, b, c] = [room.send('é'.repeat(33_000)), room.send(new Uint8Array(65_536)), room.send('é'.repeat(20_000))]
    await assert.rejects(a.sent, { code: 'too_large' })
    await assert.rejects(b.sent, { code: 'too_large' })
    assert.deepEqual([c.status, socket.take('publish').length], ['sending', 1])
  })

  test('a room that is closed to us fails what was for it', async () => {
    const w = world()
    const sendings = ['a', 'b'].map(body => w.client.room('secret').send(body))
    await w.socket.welcome()
    await w.socket.answer('join', { type: 'error', code: 'forbidden', message: 'no' })
    assert.deepEqual(sendings.map(s => [s.status, s.error.code]), [['failed', 'forbidden'], ['failed', 'forbidden']])
    assert.equal(w.socket.take('join').length, 1)
  })

  test('an error of a connection that is given up is none', async () => {
    const w = world()
    const { room, socket: old } = await w.inRoom()
    w.client.call('slow').catch(() => {}) // keeps the old connection
    const a = room.send('a')
    await old.say({ type: 'goaway', reconnect_ms: 0, deadline_ms: 9000 })
    await w.clock.pass(0)
    await w.socket.welcome()
    await w.socket.joined()
    await refuse(old, a, 'draining', 1000)
    await w.clock.pass(1000)
    assert.deepEqual(published(w.socket), [['a', true]])
    await refuse(old, a, 'forbidden')
    assert.deepEqual([a.status, old.closed], ['sending', false])
  })
})

describe('a room that is left', () => {
  for (const [who, leave] of [['here', async ({ room }) => { room.leave() }], ['by the server', ({ socket }) => socket.say({ type: 'left', room: 'lobby' })]]) {
    test(`${who}: what is unsent does not bring it back, and is sent when it is joined again`, async () => {
      const w = world()
      const { room, socket } = await w.inRoom()
      const [a, b] = [room.send('a'), room.send('b')]
      socket.take('publish')
      await leave({ room, socket })
      await ack(socket, a)
      assert.deepEqual([socket.take('join'), published(socket), b.status], [[], [], 'queued'])
      await reconnect(w)
      assert.deepEqual([w.socket.take('join'), b.status], [[], 'queued'])
      room.join()
      await settle()
      await w.socket.joined()
      assert.deepEqual(published(w.socket), [['b', undefined]])
    })

    for (const [what, follows] of [
      ['that it was too late', ({ socket }, a) => refuse(socket, a, 'not_joined')],
      ['a pause that is over', async ({ socket, clock }, a) => { await refuse(socket, a, 'busy', 100); await clock.pass(100) }],
      ['a connection that breaks', w => reconnect(w)]
    ]) {
      test(`${who}: neither does ${what}`, async () => {
        const w = world()
        const { room, socket } = await w.inRoom()
        const a = room.send('a')
        await leave({ room, socket })
        await follows(w, a)
        assert.deepEqual([w.socket.take('join'), room.outgoing], [[], [a]])
        room.join()
        await settle()
        await w.socket.joined()
        assert.deepEqual(published(w.socket).at(-1), ['a', true])
      })
    }
  }

  test('send() and retry() join it', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const a = room.send('a')
    await refuse(socket, a, 'bad_request')
    socket.take('publish')
    for (const act of [() => a.retry(), () => room.send('b')]) {
      room.leave()
      act()
      await settle()
      assert.equal(socket.take('join').length, 1)
    }
  })
})

test('cancel takes back what surely was not stored', async () => {
  const w = world()
  const { room, socket } = await w.inRoom()
  const [a, b, c] = ['a', 'b', 'c'].map(body => room.send(body))
  const gone = assert.rejects(b.sent, { code: 'cancelled' })
  assert.deepEqual([a.cancel(), b.cancel(), b.cancel()], [false, true, false])
  await gone
  await refuse(socket, a, 'busy', 100)
  assert.equal(a.cancel(), false, 'it may have arrived')
  await w.clock.pass(100)
  await refuse(socket, a, 'forbidden')
  assert.equal(a.cancel(), true)
  assert.deepEqual([published(socket).at(-1), room.outgoing.map(m => m.id)], [['c', undefined], [c.id]])
})

describe('the storage', () => {
  test('what a listener takes back as soon as it hears of it is not kept', async () => {
    const shelf = new Shelf()
    const w = world({ storage: shelf })
    const { room, socket } = await w.inRoom()
    const told = []
    room.on('outgoing', m => {
      told.push(m.status)
      if (m.status === 'queued' && m.body === 'a' || m.status === 'failed') assert.equal(m.cancel(), true)
    })
    room.send('a')
    assert.deepEqual([told, published(socket), shelf.kept.size], [['queued', 'cancelled'], [], 0])
    await refuse(socket, room.send('b'), 'forbidden')
    assert.deepEqual([told.slice(2), room.outgoing, shelf.kept.size], [['queued', 'sending', 'failed', 'cancelled'], [], 0])
  })

  test('what is unsent goes out with the next client: oldest first, with retry, and is let go when acked', async () => {
    const shelf = new Shelf()
    const before = world({ storage: shelf })
    const { room } = await before.inRoom()
    const ids = ['a', 'b', 'c'].map(body => room.send(body).id)
    await settle()
    before.client.close()
    shelf.kept = new Map([...shelf.kept].reverse()) // it promises no order

    const w = world({ storage: shelf })
    const told = []
    w.client.room('lobby').on('outgoing', m => told.push(m.body + ' ' + m.status))
    await w.connect()
    const d = w.client.room('lobby').send('d')
    await w.socket.joined()
    const order = []
    for (let n = 0; n < 4; n++) {
      const [frame] = w.socket.take('publish')
      order.push([frame.id, frame.retry])
      await w.socket.say({ type: 'ack', id: frame.id, room: 'lobby', seq: n + 1 })
    }
    assert.deepEqual(order, [...ids.map(id => [id, true]), [d.id, undefined]])
    assert.deepEqual(told.slice(0, 3).sort(), ['a queued', 'b queued', 'c queued'])
    assert.equal(shelf.kept.size, 0)
  })

  test('what has failed is still there with the next client: not sent, with its reason, to be retried or taken back', async () => {
    const shelf = new Shelf()
    shelf.put = async m => { shelf.kept.set(m.id, JSON.parse(JSON.stringify(m))) } // a storage may keep text
    const before = world({ storage: shelf })
    const { room, socket } = await before.inRoom()
    for (const body of ['again', 'gone', 'fine']) {
      const sending = room.send(body)
      socket.take('publish')
      if (body === 'fine') await ack(socket, sending)
      else await refuse(socket, sending, 'forbidden')
    }
    before.client.close()

    for (let round = 0; round < 2; round++) { // it stays, for as long as nobody decides
      const w = world({ storage: shelf })
      const next = await w.inRoom()
      await settle()
      const told = next.room.outgoing.map(m => [m.body, m.status, m.error.code, m.error.message, m.error instanceof Error])
      assert.deepEqual(told, [['again', 'failed', 'forbidden', 'forbidden', true], ['gone', 'failed', 'forbidden', 'forbidden', true]])
      await assert.rejects(next.room.outgoing[0].sent, { code: 'forbidden' })
      assert.deepEqual(published(next.socket), [])
      const news = next.room.send('news')
      assert.deepEqual(published(next.socket), [['news', undefined]], 'nothing waits for them')
      await ack(next.socket, news)
      if (round === 0) {
        w.client.close()
        continue
      }
      const [again, gone] = next.room.outgoing
      assert.equal(gone.cancel(), true)
      again.retry()
      const kept = [...shelf.kept.values()].map(m => [m.body, m.error])
      assert.deepEqual(kept, [['again', undefined]], 'on its way, as any other')
      assert.deepEqual(published(next.socket), [['again', true]])
      await ack(next.socket, again, 9)
      assert.deepEqual([(await again.sent).seq, shelf.kept.size], [9, 0])
      w.client.close()
    }
  })

  test('of a room that is closed to us nothing is kept: neither what waits, nor what has failed before', async () => {
    const shelf = new Shelf()
    const w = world({ storage: shelf })
    const { room, socket } = await w.inRoom()
    const a = room.send('a')
    await refuse(socket, a, 'bad_request')
    assert.equal(shelf.kept.size, 1)
    await socket.drop()
    const b = room.send('b')
    await w.clock.pass(30_000)
    await w.socket.welcome()
    await w.socket.answer('join', { type: 'error', code: 'forbidden', message: 'no' })
    assert.deepEqual([a.error.code, b.error.code, room.outgoing.length], ['bad_request', 'forbidden', 2], 'this page tells of them')
    assert.equal(shelf.kept.size, 0)
  })

  test('a room that is closed to another user costs none of ours', async () => {
    const shelf = new Shelf()
    const w = world({ storage: shelf })
    const { room, socket } = await w.inRoom()
    await socket.drop()
    const a = room.send('a')
    await w.clock.pass(30_000)
    await w.socket.welcome({ user: 'mallory' })
    await w.socket.answer('join', { type: 'error', code: 'forbidden', message: 'no' })
    assert.deepEqual([a.status, shelf.kept.size], ['queued', 1])
  })

  test('a hundred failed messages of a user are kept: the oldest are taken back, whichever page they are of', async () => {
    const shelf = new Shelf()
    const w = world({ storage: shelf })
    const { room: before, socket } = await w.inRoom()
    const failed = []
    const fails = async n => {
      for (let i = 0; i < n; i++) {
        const sending = before.send(failed.length)
        failed.push(sending)
        await refuse(socket, sending, 'bad_request')
      }
    }
    const other = { id: '019aa96e-c400-7c4a-9d41-5f0a2b6c8e13', room: 'lobby', body: 'hers', user: 'mallory', error: { code: 'bad_request', message: '' } }
    await shelf.put(other)
    await fails(100)
    const first = failed[0]
    assert.equal(first.status, 'failed')
    await fails(1)
    assert.deepEqual([first.status, failed[1].status, shelf.kept.size], ['cancelled', 'failed', 101])
    w.client.close()

    for (let i = 0; i < 5; i++) await shelf.put({ ...other, id: other.id.slice(0, -1) + 'abcde'[i], user: 'alice' }) // of other pages
    const next = world({ storage: shelf })
    const { room } = await next.inRoom()
    await settle()
    assert.deepEqual(room.outgoing.map(m => m.body), failed.slice(1).map(m => m.body))
    assert.deepEqual([shelf.kept.size, shelf.kept.has(other.id)], [101, true])
  })

  test('nobody sends what another user wrote', async () => {
    const shelf = new Shelf()
    await shelf.put({ id: '019aa96e-c400-7c4a-9d41-5f0a2b6c8e13', room: 'lobby', body: 'secret', user: 'mallory' })
    const w = world({ storage: shelf })
    const { room, socket } = await w.inRoom()
    const mine = room.send('mine')
    assert.deepEqual(published(socket), [['mine', undefined]])
    await ack(socket, mine)
    await socket.drop()
    await w.clock.pass(500)
    const hers = room.send('by alice')
    await w.socket.welcome({ user: 'mallory' })
    await w.socket.joined()
    const [secret] = w.socket.take('publish')
    assert.equal(secret.body, 'secret')
    await ack(w.socket, secret)
    assert.deepEqual([hers.status, published(w.socket)], ['queued', []])
  })

  test('before it is known whose a message is, it is not kept; `user` says it', async () => {
    for (const [user, kept] of [[undefined, 0], ['alice', 1]]) {
      const shelf = new Shelf()
      const w = world({ storage: shelf, user })
      w.client.room('lobby').send('early')
      await settle()
      assert.equal(shelf.kept.size, kept)
      await w.socket.welcome()
      assert.equal(shelf.kept.size, 1)
    }
  })

  test('a client that is closed lets others send what it keeps, and repeats it when it comes back', async () => {
    const shelf = new Shelf()
    let released = 0
    shelf.release = () => released++
    const w = world({ storage: shelf })
    const { room } = await w.inRoom()
    const [, b] = [room.send('a'), room.send('b')]
    await w.socket.drop(4500, 'another page')
    assert.deepEqual([released, b.cancel()], [1, false])
    w.client.connect()
    await w.socket.welcome()
    await w.socket.joined()
    const [a] = w.socket.take('publish')
    await w.socket.say({ type: 'ack', id: a.id, room: 'lobby', seq: 1 })
    assert.deepEqual(published(w.socket), [['b', true]])
  })

  test('one that is broken costs the storage alone', async () => {
    const fail = () => { throw new Error('quota') }
    for (const broken of [async () => fail(), fail]) { // as localStorage does: at once
      const w = world({ storage: { adopt: broken, put: broken, delete: broken } })
      const told = []
      w.client.on('error', err => told.push(err.message))
      const { room, socket } = await w.inRoom()
      const a = room.send('a')
      await ack(socket, a)
      assert.deepEqual([a.status, told], ['saved', ['quota', 'quota', 'quota']])
    }
  })

  test('one that promises nothing will do', async () => {
    const kept = new Map()
    const w = world({ storage: { adopt: () => [], put: m => { kept.set(m.id, m) }, delete: id => { kept.delete(id) } } })
    const { room, socket } = await w.inRoom()
    const a = room.send('a')
    assert.equal(kept.size, 1)
    await ack(socket, a)
    assert.deepEqual([a.status, kept.size], ['saved', 0])
  })

  test('one that hangs holds nothing up for longer than 2 s', async () => {
    const w = world({ storage: { adopt: () => new Promise(() => {}), put: async () => {}, delete: async () => {} } })
    const { room, socket } = await w.inRoom()
    room.send('a')
    await w.clock.pass(1_999)
    assert.deepEqual(published(socket), [])
    await w.clock.pass(1)
    assert.deepEqual(published(socket), [['a', undefined]])
  })
})
