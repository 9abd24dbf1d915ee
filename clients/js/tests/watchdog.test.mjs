import assert from 'node:assert/strict'
import { test } from 'node:test'
import { message, settle, world } from './fake.mjs'

test('silence for ping_ms: a ping; no answer for 10 s: dead, whatever the socket says', async () => {
  const w = world()
  const socket = await w.connect()
  await w.clock.pass(24_999)
  assert.equal(socket.take('ping').length, 0)
  await w.clock.pass(1)
  assert.equal(socket.take('ping').length, 1)
  await w.clock.pass(9_999)
  assert.equal(w.client.state.name, 'connected')
  await w.clock.pass(1)
  assert.deepEqual([w.client.state.name, socket.closed], ['waiting', true])
})

test('the interval is the one that welcome announced, and any frame puts it off', async () => {
  const w = world()
  const socket = await w.connect({ ping_ms: 1000 })
  for (let n = 0; n < 5; n++) {
    await w.clock.pass(900)
    await socket.say({ type: 'something' })
  }
  assert.equal(socket.take('ping').length, 0)
  await w.clock.pass(1000)
  assert.equal(socket.take('ping').length, 1)
  await w.clock.pass(9000)
  await socket.say({ type: 'pong' })
  await w.clock.pass(999)
  assert.equal(socket.take('ping').length, 0)
  await w.clock.pass(1)
  assert.equal(socket.take('ping').length, 1)
  assert.equal(w.client.state.name, 'connected')
})

test('a handshake that nobody answers is given up after 15 s', async () => {
  const w = world()
  w.client.connect()
  await w.clock.pass(14_999)
  assert.equal(w.sockets[0].closed, false)
  await w.clock.pass(1)
  assert.equal(w.sockets[0].closed, true)
  assert.equal(w.asked.length, 1, 'and then it asks why')
})

test('frames of a socket that was given up are discarded', async () => {
  const w = world()
  const { got, socket: old } = await w.inRoom()
  await w.clock.pass(35_000) // dead
  await w.clock.pass(500)
  await w.socket.welcome()
  await w.socket.joined({ head: 9 })
  await old.say(message(7), { type: 'goaway', reconnect_ms: 0, deadline_ms: 0 })
  await old.drop(4503)
  await w.clock.pass(0)
  assert.deepEqual([got, w.sockets.length, w.client.state.name], [[], 2, 'connected'])
  await w.socket.say(message(8))
  assert.deepEqual(got.map(m => m.seq), [8])
})

test('a late welcome of a given-up socket is no connection', async () => {
  const w = world()
  w.client.connect()
  await settle()
  const old = w.socket
  w.client.close()
  await old.welcome()
  assert.equal(w.client.state.name, 'closed')
})

test('a timer that slept asks once more before it judges', async () => {
  const w = world()
  const socket = await w.connect()
  await w.clock.pass(25_000)
  assert.equal(socket.take('ping').length, 1)
  await w.clock.sleep(60_000)
  assert.deepEqual([w.client.state.name, socket.take('ping').length], ['connected', 1])
  await socket.say({ type: 'pong' })
  await w.clock.pass(24_000)
  assert.equal(w.client.state.name, 'connected')
  await w.clock.sleep(60_000)
  await w.clock.sleep(60_000)
  await w.clock.sleep(60_000)
  assert.equal(w.client.state.name, 'waiting', 'but not for ever')
})

test('a clock that is set back is none to wait for', async () => {
  const w = world()
  const socket = await w.connect()
  await w.clock.pass(20_000)
  w.clock.set(-3_600_000)
  await w.clock.pass(5_000 + 25_000)
  assert.equal(socket.take('ping').length, 1, 'after the silence')
  w.clock.set(-3_600_000)
  await w.clock.pass(10_000)
  await w.clock.pass(10_000)
  assert.equal(w.client.state.name, 'waiting', 'after the question')
})

