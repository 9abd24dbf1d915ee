import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { World } from '../harness.mjs'

const typings = c => c.frames.filter(f => f.type === 'typing').map(f => [f.user, f.active])
const receipts = c => c.frames.filter(f => f.type === 'receipt')

describe('typing', () => {
  test('reaches others and the own other sessions, not its session; expires after 5 s', async t => {
    const world = new World(t)
    const [alice, alice2, bob] = await world.all(['alice', 'alice', 'bob'], 'lobby')
    const is = active => f => f.type === 'typing' && f.user === 'alice' && f.active === active
    const started = Date.now()
    alice.typing('lobby', true)
    for (const c of [alice2, bob]) assert.equal((await c.wait(is(true), 'typing')).room, 'lobby')
    for (const c of [alice2, bob]) await c.wait(is(false), 'the end of typing')
    const took = Date.now() - started
    assert.ok(took > 4_900, `expired after ${took} ms`)

    alice.typing('lobby', true)
    alice.typing('lobby', false)
    const marker = await alice.publish('lobby', 'marker')
    for (const c of [alice, alice2, bob]) await c.message('lobby', marker.id)
    await bob.until(() => typings(bob).length >= 4, 'typing once more and its end')
    assert.deepEqual(typings(bob), [['alice', true], ['alice', false], ['alice', true], ['alice', false]])
    await alice.ping()
    assert.deepEqual(typings(alice), [])
  })

  test('ends with leave and with the connection', async t => {
    const world = new World(t)
    const [alice, bob, carol] = await world.all(['alice', 'bob', 'carol'], 'lobby')
    for (const [c, go] of [[alice, () => alice.leave('lobby')], [carol, () => carol.cut()]]) {
      const is = active => f => f.type === 'typing' && f.user === c.label && f.active === active
      c.typing('lobby', true)
      await bob.wait(is(true), `${c.label} to type`)
      go()
      await bob.wait(is(false), `${c.label} to type no longer`)
    }
  })

  test('is not replayed, and stays inside the room', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    const [carol] = await world.all(['carol'], 'other')
    alice.typing('lobby', true)
    await bob.wait(f => f.type === 'typing', 'typing')
    const dave = await world.connect('dave')
    await dave.join('lobby', 0)
    await dave.ping()
    await carol.ping()
    assert.deepEqual(typings(dave).filter(([, active]) => active), []) // its end he is told, if it comes so soon
    assert.deepEqual(typings(carol), [])
  })
})

