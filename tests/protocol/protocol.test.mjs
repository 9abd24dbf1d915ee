// The entry: one server for all the cases, one case file after the other.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
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

test('shutdown: goaway, then 1012, then a clean end without data races', async t => {
  const { server } = shared
  const [alice] = await new World(t, server).all(['alice'], 'lobby')
  shared.server = null
  const ended = server.stop()
  const goaway = await alice.wait(f => f.type === 'goaway', 'goaway')
  assert.ok(Number.isInteger(goaway.reconnect_ms) && goaway.reconnect_ms >= 0, `reconnect_ms ${goaway.reconnect_ms}`)
  assert.ok(Number.isInteger(goaway.deadline_ms) && goaway.deadline_ms >= 0, `deadline_ms ${goaway.deadline_ms}`)
  assert.equal((await alice.gone()).code, 1012)
  assert.equal(await ended, 0, server.log)
  assert.doesNotMatch(server.log, /DATA RACE|panic/)
})
