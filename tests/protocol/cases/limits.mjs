import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Client, uuid7 } from '../client.mjs'
import { Server, shared, World } from '../harness.mjs'
import { header, RawSocket } from '../raw.mjs'

const TEXT = 1
const BINARY = 2
const CLOSE = 8
const frameLimit = 65_536
const bodyLimit = frameLimit - 1024

/** Sends something broken and returns the error's code. */
async function refusal (client, frame) {
  const mark = client.mark()
  client.send(frame)
  return (await client.wait(f => f.type === 'error', `the refusal of ${String(frame).slice(0, 60)}`, { from: mark })).code
}

async function raw (t, who = { user: 'alice', tenant: 'raw' }, headers) {
  const socket = await RawSocket.open(shared.server.ws, who, headers)
  t.after(() => socket.destroy())
  assert.equal(socket.status, 101, socket.head)
  await socket.skipTo(TEXT) // welcome
  return socket
}

describe('faults', () => {
  test('unknown_type, bad_json, and the third within 10 s closes with 4504', async t => {
    const world = new World(t)
    for (const faults of [
      [['{"type":"dance"}', 'unknown_type'], ['{"type":', 'bad_json'], ['[]', 'bad_json']],
      [['{}', 'unknown_type'], ['"join"', 'bad_json'], ['{"type":7}', 'unknown_type']],
      [['nonsense', 'bad_json'], ['{"type":"ping"} {}', 'bad_json'], ['{"type":"welcome"}', 'unknown_type']]
    ]) {
      const alice = await world.connect('alice')
      for (const [frame, code] of faults.slice(0, 2)) {
        assert.equal(await refusal(alice, frame), code, frame)
        await alice.ping()
      }
      alice.send(faults[2][0])
      assert.equal((await alice.gone()).code, 4504)
    }
  })

  test('other errors do not count towards 4504', async t => {
    const alice = await new World(t).connect('alice')
    for (let i = 0; i < 5; i++) {
      await assert.rejects(alice.join('no spaces'), { code: 'bad_room' })
      await assert.rejects(alice.history('lobby'), { code: 'not_joined' })
      await assert.rejects(alice.publish('lobby', 1, { id: 'x' }), { code: 'bad_request' })
    }
    await alice.ping()
  })

  test('an error brings back the ref or the id wherever it stood', async t => {
    const alice = await new World(t).connect('alice')
    await assert.rejects(alice.request({ type: 'dance' }), { code: 'unknown_type' })
    const id = uuid7()
    alice.send(`{"body":1,"room":"lobby","type":"publish","id":"${id}"}`)
    const err = await alice.wait(f => f.type === 'error' && f.id === id, 'the error')
    assert.equal(err.code, 'not_joined')
    assert.equal(typeof err.message, 'string')
  })

  test('bad ids, kinds, users and rooms', async t => {
    const [alice] = await new World(t).all(['alice'], 'lobby')
    for (const id of ['x', '019aa96ec4007c4a9d415f0a2b6c8e13', '019aa96e-c400-7c4a-9d41-5f0a2b6c8e1g', '{019aa96e-c400-7c4a-9d41-5f0a2b6c8e13}']) {
      await assert.rejects(alice.publish('lobby', 1, { id }), { code: 'bad_request' }, `id ${id}`)
    }
    for (const kind of ['Chat', 'a b', 'x'.repeat(33), 'ü']) {
      await assert.rejects(alice.publish('lobby', 1, { kind }), { code: 'bad_request' }, `kind ${kind}`)
    }
    for (const to of ['a b', 'a@b', 'a,b', 'x'.repeat(64)]) {
      await assert.rejects(alice.publish('lobby', 1, { to }), { code: 'bad_request' }, `to ${to}`)
      await assert.rejects(alice.publish(undefined, 1, { to }), { code: 'bad_request' }, `to ${to}, direct`)
    }
    for (const room of ['', ' ', 'a b', 'ü', 'a/b', 'x'.repeat(129), 'a\u0000']) {
      await assert.rejects(alice.join(room), { code: 'bad_room' }, `room ${JSON.stringify(room)}`)
      await assert.rejects(alice.publish(room, 1), { code: 'bad_room' }, `publish to ${JSON.stringify(room)}`)
    }
    await alice.join('x'.repeat(128))
    await alice.join('A-Z.a_z:0@9,')
    await alice.publish('lobby', 1, { kind: 'x'.repeat(32) })
    await alice.publish('lobby', 1, { to: 'x'.repeat(63) })
    const publish = { type: 'publish', id: uuid7(), room: 'lobby', body: 1 }
    for (const lacks of ['id', 'room', 'body']) {
      assert.equal(await refusal(alice, JSON.stringify({ ...publish, [lacks]: undefined })), 'bad_request', `no ${lacks}`)
    }
    assert.equal(await refusal(alice, JSON.stringify({ ...publish, id: '' })), 'bad_request', 'an empty id')
    for (const type of ['join', 'leave', 'history', 'presence', 'typing', 'receipt']) {
      assert.equal(await refusal(alice, JSON.stringify({ type, ref: 1 })), 'bad_room', `${type} without room`)
    }
    for (const wrong of [{ type: 'typing', room: 'lobby' }, { type: 'typing', room: 'lobby', active: 1 }, { type: 'receipt', room: 'lobby' }, { type: 'receipt', room: 'lobby', seen: '1' }]) {
      assert.equal(await refusal(alice, JSON.stringify(wrong)), 'bad_request', JSON.stringify(wrong))
    }
    await assert.rejects(alice.leave('other'), { code: 'not_joined' })
    for (const wrong of [{ type: 'join', room: 'lobby', since: 'x' }, { type: 'join', room: 'lobby', since: -1 }, { type: 'join', room: 7 }]) {
      await assert.rejects(alice.request(wrong), err => ['bad_request', 'bad_room'].includes(err.code), JSON.stringify(wrong))
    }
  })

  test('null counts as absent, unknown fields do not count', async t => {
    const world = new World(t)
    const [alice] = await world.all(['alice'], 'lobby')
    const ack = await alice.publish('lobby', 1, { to: null, kind: null, retry: null, nonsense: { deep: [1] } })
    const { to, kind } = await alice.message('lobby', ack.id)
    assert.deepEqual([to, kind], [undefined, 'chat'])
    const joined = await alice.request({ type: 'join', room: 'lobby', since: null, tenant: 7 }, 'joined')
    assert.equal(joined.truncated, false)
  })

  test('at most 100 rooms a session', async t => {
    const alice = await new World(t).connect('alice')
    for (let i = 0; i < 100; i++) await alice.join(`r${i}`)
    await assert.rejects(alice.join('one-more'), { code: 'forbidden' })
    await alice.join('r7')
    await alice.leave('r7')
    await alice.join('one-more')
  })
})