describe('members and presence', () => {
  test('a user with two sessions counts once', async t => {
    const world = new World(t)
    const bob = await world.connect('bob', { who: { name: 'Bob B.' } })
    await bob.join('lobby')
    const came = bob.mark()
    const a1 = await world.connect('alice', { who: { name: 'Alice' } })
    assert.equal((await a1.join('lobby')).members, 2)
    const a2 = await world.connect('alice', { who: { name: 'Alice' } })
    assert.equal((await a2.join('lobby')).members, 2)

    const m = await bob.wait(f => f.type === 'members' && f.joined.includes('alice'), 'alice to come', { from: came })
    assert.deepEqual([m.room, m.left, m.count], ['lobby', [], 2])
    const page = await bob.presence('lobby')
    assert.deepEqual([page.room, page.count, page.cursor], ['lobby', 2, undefined])
    assert.deepEqual([...page.users].sort((a, b) => a.user < b.user ? -1 : 1),
      [{ user: 'alice', name: 'Alice', sessions: 2 }, { user: 'bob', name: 'Bob B.', sessions: 1 }])

    // One of two goes: nobody left. A third user marks the time.
    const mark = bob.mark()
    a1.cut()
    const [carol] = await world.all(['carol'], 'lobby')
    await bob.wait(f => f.type === 'members' && f.joined.includes('carol') && f.count === 3, 'carol to come', { from: mark })
    await a2.leave('lobby')
    const gone = await bob.wait(f => f.type === 'members' && f.left.includes('alice'), 'alice to leave', { from: mark })
    assert.equal(gone.count, 2)
    await carol.close()
    await bob.wait(f => f.type === 'members' && f.left.includes('carol') && f.count === 1, 'carol to leave', { from: mark })
    const left = bob.frames.slice(mark).filter(f => f.type === 'members').flatMap(f => f.left)
    assert.deepEqual(left, ['alice', 'carol'], 'alice left once')
    const alone = await bob.presence('lobby')
    assert.deepEqual([alone.count, alone.users], [1, [{ user: 'bob', name: 'Bob B.', sessions: 1 }]])
  })

  test('members frames are gathered', async t => {
    const world = new World(t)
    const [bob] = await world.all(['bob'], 'lobby')
    const users = Array.from({ length: 30 }, (_, i) => `u${i}`)
    const clients = await Promise.all(users.map(u => world.connect(u)))
    const mark = bob.mark()
    await Promise.all(clients.map(c => c.join('lobby')))
    await bob.wait(f => f.type === 'members' && f.count === 31, 'all to come', { from: mark })
    const frames = bob.frames.slice(mark).filter(f => f.type === 'members')
    const joined = frames.flatMap(f => f.joined)
    assert.deepEqual(joined.filter(u => u !== 'bob').sort(), users.sort(), 'each came once')
    assert.ok(frames.length < 30, `${frames.length} frames for 30 users`)
  })

  test('above 1,000 users members frames have only the count', async t => {
    const world = new World(t)
    const [bob] = await world.all(['bob'], 'lobby')
    const join = async user => { await (await world.connect(user)).join('lobby') }
    const users = Array.from({ length: 1000 }, (_, i) => `u${i}`)
    while (users.length > 0) await Promise.all(users.splice(0, 50).map(join))
    await bob.wait(f => f.type === 'members' && f.count === 1001, 'all to come')
    const mark = bob.mark()
    await join('late')
    const m = await bob.wait(f => f.type === 'members' && f.count === 1002, 'one more', { from: mark })
    assert.deepEqual([m.joined, m.left], [[], []])
    assert.equal((await bob.presence('lobby')).count, 1002)
  })

  test('presence comes in pages of 100', async t => {
    const world = new World(t)
    const users = Array.from({ length: 130 }, (_, i) => `u${i}`)
    const clients = await Promise.all(users.map(u => world.connect(u)))
    await Promise.all(clients.map(c => c.join('lobby')))
    const seen = []
    const sizes = []
    let cursor
    do {
      const page = await clients[0].presence('lobby', cursor)
      assert.equal(page.count, 130)
      sizes.push(page.users.length)
      seen.push(...page.users.map(u => u.user))
      cursor = page.cursor
    } while (cursor !== undefined && sizes.length < 10)
    assert.deepEqual(sizes, [100, 30])
    assert.deepEqual(seen.sort(), users.sort())
  })
})

