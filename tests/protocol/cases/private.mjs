import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { uuid7 } from '../client.mjs'
import { World } from '../harness.mjs'

const bodies = messages => messages.map(m => m.body)

describe('private messages', () => {
  test('seen by the two alone: live, replayed, paged and counted', async t => {
    const world = new World(t)
    const [alice, bob, carol] = await world.all(['alice', 'bob', 'carol'], 'lobby')
    const other = (await world.all(['bob'], 'lobby'))[0]
    const open = await alice.publish('lobby', 'open')
    const secret = await alice.publish('lobby', 'secret', { to: 'bob' })
    for (const c of [alice, bob, other]) {
      const m = await c.message('lobby', secret.id)
      assert.deepEqual([m.to, m.sender, m.body, m.seq], ['bob', 'alice', 'secret', secret.seq])
    }
    // Last of all a second private one, so that heads differ.
    const last = await bob.publish('lobby', 'last', { to: 'alice' })
    await alice.message('lobby', last.id)

    // counted
    const hers = await carol.listed('lobby')
    assert.deepEqual([hers.head, hers.unread], [open.seq, 1])
    const his = await bob.listed('lobby')
    assert.deepEqual([his.head, his.unread], [last.seq, 2])

    // replayed
    const third = await world.connect('carol')
    const joined = await third.join('lobby', 0)
    assert.equal(joined.head, open.seq)
    const second = await world.connect('bob')
    await second.reached('lobby', (await second.join('lobby', 0)).head)
    assert.deepEqual(bodies(second.messages('lobby')), ['open', 'secret', 'last'])

    // paged
    for (const bounds of [{}, { after: 0 }, { before: last.seq + 1 }]) {
      assert.deepEqual(bodies((await carol.history('lobby', bounds)).messages), ['open'])
      assert.deepEqual(bodies((await bob.history('lobby', bounds)).messages), ['open', 'secret', 'last'])
    }
    assert.equal((await carol.history('lobby', { limit: 1 })).more, false, 'what is not for her is not more')

    // live, and the replay to its end
    const marker = await alice.publish('lobby', 'marker')
    for (const c of [carol, third]) {
      await c.message('lobby', marker.id)
      assert.deepEqual(bodies(c.messages('lobby')), ['open', 'marker'])
      assert.ok(!JSON.stringify(c.frames).includes('secret'))
      assert.ok(!JSON.stringify(c.frames).includes(secret.id))
      assert.ok(!JSON.stringify(c.frames).includes(String(last.seq)), 'the seq of a private message leaked')
    }
  })

  test('to oneself, and to somebody who is not there yet', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    await alice.publish('lobby', 'note', { to: 'alice' })
    await alice.publish('lobby', 'for carol', { to: 'carol' })
    const carol = await world.connect('carol')
    await carol.reached('lobby', (await carol.join('lobby')).head)
    assert.deepEqual(bodies(carol.messages('lobby')), ['for carol'])
    const marker = await alice.publish('lobby', 'marker')
    await bob.message('lobby', marker.id)
    assert.deepEqual(bodies(bob.messages('lobby')), ['marker'])
    assert.deepEqual(bodies((await alice.history('lobby')).messages), ['note', 'for carol', 'marker'])
  })

  test('private messages do not count as missed for others', async t => {
    const world = new World(t)
    const [alice, carol] = await world.all(['alice', 'carol'], 'lobby')
    const { seq } = await alice.publish('lobby', 'start')
    await carol.reached('lobby', seq)
    carol.cut()
    await Promise.all(Array.from({ length: 600 }, (_, i) => alice.publish('lobby', i, { to: 'bob' })))
    const open = await alice.publish('lobby', 'open')
    const back = await world.connect('carol')
    const joined = await back.join('lobby', seq)
    assert.deepEqual([joined.truncated, joined.head], [false, open.seq])
    await back.reached('lobby', open.seq)
    assert.deepEqual(bodies(back.messages('lobby')), ['open'])

    // 500 that she may see among others that she may not are still not too many.
    back.cut()
    const acks = []
    for (let i = 0; i < 500; i++) {
      if (i % 10 === 0) acks.push(alice.publish('lobby', 'hidden', { to: 'bob' }))
      acks.push(alice.publish('lobby', i))
    }
    await Promise.all(acks)
    const again = await world.connect('carol')
    const second = await again.join('lobby', open.seq)
    assert.equal(second.truncated, false)
    await again.reached('lobby', second.head)
    assert.deepEqual(bodies(again.messages('lobby')), [...Array(500).keys()])
  })
})

