import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Client } from '../client.mjs'
import { shared, World } from '../harness.mjs'

/** Expects the handshake to be refused with that status; returns the answer. */
async function refused (status, promise) {
  try {
    (await promise).cut()
  } catch (err) {
    assert.equal(err.status, status, err.message)
    return err
  }
  assert.fail(`the handshake succeeded, ${status} was expected`)
}

function isProblem (contentType, body, status) {
  assert.match(contentType ?? '', /^application\/problem\+json\b/)
  const problem = JSON.parse(body)
  assert.equal(problem.status, status)
  assert.equal(typeof problem.title, 'string')
}

describe('handshake', () => {
  test('welcome comes first and has all its fields', async t => {
    const before = Date.now()
    const alice = await new World(t).connect('alice')
    assert.equal(alice.frames[0], alice.welcome)
    const { type, version, session, user, node, ping_ms, max_frame, durable, time, ...rest } = alice.welcome
    assert.equal(version, 1)
    assert.ok(typeof session === 'string' && session !== '')
    assert.equal(user, 'alice')
    assert.equal(node, 'test-node')
    assert.equal(ping_ms, 25_000)
    assert.equal(max_frame, 65_536)
    assert.equal(durable, false, 'a memory store is not durable')
    assert.ok(time > before - 5_000 && time < Date.now() + 5_000, `time ${time}`)
    assert.ok(!('tenant' in rest), 'the tenant is not for the wire')
  })

  test('the subprotocol is selected when offered, and need not be', async t => {
    const world = new World(t)
    assert.equal((await world.connect('alice')).ws.protocol, 'gohub.v1')
    assert.equal((await world.connect('alice', { protocols: ['soap', 'gohub.v1'] })).ws.protocol, 'gohub.v1')
    const plain = await world.connect('alice', { protocols: [] })
    assert.equal(plain.ws.protocol, '')
    await plain.join('lobby')
  })

  test('negotiate gives url, ticket, node and expiry, never cached', async t => {
    const world = new World(t)
    const res = await world.negotiate({ user: 'alice' })
    assert.equal(res.status, 200)
    assert.match(res.headers.get('content-type'), /^application\/json\b/)
    assert.match(res.headers.get('cache-control') ?? '', /\bno-store\b/)
    const got = await res.json()
    assert.match(got.url, /^wss?:\/\//)
    assert.ok(typeof got.ticket === 'string' && got.ticket.length >= 16)
    assert.equal(got.node, 'test-node')
    assert.equal(got.expires_in_ms, 30_000)
  })

  test('a ticket authenticates alone, once, and carries user, tenant and device', async t => {
    const world = new World(t)
    const witness = await world.connect('bob')
    await witness.join('lobby')
    const { url, ticket } = await (await world.negotiate({ user: 'alice', device: 'phone' })).json()

    const alice = await Client.connect(url, null, { query: { ticket } })
    t.after(() => alice.cut())
    assert.equal(alice.welcome.user, 'alice')
    await alice.join('lobby')
    const { id } = await alice.publish('lobby', 'from inside the tenant')
    assert.equal((await witness.message('lobby', id)).sender, 'alice')

    isProblem(...await refused(401, Client.connect(url, null, { query: { ticket } })).then(r => [r.headers['content-type'], r.body, 401]))

    await world.connect('alice', { who: { device: 'phone' } })
    assert.equal((await alice.gone()).code, 4500, 'the ticket carried the device')
  })

  test('a wrong ticket is 401, even beside a good login', async t => {
    const world = new World(t)
    await refused(401, Client.connect(shared.server.ws, null, { query: { ticket: 'made-up' } }))
    await refused(401, world.connect('alice', { query: { ticket: 'made-up' } }))
  })

  test('no login is 401 with a problem, for the handshake and for negotiate', async t => {
    const err = await refused(401, Client.connect(shared.server.ws, null))
    isProblem(err.headers['content-type'], err.body, 401)
    const res = await fetch(shared.server.http)
    assert.equal(res.status, 401)
    isProblem(res.headers.get('content-type'), await res.text(), 401)
  })

  test('a foreign Origin is 403 before the upgrade; its own, or none, is fine', async t => {
    const world = new World(t)
    const err = await refused(403, world.connect('alice', { origin: 'https://evil.example' }))
    isProblem(err.headers['content-type'], err.body, 403)
    await refused(403, world.connect('alice', { origin: 'null' }))
    await world.connect('alice', { origin: new URL(shared.server.http).origin })
    await world.connect('alice')
  })

  test('the same user and device replaces: the old connection ends with 4500', async t => {
    const world = new World(t)
    const phone = await world.connect('alice', { who: { device: 'phone' } })
    const laptop = await world.connect('alice', { who: { device: 'laptop' } })
    const bare = await world.connect('alice')
    const other = await world.connect('bob', { who: { device: 'phone' } })
    const again = await world.connect('alice', { who: { device: 'phone' } })
    assert.equal((await phone.gone()).code, 4500)
    for (const c of [laptop, bare, other, again]) await c.ping()
  })

  test('a session ends with its authentication (4001), unless refreshed', async t => {
    const world = new World(t)
    const before = Date.now()
    const { ticket } = await (await world.negotiate({ user: 'alice', ttl_ms: 60_000 })).json()
    const expected = [before + 55_000, Date.now() + 65_000]
    const long = await world.connect('alice', { who: { ttl_ms: 5_000 } })
    const refreshed = await long.request({ type: 'refresh', ticket }, 'refreshed')
    const short = await world.connect('alice', { who: { ttl_ms: 5_000 } }) // ends when the other one would have
    assert.ok(refreshed.expires > expected[0] && refreshed.expires < expected[1], `expires ${refreshed.expires}`)
    await assert.rejects(long.request({ type: 'refresh', ticket }, 'refreshed'), { code: 'unauthorized' }, 'a ticket works once')
    const { ticket: bobs } = await (await world.negotiate({ user: 'bob' })).json()
    await assert.rejects(long.request({ type: 'refresh', ticket: bobs }, 'refreshed'), { code: 'forbidden' })
    assert.equal((await short.gone()).code, 4001)
    await long.ping()
  })
})
