import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { GohubError } from '../dist/gohub.js'
import { settle, world } from './fake.mjs'
import { load } from './source.mjs'

const { backoff } = await load('backoff')
const ticket = { url: 'wss://n2.hub.test/ws', ticket: 'T/1', node: 'n2', expires_in_ms: 30_000 }

describe('states', () => {
  test('nothing happens before it is asked for something', async () => {
    const w = world()
    w.client.room('lobby')
    await w.clock.pass(60_000)
    assert.deepEqual([w.sockets.length, w.asked.length, w.client.state], [0, 0, { name: 'idle' }])
  })

  test('idle, connecting, connected, waiting, connected, closed', async () => {
    const w = world()
    const connected = w.client.connect()
    await w.socket.welcome()
    await connected
    await w.socket.drop(4003, 'heartbeat')
    assert.deepEqual(w.states, [{ name: 'connecting' }, { name: 'connected' },
      { name: 'waiting', retryAt: w.clock.time + 500, code: 4003, reason: 'heartbeat' }])
    await w.clock.pass(499)
    assert.equal(w.sockets.length, 1)
    await w.clock.pass(1)
    await w.socket.welcome()
    w.client.close()
    assert.deepEqual(w.names(), ['connecting', 'connected', 'waiting', 'connecting', 'connected', 'closed'])
    assert.deepEqual(w.client.state, { name: 'closed', code: 1000, reason: '' })
    assert.ok(w.socket.closed)
    await w.clock.pass(600_000)
    assert.equal(w.sockets.length, 2)
    assert.equal(w.clock.timers.size, 0, 'a closed client has no timer')
  })

  test('a URL that is none is refused at once', () => {
    for (const url of ['', '/ws', 'localhost:8080/ws', undefined]) { // there is no page here that it could be relative to
      assert.throws(() => world({ url }), /url/i, String(url))
    }
  })

  test('whatever fails is not tried again without a pause', async () => {
    let tried = 0
    const w = world({ WebSocket: class { constructor() { tried++; throw new SyntaxError('cannot') } } })
    w.client.connect().catch(() => {})
    await w.clock.pass(10_000)
    assert.ok(tried > 1 && tried < 15, `${tried} times`)
  })

  test('it offers the subprotocol and its device, and says something at once', async () => {
    const w = world({ url: 'https://hub.test/ws?x=1', device: 'd/1' })
    const socket = await w.connect()
    assert.deepEqual([socket.url, socket.protocols], ['wss://hub.test/ws?x=1&device=d%2F1', ['gohub.v1']])
    assert.equal(socket.take('rooms').length, 1)
    assert.deepEqual([w.client.user, w.client.welcome.node], ['alice', 'n1'])
  })

  test('connect() tries now', async () => {
    const w = world()
    await w.connect()
    await w.socket.drop()
    const again = w.client.connect()
    assert.equal(w.sockets.length, 2)
    await w.socket.welcome()
    await again
    assert.equal(w.client.state.name, 'connected')
  })

  test('an aborted wait ends alone', async () => {
    const w = world()
    const abort = new AbortController()
    const connecting = w.client.connect({ signal: abort.signal })
    abort.abort(new Error('enough'))
    await assert.rejects(connecting, /enough/)
    await assert.rejects(w.client.rooms({ signal: AbortSignal.abort(new Error('before')) }), /before/)
    await w.socket.welcome()
    assert.equal(w.client.state.name, 'connected')
  })

  test('nobody has to wait: promises that nobody listens to harm nothing', async () => {
    const w = world()
    const [connecting, joining] = [w.client.connect(), w.client.room('lobby').join()]
    w.client.room('lobby').send('x')
    w.client.close()
    w.client.room('lobby').leave()
    await settle()
    await assert.rejects(connecting, { code: 'closed' })
    await assert.rejects(joining, { code: 'closed' })
  })

  test('on() returns what undoes it, and a listener that throws harms nobody', async t => {
    const w = world()
    const seen = []
    const uncaught = new Promise(resolve => {
      const all = process.listeners('uncaughtException')
      process.removeAllListeners('uncaughtException')
      process.once('uncaughtException', err => {
        for (const l of all) process.on('uncaughtException', l)
        resolve(err)
      })
    })
    w.client.on('state', () => { if (seen.length === 0) throw new Error('mine') })
    const off = w.client.on('state', s => seen.push(s.name))
    w.client.connect()
    off()
    off()
    await w.socket.welcome()
    assert.deepEqual(seen, ['connecting'])
    assert.match((await uncaught).message, /mine/)
  })
})