describe('direct rooms', () => {
  test('to without room: the direct room, an invite for who is outside, replay from its seq', async t => {
    const world = new World(t)
    const alice = await world.connect('alice')
    const bob = await world.connect('bob')
    const bob2 = await world.connect('bob')
    const room = '@alice,bob'
    const ack = await alice.publish(undefined, 'psst', { to: 'bob' })
    assert.equal(ack.room, room)
    const own = await alice.message(room, ack.id)
    assert.deepEqual([own.seq, own.sender, own.body], [ack.seq, 'alice', 'psst'])

    for (const c of [bob, bob2]) {
      const invite = await c.wait(f => f.type === 'invite', 'the invite')
      assert.deepEqual([invite.room, invite.from], [room, 'alice'])
      assert.ok(invite.seq < ack.seq, `invite.seq ${invite.seq} is not before the message, ${ack.seq}`)
      assert.deepEqual(c.messages(room), [])
    }
    const listed = await bob.listed(room)
    assert.deepEqual([listed.head, listed.unread], [ack.seq, 1], 'the room is listed before any join')

    const joined = await bob.join(room, bob.frames.find(f => f.type === 'invite').seq)
    assert.equal(joined.head, ack.seq)
    await bob.message(room, ack.id)

    // A further message: live inside, an invite outside, whichever way it is published.
    const back = await bob.publish(room, 'what?')
    await alice.message(room, back.id)
    const mark = bob2.mark()
    const more = await alice.publish(room, 'you know')
    await bob.message(room, more.id)
    const invite = await bob2.wait(f => f.type === 'invite', 'the next invite', { from: mark })
    assert.ok(invite.seq < more.seq && invite.seq >= ack.seq, 'the seq lies just before the message')
    assert.equal(bob.frames.filter(f => f.type === 'invite').length, 1, 'no invite to who is inside')
    assert.equal(alice.frames.filter(f => f.type === 'joined').length, 0, 'the implicit join is silent')
    assert.equal(alice.frames.filter(f => f.type === 'invite').length, 0, 'no invite from oneself')

    const fresh = await world.connect('bob')
    assert.equal((await fresh.listed(room)).unread, 2)
    await fresh.reached(room, (await fresh.join(room, 0)).head)
    assert.deepEqual(bodies(fresh.messages(room)), ['psst', 'what?', 'you know'])
    assert.deepEqual((await alice.listed(room)).head, more.seq)
  })

  test('a third user is forbidden, and learns nothing', async t => {
    const world = new World(t)
    const [alice, carol] = [await world.connect('alice'), await world.connect('carol')]
    const { seq } = await alice.publish(undefined, 'psst', { to: 'bob' })
    const room = '@alice,bob'
    await assert.rejects(carol.join(room), { code: 'forbidden' })
    await assert.rejects(carol.join(room, 0), { code: 'forbidden' })
    await assert.rejects(carol.publish(room, 'me too'), { code: 'not_joined' })
    await assert.rejects(carol.publish(room, 'me too', { to: 'bob' }), { code: 'not_joined' })
    await assert.rejects(carol.history(room), { code: 'not_joined' })
    await assert.rejects(carol.presence(room), { code: 'not_joined' })
    assert.deepEqual(await carol.listRooms(), [])
    const same = await (async () => { try { await carol.join('@x,y') } catch (err) { return err.frame.message } })()
    const other = await (async () => { try { await carol.join(room) } catch (err) { return err.frame.message } })()
    assert.equal(other.replaceAll(room, '@x,y'), same, 'a room that exists is refused in other words than one that does not')
    assert.ok(!JSON.stringify(carol.frames).includes('psst'))
    assert.ok(!JSON.stringify(carol.frames).includes(String(seq)))
  })

  test('names that are not two sorted users are bad_room', async t => {
    const world = new World(t)
    const bob = await world.connect('bob')
    for (const room of ['@bob,alice', '@bob', '@', '@,bob', '@bob,', '@alice,bob,carol', '@alice@bob', '@@alice,bob', '@alice,,bob']) {
      await assert.rejects(bob.join(room), { code: 'bad_room' }, room)
    }
    await bob.join('@alice,bob')
    await bob.join('@bob,bob')
    await bob.join('a@b,c')
  })

  test('leave takes it off the list until the next message', async t => {
    const world = new World(t)
    const [alice, bob] = [await world.connect('alice'), await world.connect('bob')]
    const room = '@alice,bob'
    const first = await alice.publish(undefined, 'one', { to: 'bob' })
    await bob.join(room, 0)
    await bob.leave(room)
    assert.equal(await bob.listed(room), undefined)
    const mark = bob.mark()
    const second = await alice.publish(undefined, 'two', { to: 'bob' })
    const invite = await bob.wait(f => f.type === 'invite', 'an invite after leave', { from: mark })
    assert.ok(invite.seq >= first.seq && invite.seq < second.seq)
    assert.equal((await bob.listed(room)).head, second.seq)
  })

  test('nobody but its two users can be addressed in it', async t => {
    const [alice] = await new World(t).all(['alice'], '@alice,bob')
    await assert.rejects(alice.publish('@alice,bob', 'x', { to: 'carol' }), { code: 'forbidden' })
  })

  test('private messages inside it stay private, also by invite and list', async t => {
    const world = new World(t)
    const room = '@alice,bob'
    const [alice] = await world.all(['alice'], room)
    const bob = await world.connect('bob')
    const note = await alice.publish(room, 'note', { to: 'alice' })
    await alice.message(room, note.id)
    await bob.ping()
    assert.deepEqual(bob.frames.filter(f => f.type === 'invite'), [], 'an invite for a message bob cannot see')
    assert.deepEqual(await bob.listRooms(), [], 'a room listed for a message bob cannot see')
    const open = await alice.publish(room, 'open')
    const invite = await bob.wait(f => f.type === 'invite', 'the invite')
    assert.ok(invite.seq < open.seq)
    const joined = await bob.join(room, 0)
    await bob.reached(room, joined.head)
    assert.deepEqual(bodies(bob.messages(room)), ['open'])
    assert.equal((await bob.listed(room)).unread, 1)
    assert.equal((await alice.listed(room)).head, open.seq)
  })

  test('a direct room with oneself', async t => {
    const world = new World(t)
    const alice = await world.connect('alice')
    const { id, room } = await alice.publish(undefined, 'note', { to: 'alice' })
    assert.equal(room, '@alice,alice')
    await alice.message(room, id)
  })
})