test('a page', async t => {
  const listeners = new Map()
  const listen = (name, f, { signal }) => {
    listeners.set(name, f)
    signal.addEventListener('abort', () => listeners.delete(name))
  }
  const document = { visibilityState: 'hidden', addEventListener: listen }
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
  Object.assign(globalThis, { document, addEventListener: listen })
  Object.defineProperty(globalThis, 'navigator', { value: { onLine: true }, configurable: true })
  t.after(() => {
    for (const name of ['document', 'addEventListener', 'navigator']) delete globalThis[name]
    if (before) Object.defineProperty(globalThis, 'navigator', before)
  })
  const fire = async name => { listeners.get(name)?.(); await settle() }

  for (const name of ['online', 'offline', 'pageshow', 'visibilitychange']) {
    await t.test(`${name}: the connection is put to the test, for 5 s`, async () => {
      const w = world()
      const socket = await w.connect()
      document.visibilityState = 'visible'
      await fire(name)
      assert.equal(socket.take('ping').length, 1)
      await w.clock.pass(4_999)
      assert.equal(w.client.state.name, 'connected')
      await w.clock.pass(1)
      assert.equal(w.client.state.name, 'waiting')
      w.client.close()
      assert.equal(listeners.size, 0)
    })
  }

  for (const name of ['online', 'pageshow', 'visibilitychange']) {
    await t.test(`${name}: a client that waits does so no longer`, async () => {
      const w = world()
      await w.connect()
      await w.socket.drop()
      document.visibilityState = 'hidden'
      await fire('visibilitychange')
      assert.equal(w.sockets.length, 1)
      document.visibilityState = 'visible'
      await fire(name)
      assert.equal(w.sockets.length, 2)
      w.client.close()
    })

    await t.test(`${name}: but it keeps Retry-After`, async () => {
      const w = world({ token: 't' })
      w.answers.push({ status: 503, headers: { 'Retry-After': '60' } })
      w.client.connect()
      await settle()
      await fire(name)
      assert.equal(w.asked.length, 1)
      w.client.close()
    })
  }

  await t.test('a page that goes out of view says at once how far it has read, and is asked nothing', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const seen = () => socket.take('receipt').map(f => f.seen)
    document.visibilityState = 'hidden'
    await fire('visibilitychange')
    assert.deepEqual(seen(), [], 'there is nothing to say')
    room.seen(7)
    await fire('visibilitychange')
    assert.deepEqual(seen(), [7])
    await w.clock.pass(500)
    assert.deepEqual([seen(), socket.take('ping')], [[], []], 'once is enough')
    room.seen(8)
    await w.clock.pass(500)
    assert.deepEqual(seen(), [8])
    room.seen(9)
    await socket.drop()
    await fire('visibilitychange')
    assert.deepEqual(seen(), [])
    w.client.close()
  })

  await t.test('a client that waits tells when the network goes, and connects at once when it is back', async () => {
    const w = world()
    await w.connect()
    await w.socket.drop()
    navigator.onLine = false
    await fire('offline')
    assert.deepEqual(w.client.state, { name: 'offline' })
    document.visibilityState = 'visible'
    for (const name of ['pageshow', 'visibilitychange', 'offline']) await fire(name)
    assert.deepEqual([w.names(), w.sockets.length], [['connecting', 'connected', 'waiting', 'offline'], 1], 'there is nothing new')
    navigator.onLine = true
    await fire('online')
    assert.deepEqual([w.client.state.name, w.sockets.length], ['connecting', 2])
    w.client.close()
  })

  await t.test('and what it waits for by the word of the server, it waits for again', async () => {
    const w = world({ token: 't' })
    w.answers.push({ status: 503, headers: { 'Retry-After': '60' }, title: 'later' })
    w.client.connect()
    await settle()
    const waiting = { name: 'waiting', retryAt: w.clock.time + 60_500, code: 1006, reason: 'later' }
    assert.deepEqual(w.client.state, waiting)
    navigator.onLine = false
    await fire('offline')
    assert.deepEqual(w.client.state, { name: 'offline' })
    await w.clock.pass(1000)
    navigator.onLine = true
    await fire('online')
    assert.deepEqual([w.client.state, w.asked.length], [waiting, 1])
    await w.clock.pass(59_500)
    assert.equal(w.asked.length, 2)
    w.client.close()
  })

  await t.test('without a network the state is offline, and online ends it', async () => {
    const w = world()
    await w.connect()
    navigator.onLine = false
    await fire('offline')
    await w.clock.pass(5_000)
    assert.deepEqual(w.client.state, { name: 'offline' })
    navigator.onLine = true
    await fire('online')
    await w.socket.welcome()
    assert.equal(w.client.state.name, 'connected')
    w.client.close()
  })
})

test('the server has closed, of which the socket tells later: nothing is sent there, of which a browser would complain', async () => {
  const w = world()
  const socket = await w.connect()
  const room = w.client.room('lobby')
  room.join()
  await socket.say({ type: 'joined', ref: socket.take('join')[0].ref, room: 'lobby', head: 0, members: 1 })
  const before = socket.sent.length
  socket.readyState = 2
  const left = room.leave()
  const said = room.send('hello')
  await w.clock.pass(30_000) // a ping would be due
  assert.deepEqual(socket.sent.slice(before), [])
  socket.onclose({ code: 1006, reason: '' })
  await assert.rejects(left, { code: 'disconnected' })
  assert.equal(said.status, 'queued')
})