describe('sizes', () => {
  test('a body at its limit is taken, one byte more is too_large', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    const body = 'x'.repeat(bodyLimit - 2) // with its quotes
    const { id } = await alice.publish('lobby', body)
    assert.equal((await bob.message('lobby', id)).body.length, body.length)
    const big = uuid7()
    await assert.rejects(alice.publish('lobby', body + 'x', { id: big }), err => err.code === 'too_large' && err.frame.id === big)
    const bytes = Buffer.alloc(bodyLimit, 7)
    assert.equal((await bob.message('lobby', (await alice.publishBinary('lobby', bytes)).id)).body.length, bodyLimit)
    await assert.rejects(alice.publishBinary('lobby', Buffer.alloc(bodyLimit + 1)), { code: 'too_large' })
    await alice.ping()
  })

  test('a frame at the limit is taken, one byte more closes with 1009', async t => {
    const world = new World(t)
    const alice = await world.connect('alice')
    const ping = '{"type":"ping","ref":1}'
    alice.send(ping.padEnd(frameLimit))
    await alice.wait(f => f.type === 'pong', 'pong')
    alice.send(ping.padEnd(frameLimit + 1))
    assert.equal((await alice.gone()).code, 1009)
  })

  test('1009 on the declared length, before any payload', async t => {
    for (const opcode of [TEXT, BINARY]) {
      for (const length of [frameLimit + 1, 1 << 20, 2 ** 40]) {
        const socket = await raw(t)
        socket.write(header(opcode, length))
        assert.equal(await socket.closeCode(), 1009, `opcode ${opcode}, length ${length}`)
      }
    }
  })

  test('1009 on the sum of fragments', async t => {
    const socket = await raw(t)
    const part = Buffer.alloc(frameLimit / 2, 0x20)
    const first = header(TEXT, part.length)
    first[0] &= 0x7f // not the last
    const more = header(0, part.length)
    more[0] &= 0x7f
    socket.write(first, part, more, part, header(0, 1))
    assert.equal(await socket.closeCode(), 1009)
  })
})

