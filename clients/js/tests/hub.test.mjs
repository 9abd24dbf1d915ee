// The client against a real hub, through a proxy that treats its connections badly.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createClient } from '../dist/gohub.js'
import { Proxy, seeded } from './proxy.mjs'
import { sockets, startServer } from './server.mjs'

const MESSAGES = Number(process.env.GOHUB_SDK_MESSAGES ?? 10_000)
const CUTS = Number(process.env.GOHUB_SDK_CUTS ?? 1_000)
const SEED = Number(process.env.GOHUB_SDK_SEED ?? Date.now() % 1e6)

let server
before(async () => { server = await startServer() })
after(() => server.stop())

/** What may be awaited, and says what it was when it does not come. */
const within = (ms, promise, what) => {
  let timer
  const late = new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error(`${ms} ms passed without ${what()}`)), ms) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** The system's clock, 400 times as fast: the watchdog needs 35 s of it. */
const start = Date.now()
const fast = {
  now: () => start + (Date.now() - start) * 400,
  setTimeout: (run, ms) => setTimeout(run, ms / 400),
  clearTimeout
}

function user (t, name, port, tenant, options = {}) {
  const { Socket, end } = sockets()
  const client = createClient({ url: `ws://127.0.0.1:${port}/ws?user=${name}&tenant=${tenant}`, WebSocket: Socket, storage: null, ...options })
  t.after(() => {
    client.close()
    end()
  })
  return client
}

/** Keeps what a room says, which must be 0, 1, 2 … of one sender; done ends with the last. */
function follow (room, count) {
  const got = []
  let done
  const all = new Promise(resolve => { done = resolve })
  room.on('message', m => {
    got.push(m.body)
    if (got.length >= count) done()
  })
  return { got, all }
}

const ascending = Array.from({ length: MESSAGES }, (_, i) => i)

test(`${CUTS} cuts in a stream of ${MESSAGES} messages each way: nothing is lost, doubled or out of order`, { timeout: 420_000 }, async t => {
  t.diagnostic(`seed ${SEED}`)
  const random = seeded(SEED)
  // A message takes at least 430 bytes on the way of who sends it (publish, ack, own copy), 160 to who reads it.
  const points = each => Array.from({ length: CUTS }, () => 1 + Math.floor(random() * MESSAGES * each)).sort((a, b) => a - b)
  const distinct = points => points.map((p, i) => p + i)
  const [up, down] = await Promise.all([
    Proxy.before(server.port, distinct(points(390)), random),
    Proxy.before(server.port, distinct(points(140)), random)
  ])
  t.after(() => { up.close(); down.close() })

  const alice = user(t, 'alice', up.port, 'cuts', { clock: fast })
  const bob = user(t, 'bob', down.port, 'cuts', { clock: fast })
  const carol = user(t, 'carol', server.port, 'cuts') // who sees the room as it is
  // Mostly somebody presses "try now" before the delay is over; else a thousand of them would take hours.
  for (const client of [alice, bob]) {
    client.on('state', s => { if (s.name === 'waiting' && random() < 0.95) setTimeout(() => client.connect(), random() * 2) })
  }
  let gaps = 0
  const follows = {}
  for (const [name, client] of Object.entries({ alice, bob, carol })) {
    const room = client.room('stream')
    follows[name] = follow(room, MESSAGES)
    room.on('gap', () => gaps++)
  }
  const iterated = []
  const iterating = (async () => {
    for await (const m of bob.room('stream').messages({ since: 0 })) if (iterated.push(m.body) === MESSAGES) break
  })()
  await Promise.all([alice, carol].map(client => client.room('stream').join({ since: 0 })))
  const room = alice.room('stream')
  const sent = ascending.map(i => room.send(i).sent)
  const where = () => Object.entries(follows).map(([name, { got }]) => `${name}: ${got.length}`).join(', ') + `; cuts left: ${up.left}, ${down.left}`
  await within(400_000, Promise.all([...Object.values(follows).map(f => f.all), ...sent, iterating]), where)

  t.diagnostic(`ends: ${JSON.stringify(up.ended)} and ${JSON.stringify(down.ended)}`)
  for (const [name, { got }] of Object.entries(follows)) assert.deepEqual(got, ascending, name)
  assert.deepEqual(iterated, ascending)
  const seqs = (await Promise.all(sent)).map(s => s.seq)
  assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b))
  assert.deepEqual([up.left, down.left, gaps, room.outgoing.length], [0, 0, 0, 0])
})
