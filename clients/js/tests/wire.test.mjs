import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { world } from './fake.mjs'
import { load } from './source.mjs'

const { pack, unpack } = await load('wire')
const vectors = async name => JSON.parse(await readFile(new URL(`../../../testdata/wire/${name}.json`, import.meta.url)))
const bytes = base64 => new Uint8Array(Buffer.from(base64, 'base64'))

test('golden vectors: what the server says is understood', async t => {
  let checked = 0
  for (const { name, opcode, payload, payload_base64, fields } of await vectors('server')) {
    if (opcode > 2) continue // close and ping are the WebSocket's business
    const { body_base64, ...header } = fields
    const want = body_base64 === undefined ? header : { ...header, body: bytes(body_base64) }
    assert.deepEqual(unpack(opcode === 1 ? payload : bytes(payload_base64).buffer), want, name)
    checked++
  }
  assert.ok(checked >= 20, `${checked}`)
})

test('golden vectors: what is said to the server is what it understands', async t => {
  let checked = 0
  for (const { name, frame, frame_base64, fields, error } of await vectors('client')) {
    if (error) continue // this client does not say what is refused
    const { ref, body, body_base64, ...rest } = fields
    if (ref !== undefined) rest.ref = JSON.parse(ref)
    if (body !== undefined) rest.body = JSON.parse(body)
    if (body_base64 !== undefined) rest.body = bytes(body_base64)
    const packed = pack(rest)
    if (frame_base64) {
      const [made, kept] = [unpack(packed.buffer), unpack(bytes(frame_base64).buffer)]
      for (const [key, value] of Object.entries(rest)) assert.deepEqual([key, made[key], kept[key]], [key, value, value], name)
    } else {
      // What is not Unicode in the vector's text, the server reads as U+FFFD.
      const [kept, made] = [frame, packed].map(text => JSON.parse(text, (_, v) => typeof v === 'string' ? v.toWellFormed() : v || (v === 0 ? 0 : v)))
      for (const [key, value] of Object.entries(made)) assert.deepEqual([key, kept[key]], [key, value], name)
    }
    checked++
  }
  assert.ok(checked >= 20, `${checked}`)
})

test('a header of more than 255 bytes', () => {
  const frame = { type: 'publish', room: 'r'.repeat(1000), body: new Uint8Array([7]) }
  assert.deepEqual(unpack(pack(frame).buffer), frame)
})

test('frames that it does not understand harm nothing', async () => {
  const w = world()
  const socket = await w.connect()
  for (const data of ['no json', 'null', '1', '"text"', '[]']) socket.onmessage({ data })
  socket.onmessage({ data: new Uint8Array([2, 0, 0]).buffer })
  socket.onmessage({ data: new Uint8Array([1, 9, 9, 1]).buffer })
  for (const { opcode, payload } of await vectors('server')) if (opcode === 1 && !payload.includes('"welcome"')) socket.onmessage({ data: payload })
  await socket.say({ type: 'of the future', room: 'lobby' }, { type: 'pong', news: 1 })
  assert.equal(w.client.state.name, 'connected')
})

test('ids are of version 7 and ascend', async () => {
  const { uuid7 } = await load('uuid')
  const at = 1_763_779_200_000
  const times = [at, ...Array(5000).fill(at + 1), at - 60_000, at + 2, at + 2000]
  const ids = times.map(uuid7)
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.deepEqual(ids, [...new Set(ids)].sort())
  assert.equal(parseInt(ids[0].replace('-', '').slice(0, 12), 16), at)
  assert.equal(parseInt(ids.at(-1).replace('-', '').slice(0, 12), 16), at + 2000)
})

test('ids need no secure context: of crypto, getRandomValues alone', async t => {
  const { uuid7 } = await load('uuid')
  const before = Object.getOwnPropertyDescriptor(globalThis, 'crypto')
  const { crypto } = globalThis
  t.after(() => Object.defineProperty(globalThis, 'crypto', before))
  Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues: a => crypto.getRandomValues(a) }, configurable: true })
  assert.match(uuid7(1_763_779_200_000), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})