describe('receipts', () => {
  test('go to the authors concerned and to the own other sessions, to nobody else', async t => {
    const world = new World(t)
    const [alice, bob, bob2, carol, dora] = await world.all(['alice', 'bob', 'bob', 'carol', 'dora'], 'lobby')
    const m0 = await carol.publish('lobby', 'm0')
    for (const c of [bob, bob2]) await c.message('lobby', m0.id)
    bob.receipt('lobby', { seen: m0.seq })
    const of = (user, what, seq) => f => f.type === 'receipt' && f.user === user && f[what] === seq
    await carol.wait(of('bob', 'seen', m0.seq), 'bob’s receipt for m0')

    const m1 = await alice.publish('lobby', 'm1')
    const m2 = await alice.publish('lobby', 'm2')
    for (const c of [bob, bob2]) await c.message('lobby', m2.id)
    bob.receipt('lobby', { delivered: m2.seq })
    const delivered = await alice.wait(f => f.type === 'receipt' && f.user === 'bob', 'bob’s delivered')
    assert.deepEqual([delivered.room, delivered.delivered], ['lobby', m2.seq])
    assert.ok(delivered.seen < m1.seq, 'nothing of alice’s is seen')
    bob.receipt('lobby', { seen: m1.seq })
    const seen = await alice.wait(of('bob', 'seen', m1.seq), 'bob’s seen')
    assert.equal(seen.delivered, m2.seq, 'delivered stays')
    const own = await bob2.wait(of('bob', 'seen', m1.seq), 'bob’s other session to hear')
    assert.equal(own.delivered, m2.seq)

    // Backwards is nothing; the next step forward comes alone.
    bob.receipt('lobby', { delivered: m0.seq, seen: m0.seq })
    const m3 = await carol.publish('lobby', 'm3')
    await bob.message('lobby', m3.id)
    bob.receipt('lobby', { seen: m3.seq })
    const forCarol = await carol.wait(of('bob', 'seen', m3.seq), 'bob’s receipt for m3')
    assert.equal(forCarol.delivered, m3.seq, 'seen implies delivered')
    await alice.wait(of('bob', 'seen', m3.seq), 'the rest of alice’s: m2 is seen, told as the newest she can see')

    for (const c of [alice, bob2, carol]) {
      const seens = receipts(c).filter(f => f.user === 'bob').map(f => f.seen)
      assert.deepEqual(seens, [...seens].sort((a, b) => a - b), 'a watermark went back')
    }
    assert.deepEqual(receipts(carol).map(f => f.seen), [m0.seq, m3.seq], 'carol hears of her own messages only')
    await dora.ping()
    await bob.ping()
    assert.deepEqual(receipts(dora), [], 'dora wrote nothing')
    assert.deepEqual(receipts(bob), [], 'no echo')
  })

  test('are clamped to what there is, and rounded down to what the author can see', async t => {
    const world = new World(t)
    const [alice, bob, carol] = await world.all(['alice', 'bob', 'carol'], 'lobby')
    const m1 = await alice.publish('lobby', 'm1')
    const secret = await carol.publish('lobby', 'secret', { to: 'bob' })
    await bob.message('lobby', secret.id)
    bob.receipt('lobby', { seen: secret.seq + 3_600_000_000 })
    const got = await alice.wait(f => f.type === 'receipt', 'bob’s receipt')
    assert.deepEqual([got.user, got.delivered, got.seen], ['bob', m1.seq, m1.seq])
    const hers = await carol.wait(f => f.type === 'receipt', 'bob’s receipt')
    assert.deepEqual([hers.delivered, hers.seen], [secret.seq, secret.seq])
    const state = await bob.listed('lobby')
    assert.deepEqual([state.seen, state.unread], [secret.seq, 0], 'seen is clamped')

    // A private message of others, which is newest, is nothing bob could have seen.
    const bob2 = (await world.all(['bob'], 'lobby'))[0]
    const m1b = await alice.publish('lobby', 'm1b')
    const hidden = await alice.publish('lobby', 'hidden', { to: 'carol' })
    await carol.message('lobby', hidden.id)
    await bob.message('lobby', m1b.id)
    const mark = bob2.mark()
    bob.receipt('lobby', { seen: hidden.seq + 3_600_000_000 })
    const own = await bob2.wait(f => f.type === 'receipt', 'bob’s own receipt', { from: mark })
    assert.deepEqual([own.delivered, own.seen], [m1b.seq, m1b.seq], 'clamped to what the reader can see')
    assert.equal((await bob.listed('lobby')).seen, m1b.seq)

    // What comes later is unread all the same.
    const m2 = await alice.publish('lobby', 'm2')
    await bob.message('lobby', m2.id)
    assert.equal((await bob.listed('lobby')).unread, 1)
  })

  test('are coalesced to 4 a second', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    const acks = await Promise.all(Array.from({ length: 60 }, (_, i) => alice.publish('lobby', i)))
    await bob.reached('lobby', acks.at(-1).seq)
    const started = Date.now()
    for (const { seq } of acks) {
      bob.receipt('lobby', { seen: seq })
      await bob.ping()
    }
    await alice.wait(f => f.type === 'receipt' && f.seen === acks.at(-1).seq, 'the last receipt')
    const seconds = (Date.now() - started) / 1000
    const most = Math.ceil(seconds * 4) + 1
    assert.ok(receipts(alice).length <= most, `${receipts(alice).length} receipts in ${seconds} s`)
  })
})

describe('rooms', () => {
  test('head, seen and unread; own messages are never unread; leave takes a room off', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby', 'other')
    assert.deepEqual(await bob.listRooms(), [
      { room: 'lobby', head: 0, seen: 0, unread: 0 }, { room: 'other', head: 0, seen: 0, unread: 0 }])
    const acks = []
    for (let i = 0; i < 5; i++) acks.push(await alice.publish('lobby', i))
    const own = await bob.publish('lobby', 'own')
    assert.deepEqual(await bob.listed('lobby'), { room: 'lobby', head: own.seq, seen: 0, unread: 5 })
    assert.equal((await alice.listed('lobby')).unread, 1)
    await bob.reached('lobby', own.seq)
    bob.receipt('lobby', { seen: acks[2].seq })
    await alice.wait(f => f.type === 'receipt' && f.seen === acks[2].seq, 'the receipt')
    assert.deepEqual(await bob.listed('lobby'), { room: 'lobby', head: own.seq, seen: acks[2].seq, unread: 2 })

    bob.cut()
    const back = await world.connect('bob')
    assert.deepEqual(await back.listed('lobby'), { room: 'lobby', head: own.seq, seen: acks[2].seq, unread: 2 }, 'a disconnect is no leave')
    await back.join('other')
    await back.leave('other')
    assert.deepEqual((await back.listRooms()).map(r => r.room), ['lobby'])
  })

  test('unread is counted to 100', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    await Promise.all(Array.from({ length: 120 }, (_, i) => alice.publish('lobby', i)))
    assert.equal((await bob.listed('lobby')).unread, 100)
  })
})