describe('spoofing', () => {
  test('nothing is possible in a room that was not joined', async t => {
    const world = new World(t)
    const [alice] = await world.all(['alice'], 'lobby')
    const mallory = await world.connect('mallory')
    const { seq } = await alice.publish('lobby', 'hers')
    const id = uuid7()
    await assert.rejects(mallory.publish('lobby', 'x', { id }), err => err.code === 'not_joined' && err.frame.id === id)
    await assert.rejects(mallory.publishBinary('lobby', Buffer.from('x')), { code: 'not_joined' })
    await assert.rejects(mallory.publish('lobby', 'x', { to: 'alice' }), { code: 'not_joined' })
    await assert.rejects(mallory.history('lobby'), { code: 'not_joined' })
    await assert.rejects(mallory.presence('lobby'), { code: 'not_joined' })
    for (const send of [() => mallory.typing('lobby'), () => mallory.receipt('lobby', { seen: seq })]) {
      const mark = mallory.mark()
      send()
      const err = await mallory.wait(f => f.type === 'error', 'not_joined', { from: mark })
      assert.deepEqual([err.code, err.ref, err.id], ['not_joined', undefined, undefined])
    }
    const marker = await alice.publish('lobby', 'marker')
    await alice.message('lobby', marker.id)
    assert.deepEqual(bodies(alice.messages('lobby')), ['hers', 'marker'])
    assert.deepEqual(alice.frames.filter(f => ['typing', 'receipt'].includes(f.type)), [])
  })

  test('sender, tenant, seq and the like in a publish are ignored', async t => {
    const world = new World(t)
    const elsewhere = new World(t)
    const [alice, mallory] = await world.all(['alice', 'mallory'], 'lobby')
    const [far] = await elsewhere.all(['alice'], 'lobby')
    const claims = { sender: 'alice', user: 'alice', tenant: elsewhere.tenant, seq: 1, session: alice.welcome.session, device: 'x', time: 0, duplicate: true }
    const { id, seq } = await mallory.publish('lobby', 'claimed', claims)
    const got = await alice.message('lobby', id)
    assert.deepEqual(got, { type: 'message', id, room: 'lobby', seq, sender: 'mallory', kind: 'chat', body: 'claimed' })
    assert.ok(seq > 1e15)
    mallory.send({ type: 'typing', room: 'lobby', active: true, user: 'alice' })
    assert.equal((await alice.wait(f => f.type === 'typing', 'typing')).user, 'mallory')
    const marker = await far.publish('lobby', 'marker')
    await far.message('lobby', marker.id)
    assert.deepEqual(bodies(far.messages('lobby')), ['marker'])
  })

  test('rooms of the same name in two tenants never meet', async t => {
    const [here, there] = [new World(t), new World(t)]
    const [alice] = await here.all(['alice'], 'lobby')
    const id = uuid7()
    await alice.publish('lobby', 'here', { id })
    const direct = await alice.publish(undefined, 'psst', { to: 'bob' })

    const eve = await there.connect('bob')
    const joined = await eve.join('lobby', 0)
    assert.deepEqual([joined.head, joined.members], [0, 1])
    assert.deepEqual((await eve.listRooms()).map(r => r.room), ['lobby'])
    assert.equal((await eve.join('@alice,bob', 0)).head, 0)
    const ack = await eve.publish('lobby', 'there', { id })
    assert.ok(!('duplicate' in ack), 'ids of tenants do not meet either')
    const names = [`${here.tenant}/lobby`, `${here.tenant}\u0000lobby`, `../${here.tenant}/lobby`]
    for (const name of names) await assert.rejects(eve.join(name), { code: 'bad_room' })
    for (const name of [`${here.tenant}:lobby`, `${here.tenant}.lobby`]) assert.equal((await eve.join(name, 0)).head, 0)

    alice.typing('lobby')
    alice.receipt('lobby', { seen: direct.seq })
    const marker = await alice.publish('lobby', 'marker')
    await alice.message('lobby', marker.id)
    const own = await eve.publish('lobby', 'marker there')
    await eve.message('lobby', own.id)
    assert.deepEqual(bodies(eve.messages('lobby')), ['there', 'marker there'])
    assert.deepEqual(bodies(alice.messages('lobby')), ['here', 'marker'])
    assert.deepEqual((await eve.presence('lobby')).users.map(u => u.user), ['bob'])
    const seen = JSON.stringify(eve.frames)
    for (const trace of ['psst', '"here"', here.tenant + '"', String(direct.seq)]) assert.ok(!seen.includes(trace), `${trace} leaked`)
    assert.equal(eve.frames.filter(f => ['typing', 'receipt', 'invite'].includes(f.type)).length, 0)
  })
})