describe('raw frames', () => {
  test('text that is not UTF-8 closes with 1007', async t => {
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82]]) {
      const socket = await raw(t)
      const payload = Buffer.concat([Buffer.from('{"type":"ping","x":"'), Buffer.from(bytes), Buffer.from('"}')])
      socket.write(header(TEXT, payload.length), payload)
      assert.equal(await socket.closeCode(), 1007, bytes.map(b => b.toString(16)).join(' '))
    }
  })

  test('fragments make one frame, also with a ping in between', async t => {
    const socket = await raw(t)
    const [a, b] = [Buffer.from('{"type":"pi'), Buffer.from('ng","ref":9}')]
    const first = header(TEXT, a.length)
    first[0] &= 0x7f
    socket.write(first, a, header(9, 2), Buffer.from('hi'), header(0, b.length), b)
    assert.equal((await socket.skipTo(10)).payload.toString(), 'hi')
    assert.deepEqual(JSON.parse((await socket.skipTo(TEXT)).payload), { type: 'pong', ref: 9 })
  })

  test('a character may be split between fragments', async t => {
    const socket = await raw(t)
    const text = Buffer.from('{"type":"ping","ref":"ü"}')
    const cut = text.indexOf(0xc3) + 1
    const first = header(TEXT, cut)
    first[0] &= 0x7f
    socket.write(first, text.subarray(0, cut))
    socket.write(header(0, text.length - cut), text.subarray(cut))
    assert.deepEqual(JSON.parse((await socket.skipTo(TEXT)).payload), { type: 'pong', ref: 'ü' })
  })

  test('frames sent along with the handshake are not lost', async t => {
    const alice = await RawSocket.open(shared.server.ws, { user: 'alice', tenant: 'raw' })
    t.after(() => alice.destroy())
    const payload = Buffer.from('{"type":"ping"}')
    alice.write(header(TEXT, payload.length), payload)
    assert.equal(JSON.parse((await alice.skipTo(TEXT)).payload).type, 'welcome')
    assert.equal(JSON.parse((await alice.skipTo(TEXT)).payload).type, 'pong')
  })

  test('a close is answered with a close', async t => {
    const socket = await raw(t)
    socket.write(header(CLOSE, 2), Buffer.from([0x03, 0xe8]))
    assert.equal(await socket.closeCode(), 1000)
  })
})