describe('delays', () => {
  test('they are all random, over a time that doubles to 30 s', () => {
    const at = r => Array.from({ length: 8 }, (_, n) => backoff(n, () => r))
    assert.deepEqual(at(0), Array(8).fill(0))
    assert.deepEqual(at(0.5), [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
    assert.deepEqual(at(1), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  })

  test('they begin anew after a connection that held for 10 s, and not before', async () => {
    const w = world()
    const delay = async held => {
      await w.socket.welcome()
      await w.clock.pass(held)
      await w.socket.drop()
      const ms = w.client.state.retryAt - w.clock.time
      await w.clock.pass(ms)
      return ms
    }
    w.client.connect()
    assert.deepEqual([await delay(0), await delay(9_999), await delay(9_999), await delay(10_000), await delay(0)], [500, 1000, 2000, 500, 1000])
  })

  test('a pause after having sent too much', async () => {
    const w = world()
    await w.connect()
    await w.socket.drop(4002)
    assert.equal(w.client.state.retryAt - w.clock.time, 10_500)
  })
})

describe('close codes', () => {
  for (const code of [1000, 1001, 1006, 1007, 1009, 1012, 4000, 4003, 4004, 4499, 5000]) {
    test(`${code}: comes back`, async () => {
      const w = world()
      await w.connect()
      await w.socket.drop(code, 'why')
      assert.deepEqual([w.client.state.name, w.client.state.code], ['waiting', code])
      await w.clock.pass(1000)
      assert.equal(w.sockets.length, 2)
    })
  }
  for (const code of [4500, 4501, 4502, 4503, 4504, 4999]) {
    test(`${code}: stays away until connect()`, async () => {
      const w = world()
      await w.connect()
      const call = w.client.call('x')
      call.catch(() => {})
      await settle()
      await w.socket.drop(code, 'why')
      assert.deepEqual(w.client.state, { name: 'closed', code, reason: 'why' })
      await assert.rejects(call, { code: 'disconnected' })
      await assert.rejects(w.client.call('x'), { code: 'closed', message: 'why' })
      await assert.rejects(w.client.room('lobby').join(), { code: 'closed' })
      await w.clock.pass(600_000)
      assert.equal(w.sockets.length, 1)
      w.client.connect()
      await w.socket.welcome()
      assert.equal(w.client.state.name, 'connected')
      assert.equal(w.socket.take('join').length, 1, 'what was wanted is wanted still')
    })
  }
})

describe('negotiate', () => {
  test('a handshake that fails is followed by the question why and where, with cookies', async () => {
    const w = world({ device: 'd' })
    w.answers.push(ticket, ticket)
    w.client.connect()
    await w.socket.drop()
    assert.equal(w.asked.length, 1)
    const { url, credentials, cache, headers } = w.asked[0]
    assert.deepEqual([url, credentials, cache, headers], ['https://hub.test/ws?device=d', 'include', 'no-store', {}])
    assert.equal(w.socket.url, 'wss://n2.hub.test/ws?ticket=T%2F1')
    await w.socket.welcome()
    await w.socket.drop()
    await w.clock.pass(500)
    assert.deepEqual([w.sockets.length, w.asked.length], [3, 2], 'from then on it asks first')
  })

  test('no answer: the handshake goes first the next time', async () => {
    const w = world()
    w.client.connect()
    await w.socket.drop()
    assert.deepEqual([w.asked.length, w.client.state.name, w.client.state.code], [1, 'waiting', 1006])
    await w.clock.pass(500)
    assert.deepEqual([w.sockets.length, w.asked.length], [2, 1])
    await w.socket.welcome()
    assert.equal(w.client.state.name, 'connected')
  })

  for (const [what, answer] of [['silence', 'silence'], ['a page of somebody else', { hello: 1 }]]) {
    test(`${what} is no answer`, async () => {
      const w = world({ token: 't' })
      w.answers.push(answer)
      w.client.connect()
      await w.clock.pass(15_000)
      assert.equal(w.names()[1], 'waiting')
      w.client.close()
      assert.equal(w.clock.timers.size, 0)
    })
  }

  test('401 without a way to renew, and 403, are final', async () => {
    for (const [status, code] of [[401, 4501], [403, 4502]]) {
      const w = world({ token: 'static' })
      w.answers.push({ status, title: 'No', code: 'x', detail: 'log in' })
      const connecting = w.client.connect()
      await assert.rejects(connecting, { code: 'closed', message: 'log in' })
      assert.deepEqual(w.client.state, { name: 'closed', code, reason: 'log in' })
    }
  })

  for (const status of [429, 503]) {
    test(`${status}: Retry-After is kept, also by a page that comes into view`, async () => {
      const w = world({ token: 't' })
      w.answers.push({ status, headers: { 'Retry-After': '7' } }, ticket)
      w.client.connect()
      await settle()
      assert.equal(w.client.state.retryAt - w.clock.time, 7_500)
      await w.clock.pass(7_499)
      assert.equal(w.asked.length, 1)
      await w.clock.pass(1)
      assert.equal(w.asked.length, 2)
    })
  }

  test('500: the next delay', async () => {
    const w = world({ token: 't' })
    w.answers.push({ status: 500 }, { status: 500 })
    w.client.connect()
    await w.clock.pass(500)
    assert.equal(w.client.state.retryAt - w.clock.time, 1000)
  })
})

describe('token', () => {
  test('it is the proof that negotiate asks for, each time anew', async () => {
    let n = 0
    const w = world({ token: async () => `token-${++n}` })
    w.answers.push(ticket, ticket)
    w.client.connect()
    await settle()
    assert.deepEqual([w.asked[0].headers, w.asked[0].credentials], [{ Authorization: 'Bearer token-1' }, 'same-origin'])
    await w.socket.welcome()
    await w.socket.drop()
    await w.clock.pass(500)
    assert.equal(w.asked[1].headers.Authorization, 'Bearer token-2')
  })

  test('after 4001 it is renewed, and the connection comes back at once', async () => {
    const renewed = []
    const w = world({ token: renew => { renewed.push(renew); return 't' } })
    w.answers.push(ticket, ticket)
    w.client.connect()
    await settle()
    await w.socket.welcome()
    await w.socket.drop(4001, 'expired')
    assert.deepEqual(renewed, [false, true])
    await w.socket.welcome()
    assert.deepEqual(w.names(), ['connecting', 'connected', 'connecting', 'connected'])
  })

  test('after 401 it is renewed once; 401 again is final', async () => {
    const renewed = []
    const w = world({ token: renew => { renewed.push(renew) } })
    w.answers.push({ status: 401 }, { status: 401, detail: 'no' })
    await assert.rejects(w.client.connect(), { code: 'closed', message: 'no' })
    assert.deepEqual([renewed, w.client.state.code], [[false, true], 4501])
  })

  test('a server that ends each connection with 4001 is not run down', async () => {
    const w = world({ token: () => 't' })
    w.answers.push(...Array(5).fill(ticket))
    w.client.connect()
    await settle()
    for (let n = 0; n < 2; n++) {
      await w.socket.welcome()
      await w.socket.drop(4001)
    }
    assert.deepEqual([w.sockets.length, w.client.state.name], [2, 'waiting'])
  })

  test('a fresh ticket goes to the server when four fifths of the login are over, and again', async () => {
    const renewed = []
    const w = world({ token: renew => { renewed.push(renew); return { token: 't', expires: w.clock.time + 100_000 } } })
    w.answers.push({ ...ticket, node: 'n1' }, { ...ticket, node: 'n1', ticket: 'T2' }, { ...ticket, node: 'n1' })
    w.client.connect()
    await settle()
    await w.socket.welcome({ ping_ms: 1e9 })
    await w.clock.pass(79_999)
    assert.deepEqual(renewed, [false])
    await w.clock.pass(1)
    assert.deepEqual(renewed, [false, true])
    assert.equal(w.socket.sent.findLast(f => f.type === 'refresh').ticket, 'T2')
    await w.socket.answer('refresh', { type: 'refreshed', expires: w.clock.time + 200_000 })
    await w.clock.pass(160_000)
    assert.equal(renewed.length, 3)
    assert.equal(w.sockets.length, 1)
  })

  for (const [what, ahead] of [['fast', 600_000], ['slow', -600_000]]) {
    test(`the login ends by the server's clock: ours is ${what}, and the ticket comes when it should`, async () => {
      const there = () => w.clock.time - ahead
      const w = world({ token: () => ({ token: 't', expires: there() + 100_000 }) })
      w.answers.push(...Array(3).fill({ ...ticket, node: 'n1' }))
      w.client.connect()
      await settle()
      await w.socket.welcome({ ping_ms: 1e9, time: there() })
      await w.clock.pass(79_999)
      assert.equal(w.asked.length, 1)
      await w.clock.pass(1)
      assert.equal(w.asked.length, 2)
      await w.socket.answer('refresh', { type: 'refreshed', expires: there() + 200_000 })
      await w.clock.pass(159_999)
      assert.equal(w.asked.length, 2)
      await w.clock.pass(1)
      assert.equal(w.asked.length, 3)
    })
  }

  test('a login that does not end is not refreshed', async () => {
    for (const expires of [undefined, 0]) {
      const w = world({ token: () => ({ token: 't', expires }) })
      w.answers.push({ ...ticket, node: 'n1' }, { ...ticket, node: 'n1' })
      w.client.connect()
      await settle()
      await w.socket.welcome({ ping_ms: 1e9 })
      w.client.refresh()
      await settle()
      await w.socket.answer('refresh', { type: 'refreshed', expires: 0 })
      await w.clock.pass(1e9)
      assert.equal(w.socket.take('refresh').length, 1)
    }
  })

  test('a refresh that fails is tried again before the login ends', async () => {
    const w = world({ token: () => ({ token: 't', expires: w.clock.time + 100_000 }) })
    w.answers.push({ ...ticket, node: 'n1' }, { status: 503 }, { ...ticket, node: 'n1' })
    w.client.connect()
    await settle()
    await w.socket.welcome({ ping_ms: 1e9 })
    await w.clock.pass(80_000)
    await w.clock.pass(16_000)
    assert.equal(w.socket.take('refresh').length, 1)
  })

  test('what refresh() is refused with is a GohubError, and the connection lives on', async () => {
    let given = 't'
    const w = world({ token: () => given })
    const refused = async (...answers) => {
      w.answers.push(...answers)
      return w.client.refresh().then(assert.fail, err => {
        assert.ok(err instanceof GohubError, String(err))
        return [err.code, err.message, err.retryMs]
      })
    }
    w.answers.push(ticket)
    w.client.connect()
    await settle()
    await w.socket.welcome()
    assert.deepEqual(await refused({ status: 401, code: 'unauthorized', detail: 'log in' }), ['unauthorized', 'log in', undefined])
    assert.deepEqual(await refused({ status: 429, code: 'rate_limited', headers: { 'Retry-After': '3' } }), ['rate_limited', '', 3000])
    assert.deepEqual(await refused({ status: 502 }), ['disconnected', '', undefined], 'a proxy')
    assert.deepEqual(await refused(), ['disconnected', 'TypeError: fetch failed', undefined])
    given = Promise.reject(undefined)
    assert.deepEqual(await refused(), ['disconnected', 'undefined', undefined], 'the page has no token')
    assert.deepEqual([w.client.state.name, w.sockets.length], ['connected', 1])
  })

  test('a ticket for another node is a reason to move there', async () => {
    const w = world({ token: () => ({ token: 't', expires: w.clock.time + 100_000 }) })
    w.answers.push({ ...ticket, node: 'n1' }, { ...ticket, node: 'n3' }, { ...ticket, node: 'n3' })
    w.client.connect()
    await settle()
    await w.socket.welcome({ ping_ms: 1e9 })
    await w.clock.pass(80_000)
    assert.deepEqual([w.sockets.length, w.sockets[0].take('refresh').length, w.sockets[0].closed], [2, 0, false])
    await w.socket.welcome({ node: 'n3' })
    await w.socket.answer('rooms', { type: 'rooms', rooms: [] })
    assert.deepEqual([w.client.state.name, w.client.welcome.node], ['connected', 'n3'])
  })

  test('but not while another move is under way', async () => {
    const w = world({ token: 't' })
    w.answers.push({ ...ticket, node: 'n1' }, { ...ticket, node: 'n3' }, { ...ticket, node: 'n3' }, { ...ticket, node: 'n3' })
    w.client.connect()
    await settle()
    await w.socket.welcome()
    await w.socket.answer('rooms', { type: 'rooms', rooms: [] })
    await w.socket.say({ type: 'goaway', reconnect_ms: 0, deadline_ms: 10_000 })
    await w.clock.pass(0)
    w.client.refresh()
    await settle()
    assert.equal(w.sockets.length, 2)
    await w.socket.welcome({ node: 'n3' })
    await w.socket.answer('rooms', { type: 'rooms', rooms: [] })
    assert.deepEqual([w.client.state.name, w.client.welcome.node, w.sockets.map(s => s.closed)], ['connected', 'n3', [true, false]])
  })
})

describe('goaway', () => {
  const goaway = { type: 'goaway', reconnect_ms: 1840, deadline_ms: 10_000, url: 'wss://n4.hub.test/ws' }

  test('connects elsewhere first, then closes', async () => {
    const w = world()
    const { room, got, socket: old } = await w.inRoom()
    const slow = w.client.call('slow') // keeps the old connection
    await old.say({ type: 'message', id: 'a', room: 'lobby', seq: 10, sender: 'bob', kind: 'chat', body: 1 }, goaway)
    await w.clock.pass(1839)
    assert.equal(w.sockets.length, 1)
    await w.clock.pass(1)
    assert.equal(w.socket.url, 'wss://n4.hub.test/ws')
    await w.socket.welcome({ node: 'n4' })
    assert.deepEqual([old.closed, w.socket.take('join')[0].since], [false, 10])
    assert.deepEqual(w.names(), ['connecting', 'connected', 'connected'])
    const say = (socket, seq) => socket.say({ type: 'message', id: `i${seq}`, room: 'lobby', seq, sender: 'bob', kind: 'chat', body: seq })
    await say(old, 11)
    await w.socket.say({ type: 'joined', ref: 1, room: 'lobby', head: 11, truncated: false, members: 1 })
    await say(old, 13) // its stream ends with the join elsewhere
    await say(w.socket, 11)
    await say(w.socket, 12)
    await say(w.socket, 13)
    assert.deepEqual(got.map(m => m.seq), [10, 11, 12, 13])
    assert.ok(room.joined)
    assert.equal(old.closed, false)
    await old.answer('call', { type: 'result', body: 'done' })
    assert.deepEqual([await slow, old.closed], ['done', true])
    await old.drop(4500)
    assert.equal(w.client.state.name, 'connected')
  })

  test('what is unanswered on the old connection keeps it, and what it leaves behind is sent again', async () => {
    const w = world()
    const { room, socket: old } = await w.inRoom()
    const first = room.send('first')
    const second = room.send('second')
    assert.equal(old.take('publish').length, 1)
    await old.say({ ...goaway, reconnect_ms: 0, url: undefined })
    await w.clock.pass(0)
    const next = w.socket
    assert.notEqual(next, old)
    await next.welcome()
    await next.joined()
    await next.answer('rooms', { type: 'rooms', rooms: [] })
    assert.deepEqual([old.closed, next.take('publish').length], [false, 0], 'the first may still be taken')
    await old.drop(1012)
    assert.deepEqual(next.take('publish').map(f => [f.id, f.retry]), [[first.id, true]])
    await next.say({ type: 'ack', id: first.id, room: 'lobby', seq: 5, duplicate: true })
    assert.deepEqual(next.take('publish').map(f => [f.id, f.retry]), [[second.id, undefined]])
    assert.equal((await first.sent).seq, 5)
    assert.equal(w.client.state.name, 'connected')
  })

  test('an ack on the old connection counts, and then it is closed', async () => {
    const w = world()
    const { room, socket: old } = await w.inRoom()
    const sending = room.send('x')
    await old.say({ ...goaway, reconnect_ms: 0 })
    await w.clock.pass(0)
    await w.socket.welcome()
    await w.socket.joined()
    await w.socket.answer('rooms', { type: 'rooms', rooms: [] })
    assert.equal(old.closed, false)
    await old.say({ type: 'ack', id: sending.id, room: 'lobby', seq: 5 })
    assert.deepEqual([sending.status, old.closed, w.socket.take('publish')], ['saved', true, []])
  })

  test('its own next connection may end it with 4500', async () => {
    const w = world()
    const { socket: old } = await w.inRoom()
    await old.say({ ...goaway, reconnect_ms: 0 })
    await w.clock.pass(0)
    await old.drop(4500, 'replaced')
    assert.equal(w.client.state.name, 'connecting')
    await w.socket.welcome()
    assert.equal(w.client.state.name, 'connected')
  })

  test('a kick in the meantime is final', async () => {
    const w = world()
    const { socket: old } = await w.inRoom()
    await old.say(goaway)
    await old.drop(4503, 'out')
    assert.deepEqual(w.client.state, { name: 'closed', code: 4503, reason: 'out' })
    await w.clock.pass(60_000)
    assert.equal(w.sockets.length, 1)
  })

  test('close() ends both connections', async () => {
    const w = world()
    const { socket: old } = await w.inRoom()
    w.client.call('slow').catch(() => {}) // keeps the old one
    await settle()
    await old.say({ ...goaway, reconnect_ms: 0 })
    await w.clock.pass(0)
    await w.socket.welcome()
    assert.deepEqual(w.sockets.map(s => s.closed), [false, false])
    w.client.close()
    assert.deepEqual(w.sockets.map(s => s.closed), [true, true])
  })

  test('a close before its time does not bring the client back early', async () => {
    const w = world()
    await w.connect()
    await w.socket.say({ ...goaway, deadline_ms: 0 })
    const at = w.clock.time + 1840
    await w.clock.pass(100)
    await w.socket.drop(1012)
    assert.deepEqual([w.client.state.name, w.client.state.retryAt], ['waiting', at])
    await w.clock.pass(1740)
    assert.equal(w.sockets.length, 2)
  })

  test('where it was sent to nobody answers: it goes where it always went', async () => {
    const w = world()
    await w.connect()
    await w.socket.say({ ...goaway, reconnect_ms: 0 })
    await w.clock.pass(0)
    assert.match(w.socket.url, /n4/)
    await w.socket.drop()
    assert.deepEqual(w.client.state, { name: 'connected' }, 'the old connection still serves')
    await w.clock.pass(500)
    assert.match(w.socket.url, /hub\.test\/ws$/)
  })
})
