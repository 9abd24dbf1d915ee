import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { World } from '../harness.mjs'

const count = 250
const all = [...Array(count).keys()]

async function filled (t) {
  const world = new World(t)
  const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
  const acks = await Promise.all(all.map(i => alice.publish('lobby', i)))
  return { world, alice, bob, seqs: acks.map(a => a.seq) }
}

describe('history', () => {
  test('pages both ways over 250 messages', async t => {
    const { bob, seqs } = await filled(t)
    for (const limit of [60, 125, 200]) {
      const down = []
      for (let bounds = {}; ;) {
        const { messages, more } = await bob.history('lobby', { ...bounds, limit })
        assert.equal(messages.length, Math.min(limit, count - down.length))
        down.unshift(...messages)
        assert.equal(more, down.length < count)
        if (!more) break
        bounds = { before: messages[0].seq }
      }
      assert.deepEqual(down.map(m => m.body), all, `down by ${limit}`)
      const up = []
      for (let after = 0; ;) {
        const { messages, more } = await bob.history('lobby', { after, limit })
        up.push(...messages)
        assert.equal(more, up.length < count)
        if (!more) break
        after = messages.at(-1).seq
      }
      assert.deepEqual(up, down, `up by ${limit}`)
    }
    // Bounds are exclusive and need not be messages.
    const between = await bob.history('lobby', { after: seqs[9], limit: 1 })
    assert.deepEqual(between.messages.map(m => m.body), [10])
    assert.deepEqual((await bob.history('lobby', { before: seqs[9], limit: 1 })).messages.map(m => m.body), [8])
    assert.deepEqual((await bob.history('lobby', { before: seqs.at(-1) + 1, limit: 1 })).messages.map(m => m.body), [count - 1])
    const beyond = await bob.history('lobby', { after: seqs.at(-1) })
    assert.deepEqual([beyond.messages, beyond.more], [[], false])
    const start = await bob.history('lobby', { before: seqs[0] })
    assert.deepEqual([start.messages, start.more], [[], false])
  })

  test('message objects have the fields of message without type', async t => {
    const world = new World(t)
    const [alice] = await world.all(['alice'], 'lobby')
    const { id, seq } = await alice.publish('lobby', { a: [1] }, { kind: 'k', to: 'alice' })
    const page = await alice.history('lobby')
    assert.deepEqual(page.messages, [{ id, room: 'lobby', seq, sender: 'alice', to: 'alice', kind: 'k', body: { a: [1] } }])
    assert.deepEqual([page.room, page.more], ['lobby', false])
    assert.equal(typeof page.watermarks, 'object')
  })

  test('limit: 50 if absent, 1 to 200, else bad_request; not both bounds', async t => {
    const { bob } = await filled(t)
    const page = await bob.history('lobby')
    assert.deepEqual(page.messages.map(m => m.body), all.slice(-50))
    assert.equal(page.more, true)
    assert.equal((await bob.history('lobby', { limit: 200 })).messages.length, 200)
    assert.equal((await bob.history('lobby', { limit: 1 })).messages.length, 1)
    for (const bad of [{ limit: 0 }, { limit: 201 }, { limit: -1 }, { limit: 1.5 }, { limit: '10' }, { before: 2, after: 1 }, { before: 'x' }, { after: -1 }]) {
      await assert.rejects(bob.history('lobby', bad), { code: 'bad_request' }, JSON.stringify(bad))
    }
    await bob.ping()
  })

  test('watermarks: at or after the page’s first message, rounded down to one of the page', async t => {
    const { world, alice, bob, seqs } = await filled(t)
    const [carol, dora] = await world.all(['carol', 'dora'], 'lobby')
    const secret = await alice.publish('lobby', 'secret', { to: 'bob' })
    await bob.reached('lobby', secret.seq)
    for (const c of [carol, dora]) await c.reached('lobby', seqs.at(-1))
    bob.receipt('lobby', { seen: secret.seq })
    carol.receipt('lobby', { delivered: seqs[240], seen: seqs[100] })
    dora.receipt('lobby', { seen: seqs[90] })
    await alice.wait(f => f.type === 'receipt' && f.user === 'bob' && f.seen === secret.seq, 'bob’s receipt')
    await alice.wait(f => f.type === 'receipt' && f.user === 'carol' && f.delivered === seqs[240], 'carol’s receipt')
    await alice.wait(f => f.type === 'receipt' && f.user === 'dora', 'dora’s receipt')

    const others = ({ alice, ...rest }) => rest
    const page = await dora.history('lobby', { after: seqs[94], limit: 10 }) // 95 … 104
    assert.deepEqual(others(page.watermarks), {
      bob: { delivered: seqs[104], seen: seqs[104] },
      carol: { delivered: seqs[104], seen: seqs[100] }
    })
    const newest = await dora.history('lobby', { limit: 20 }) // 230 … 249
    assert.deepEqual(others(newest.watermarks), {
      bob: { delivered: seqs[249], seen: seqs[249] },
      carol: { delivered: seqs[240], seen: 0 }
    }, 'the private message’s seq is not shown')
  })

  test('a page stops at 1 MiB, with more', async t => {
    const world = new World(t)
    const [alice] = await world.all(['alice'], 'lobby')
    const body = 'x'.repeat(60_000)
    const acks = []
    for (let i = 0; i < 25; i++) acks.push(await alice.publish('lobby', body))
    const seqs = acks.map(a => a.seq)
    const up = await alice.history('lobby', { after: 0 })
    assert.equal(up.more, true)
    assert.ok(up.messages.length >= 15 && up.messages.length <= 18, `${up.messages.length} messages`)
    assert.deepEqual(up.messages.map(m => m.seq), seqs.slice(0, up.messages.length), 'whole at its start')
    const down = await alice.history('lobby')
    assert.equal(down.more, true)
    assert.deepEqual(down.messages.map(m => m.seq), seqs.slice(-down.messages.length), 'whole at its end')
  })
})
