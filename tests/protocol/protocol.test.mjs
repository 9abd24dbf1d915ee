// The entry: one server for all the cases, one case file after the other.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { checked, schema } from './schema.mjs'
import { build, clean, Server, shared, World } from './harness.mjs'

before(async () => {
  await build()
  shared.server = await Server.start()
})
after(async () => {
  if (shared.server) await shared.server.stop()
  await clean()
})

await import('./cases/handshake.mjs')
await import('./cases/publish.mjs')
await import('./cases/resume.mjs')
await import('./cases/private.mjs')
await import('./cases/binary.mjs')
await import('./cases/events.mjs')
await import('./cases/history.mjs')
await import('./cases/limits.mjs')

let last // a client that was there when the server stopped

test('shutdown closes with 1012 and ends clean, without data races', async t => {
  const { server } = shared
  ;[last] = await new World(t, server).all(['alice'], 'lobby')
  const { id } = await last.publish('lobby', 'to the last')
  shared.server = null
  const ended = server.stop()
  assert.equal((await last.gone()).code, 1012)
  assert.ok(last.messages('lobby').some(m => m.id === id))
  assert.equal(await ended, 0, server.log)
  assert.doesNotMatch(server.log, /DATA RACE|panic/)
})

test('goaway came before 1012', () => {
  const goaway = last.frames.find(f => f.type === 'goaway')
  assert.ok(goaway, `the last frames were ${JSON.stringify(last.frames.slice(-3))}`)
})

test('every frame of all these tests was as documented', () => {
  assert.ok(checked.frames > 10_000, `${checked.frames} frames`)
  assert.deepEqual([...checked.faults], [])
  const missing = Object.keys(schema).filter(type => !checked.types.has(type) && type !== 'goaway')
  assert.deepEqual(missing, [], 'frames that no test has brought about')
})