describe('rates', () => {
  test('rate_limited with retry_ms and the ref or id; 4002 after 100 refusals', async t => {
    const server = await Server.start('-rate', '10')
    t.after(() => server.stop())
    const started = Date.now()
    const alice = await Client.connect(server.ws, { user: 'alice' })
    await alice.join('lobby')
    // All at once, and more than one: a machine that pauses brings ten a second of them through.
    const ids = Array.from({ length: 30 }, () => uuid7())
    for (let i = 0; i < 60; i++) alice.send({ type: 'ping', ref: `p${i}` })
    for (const id of ids) alice.send({ type: 'publish', id, room: 'lobby', body: 1 })
    const err = await alice.wait(f => f.type === 'error', 'a refusal')
    assert.equal(err.code, 'rate_limited')
    assert.match(err.ref, /^p\d+$/)
    assert.ok(err.retry_ms > 0, `retry_ms ${err.retry_ms}`)
    const answers = await Promise.all(ids.map(id => alice.answered(id).catch(err => err.frame ?? Promise.reject(err))))
    const seconds = (Date.now() - started) / 1000
    const refused = answers.filter(f => f.type === 'error')
    assert.ok(refused.length > 0, 'no publish was refused')
    for (const f of refused) assert.ok(f.code === 'rate_limited' && f.retry_ms > 0, JSON.stringify(f))
    const passed = 1 + alice.frames.filter(f => f.type === 'pong').length + answers.length - refused.length
    assert.ok(passed >= 20 && passed <= 20 + 10 * seconds, `${passed} passed in ${seconds} s: the burst is 20`)

    for (let i = 0; i < 150; i++) alice.send({ type: 'ping' })
    assert.equal((await alice.gone()).code, 4002)
    const refusals = alice.frames.filter(f => f.code === 'rate_limited').length
    assert.ok(refusals >= 95 && refusals <= 101, `${refusals} refusals`)
  })
})

describe('connections', () => {
  test('a silent one is pinged after ping_ms and closed with 4003 after twice that', async t => {
    const server = await Server.start('-ping', '2s')
    let mute
    t.after(() => { mute?.destroy(); return server.stop() })
    const healthy = await Client.connect(server.ws, { user: 'alice' }) // answers pings by itself
    assert.equal(healthy.welcome.ping_ms, 2000)
    const started = Date.now()
    mute = await RawSocket.open(server.ws, { user: 'bob' })
    await mute.skipTo(TEXT)
    await mute.skipTo(9)
    const pinged = Date.now() - started
    assert.equal(await mute.closeCode(), 4003)
    const closed = Date.now() - started
    assert.ok(pinged >= 1_600, `pinged after ${pinged} ms`) // the server's clock is an eighth coarse
    assert.ok(closed >= 3_600, `closed after ${closed} ms`)
    await healthy.ping()
  })

  test('who does not read is cut off with 4000, delays nobody, and resumes', async t => {
    const world = new World(t)
    const [alice, bob, slow] = await world.all(['alice', 'bob', 'slow'], 'lobby')
    const start = await alice.publish('lobby', 'start')
    await slow.message('lobby', start.id)
    slow.ws.pause()
    const left = bob.wait(f => f.type === 'members' && f.left.includes('slow'), 'slow to be cut off', { timeout: 60_000 })
    let gone = false
    left.then(() => { gone = true }, () => {})
    const body = 'x'.repeat(60_000)
    let published = 1
    for (; !gone && published < 480; published++) {
      const { id } = await alice.publish('lobby', body)
      await bob.message('lobby', id)
    }
    await left
    slow.ws.resume()
    const { code } = await slow.gone()
    assert.ok([4000, 1006].includes(code), `closed with ${code}`) // 1006: it could not be told any more
    t.diagnostic(`cut off after ${published} messages of 60 kB, with ${code}`)

    const back = await world.connect('slow')
    const last = slow.last.get('lobby')
    const joined = await back.join('lobby', last)
    await back.reached('lobby', joined.head)
    assert.equal(joined.truncated, false)
    const all = [...slow.messages('lobby'), ...back.messages('lobby')]
    assert.deepEqual(all.map(m => m.seq), bob.messages('lobby').map(m => m.seq))
  })

  test('a kick closes all sessions of the user with 4503', async t => {
    const world = new World(t)
    const [alice, alice2, bob] = await world.all(['alice', 'alice', 'bob'], 'lobby')
    const kick = new URL('/kick', shared.server.http)
    kick.search = new URLSearchParams({ tenant: world.tenant, user: 'alice' })
    assert.equal(await (await fetch(kick, { method: 'POST' })).text(), '2')
    for (const c of [alice, alice2]) assert.equal((await c.gone()).code, 4503)
    await bob.ping()
  })
})
