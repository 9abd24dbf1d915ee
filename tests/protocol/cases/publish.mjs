import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { uuid7 } from '../client.mjs'
import { World } from '../harness.mjs'

describe('join, publish, ack', () => {
  test('everyone in the room gets it, the sender too, as the ack says', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    const body = { text: 'Grüße 🦦', n: [1, 2.5, null, true], nested: { '\u0000': '\u2028' } }
    const before = Date.now()
    const ack = await alice.publish('lobby', body)
    assert.equal(ack.room, 'lobby')
    assert.ok(!('duplicate' in ack))
    assert.ok(ack.seq / 1000 > before - 5_000 && ack.seq / 1000 < Date.now() + 5_000, 'seq is the time in µs')
    for (const c of [alice, bob]) {
      assert.deepEqual(await c.message('lobby', ack.id), { type: 'message', id: ack.id, room: 'lobby', seq: ack.seq, sender: 'alice', kind: 'chat', body })
    }
    const typed = await bob.publish('lobby', null, { kind: 'x.y_z-1' })
    const got = await alice.message('lobby', typed.id)
    assert.deepEqual([got.kind, got.body], ['x.y_z-1', null])
  })

  test('any JSON value is a body', async t => {
    const [alice] = await new World(t).all(['alice'], 'lobby')
    for (const body of ['', 'text', 0, -1.5e-7, false, null, [], {}, [[[]]], 'a"b\\c\n']) {
      const { id } = await alice.publish('lobby', body)
      assert.deepEqual((await alice.message('lobby', id)).body, body)
    }
  })

  test('joined tells head, truncated and members', async t => {
    const world = new World(t)
    const alice = await world.connect('alice')
    const empty = await alice.join('lobby')
    assert.deepEqual([empty.room, empty.head, empty.truncated, empty.members], ['lobby', 0, false, 1])
    const { seq } = await alice.publish('lobby', 1)
    const bob = await world.connect('bob')
    const joined = await bob.join('lobby')
    assert.deepEqual([joined.head, joined.truncated, joined.members], [seq, false, 2])
  })

  test('all see the same order, and each sender’s messages as sent', async t => {
    const [alice, bob, carol] = await new World(t).all(['alice', 'bob', 'carol'], 'lobby')
    const acks = []
    for (let i = 0; i < 100; i++) {
      for (const c of [alice, bob]) acks.push(c.publish('lobby', i))
    }
    const seqs = (await Promise.all(acks)).map(a => a.seq)
    const last = Math.max(...seqs)
    const orders = []
    for (const c of [alice, bob, carol]) {
      await c.reached('lobby', last)
      orders.push(c.messages('lobby').map(m => m.seq))
      for (const sender of ['alice', 'bob']) {
        assert.deepEqual(c.messages('lobby').filter(m => m.sender === sender).map(m => m.body), [...Array(100).keys()])
      }
    }
    assert.deepEqual(orders[0], [...seqs].sort((a, b) => a - b))
    assert.deepEqual(orders[1], orders[0])
    assert.deepEqual(orders[2], orders[0])
    assert.equal(new Set(seqs).size, 200)
  })

  test('a join without since replays the last 20', async t => {
    const world = new World(t)
    const [alice] = await world.all(['alice'], 'lobby')
    for (let i = 0; i < 25; i++) await alice.publish('lobby', i)
    const bob = await world.connect('bob')
    const { head, truncated } = await bob.join('lobby')
    await bob.reached('lobby', head)
    const { id } = await alice.publish('lobby', 25)
    await bob.message('lobby', id)
    assert.equal(truncated, false)
    assert.deepEqual(bob.messages('lobby').map(m => m.body), [...Array(21).keys()].map(i => i + 5))
  })

  test('joined comes before the replay; joining again replays from since', async t => {
    const world = new World(t)
    const [alice] = await world.all(['alice'], 'lobby')
    const acks = []
    for (let i = 0; i < 10; i++) acks.push(await alice.publish('lobby', i))
    const bob = await world.connect('bob')
    const joined = await bob.join('lobby', acks[2].seq)
    await bob.reached('lobby', joined.head)
    assert.deepEqual(bob.messages('lobby').map(m => m.body), [3, 4, 5, 6, 7, 8, 9])
    assert.ok(bob.frames.indexOf(joined) < bob.frames.indexOf(bob.messages('lobby')[0]))

    const again = bob.mark()
    await bob.join('lobby', acks[6].seq)
    const { id } = await alice.publish('lobby', 10)
    await bob.message('lobby', id)
    const stream = bob.frames.slice(bob.frames.findIndex((f, i) => i >= again && f.type === 'joined')).filter(f => f.type === 'message')
    assert.deepEqual(stream.map(m => m.body), [7, 8, 9, 10])
    const all = await world.connect('carol')
    await all.reached('lobby', (await all.join('lobby', 0)).head)
    assert.deepEqual(all.messages('lobby').map(m => m.body), [...Array(11).keys()])
  })

  test('a since above head replays nothing and loses nothing', async t => {
    const world = new World(t)
    const [alice] = await world.all(['alice'], 'lobby')
    const { seq } = await alice.publish('lobby', 0)
    const bob = await world.connect('bob')
    const joined = await bob.join('lobby', seq + 3_600_000_000)
    assert.deepEqual([joined.head, joined.truncated], [seq, false])
    const next = await alice.publish('lobby', 1)
    await bob.message('lobby', next.id)
    assert.deepEqual(bob.messages('lobby').map(m => m.body), [1])
    assert.ok(next.seq < seq + 60_000_000, 'since does not move the clock')
  })

  test('after leave nothing comes any more', async t => {
    const [alice, bob] = await new World(t).all(['alice', 'bob'], 'lobby', 'other')
    await bob.leave('lobby')
    await alice.publish('lobby', 'unheard')
    const { id } = await alice.publish('other', 'heard')
    await bob.message('other', id)
    await bob.ping()
    assert.deepEqual(bob.messages('lobby'), [])
    await assert.rejects(bob.publish('lobby', 1), { code: 'not_joined' })
    assert.equal(await bob.listed('lobby'), undefined)
  })

  test('the same id again: an ack with duplicate and the first seq, one message', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    const first = await alice.publish('lobby', 'first')
    for (const extra of [{ retry: true }, {}, { retry: true, kind: 'other' }]) {
      const again = await alice.publish('lobby', 'another body', { id: first.id, ...extra })
      assert.deepEqual([again.seq, again.duplicate, again.room], [first.seq, true, 'lobby'])
    }
    const elsewhere = (await world.all(['alice'], 'lobby'))[0]
    assert.equal((await elsewhere.publish('lobby', 'x', { id: first.id, retry: true })).duplicate, true)

    const marker = await alice.publish('lobby', 'marker')
    await bob.message('lobby', marker.id)
    assert.deepEqual(bob.messages('lobby').map(m => m.body), ['first', 'marker'])
  })

  test('the same id from another user is id_conflict; in another room it is free', async t => {
    const [alice, bob] = await new World(t).all(['alice', 'bob'], 'lobby', 'other')
    const { id, seq } = await alice.publish('lobby', 'hers')
    for (const retry of [false, true]) {
      await assert.rejects(bob.publish('lobby', 'his', { id, retry }), err => {
        assert.deepEqual([err.code, err.frame.id], ['id_conflict', id])
        assert.ok(!JSON.stringify(err.frame).includes(String(seq)))
        return true
      })
    }
    assert.ok(!('duplicate' in await bob.publish('other', 'his', { id })))
    const marker = await bob.publish('lobby', 'marker')
    await alice.message('lobby', marker.id)
    assert.deepEqual(alice.messages('lobby').map(m => m.body), ['hers', 'marker'])
  })

  test('the same id from several sessions at once is one message, of one user', async t => {
    const [alice, alice2, bob, witness] = await new World(t).all(['alice', 'alice', 'bob', 'witness'], 'lobby')
    for (let i = 0; i < 30; i++) {
      const id = uuid7()
      const answers = await Promise.all([alice, alice2, bob].map((c, k) =>
        c.publish('lobby', k, { id, retry: i % 2 === 1 }).catch(err => err.frame)))
      const acks = answers.filter(f => f.type === 'ack')
      const [first] = acks.filter(f => !f.duplicate)
      const m = await witness.message('lobby', id)
      assert.ok(acks.every(f => f.seq === m.seq), 'all acks name the one seq')
      assert.equal(answers[2].type, m.sender === 'bob' ? 'ack' : 'error')
      assert.deepEqual(answers.filter(f => f.type === 'error').map(f => f.code), m.sender === 'bob' ? ['id_conflict', 'id_conflict'] : ['id_conflict'])
      assert.equal(acks.filter(f => !f.duplicate).length, 1, 'one of them was first')
      assert.equal(first.seq, m.seq)
    }
    const marker = await bob.publish('lobby', 'marker')
    await witness.message('lobby', marker.id)
    assert.equal(witness.messages('lobby').length, 31)
  })

  test('ids are compared byte for byte', async t => {
    const [alice] = await new World(t).all(['alice'], 'lobby')
    const id = uuid7().replace(/^.{4}/, 'abcd')
    const lower = await alice.publish('lobby', 1, { id })
    const upper = await alice.publish('lobby', 2, { id: id.toUpperCase() })
    assert.ok(!('duplicate' in upper) && upper.seq > lower.seq)
  })

  test('refs come back as they are', async t => {
    const alice = await new World(t).connect('alice')
    for (const ref of [7, 'sieben', 1.5, '', -3, 'ü"\\']) {
      const mark = alice.mark()
      alice.send({ type: 'rooms', ref })
      await alice.wait(f => f.type === 'rooms' && f.ref === ref, `rooms with ref ${JSON.stringify(ref)}`, { from: mark })
    }
  })

  test('ping and pong, with and without ref', async t => {
    const alice = await new World(t).connect('alice')
    assert.equal((await alice.request({ type: 'ping', ref: 'p' }, 'pong')).ref, 'p')
    const mark = alice.mark()
    alice.send({ type: 'ping' })
    assert.deepEqual(await alice.wait(f => f.type === 'pong', 'pong', { from: mark }), { type: 'pong' })
  })

  test('call reaches the program; not_found for unknown names', async t => {
    const alice = await new World(t).connect('alice')
    assert.deepEqual((await alice.call('echo', { say: 'hi' })).body, { said: 'hi', user: 'alice' })
    await assert.rejects(alice.call('echo', { say: '' }), { code: 'forbidden' })
    await assert.rejects(alice.call('nothing', {}), { code: 'not_found' })
  })
})
