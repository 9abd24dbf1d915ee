import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { packBinary, uuid7 } from '../client.mjs'
import { World } from '../harness.mjs'

describe('binary', () => {
  test('live and replayed as binary frames, in history as base64', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], 'lobby')
    const blobs = [randomBytes(1), Buffer.from([0xff, 0xfe, 0, 0x80, 0x0a]), randomBytes(3000), Buffer.alloc(0)]
    const acks = []
    for (const blob of blobs) acks.push(await alice.publishBinary('lobby', blob, { kind: 'blob' }))
    for (const c of [alice, bob]) {
      for (const [i, { id, seq }] of acks.entries()) {
        const { body, ...header } = await c.message('lobby', id)
        assert.deepEqual(header, { type: 'message', id, room: 'lobby', seq, sender: 'alice', kind: 'blob', binary: true }) // "binary" is unpackBinary's
        assert.deepEqual(body, blobs[i])
      }
    }
    const later = await world.connect('carol')
    await later.reached('lobby', (await later.join('lobby')).head)
    assert.deepEqual(later.messages('lobby').map(m => m.body), blobs)

    const page = await later.history('lobby')
    assert.deepEqual(page.messages, acks.map(({ id, seq }, i) => (
      { id, room: 'lobby', seq, sender: 'alice', kind: 'blob', binary: true, body: blobs[i].toString('base64') })))
  })

  test('retry, private and direct work as for text', async t => {
    const [alice, bob, carol] = await new World(t).all(['alice', 'bob', 'carol'], 'lobby')
    const secret = await alice.publishBinary('lobby', Buffer.from('secret'), { to: 'bob' })
    assert.equal((await bob.message('lobby', secret.id)).to, 'bob')
    const again = await alice.publishBinary('lobby', Buffer.from('other'), { to: 'bob', id: secret.id, retry: true })
    assert.deepEqual([again.duplicate, again.seq], [true, secret.seq])
    const direct = await alice.publishBinary(undefined, Buffer.from('direct'), { to: 'bob' })
    assert.equal(direct.room, '@alice,bob')
    await bob.wait(f => f.type === 'invite', 'the invite')
    const marker = await alice.publish('lobby', 'marker')
    await carol.message('lobby', marker.id)
    assert.deepEqual(carol.messages('lobby').map(m => m.body), ['marker'])
  })

  test('malformed ones are bad_json', async t => {
    const world = new World(t)
    const good = { type: 'publish', id: uuid7(), room: 'lobby' }
    const header = Buffer.from(JSON.stringify(good))
    const cases = {
      empty: Buffer.alloc(0),
      'two bytes': Buffer.from([1, 0]),
      'version 2': Buffer.concat([Buffer.from([2]), packBinary(good, Buffer.from('x')).subarray(1)]),
      'version 0': Buffer.concat([Buffer.from([0]), packBinary(good, Buffer.from('x')).subarray(1)]),
      'header longer than the frame': Buffer.concat([Buffer.from([1, 0xff, 0xff]), header]),
      'header cut short': Buffer.concat([Buffer.from([1, 0, header.length - 1]), header]),
      'header empty': Buffer.from([1, 0, 0]),
      'header no object': packBinary(Buffer.from('[1]'), Buffer.from('x')),
      'header not UTF-8': packBinary(Buffer.concat([Buffer.from('{"type":"publish","kind":"'), Buffer.from([0xff]), Buffer.from('"}')]), Buffer.from('x')),
      'header of another type': packBinary({ type: 'ping' }, Buffer.alloc(0))
    }
    const bob = await world.connect('bob')
    await bob.join('lobby')
    for (const [name, frame] of Object.entries(cases)) {
      const [alice] = await world.all(['alice'], 'lobby') // anew each time: the third fault would close
      const mark = alice.mark()
      alice.ws.send(frame, { binary: true })
      const err = await alice.wait(f => f.type === 'error', `the refusal of "${name}"`, { from: mark })
      assert.equal(err.code, 'bad_json', name)
      await alice.ping()
      alice.cut()
    }
    const marker = await bob.publish('lobby', 'marker')
    await bob.message('lobby', marker.id)
    assert.equal(bob.messages('lobby').length, 1)
  })
})
