import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { uuid7 } from '../client.mjs'
import { seeded, World } from '../harness.mjs'

const room = 'stream'

/** Strictly ascending seq, each id once. */
function isStream (messages) {
  for (let i = 1; i < messages.length; i++) {
    assert.ok(messages[i - 1].seq < messages[i].seq, `message ${i}: seq ${messages[i].seq} after ${messages[i - 1].seq}`)
  }
  assert.equal(new Set(messages.map(m => m.id)).size, messages.length, 'an id came twice')
}

describe('resume', () => {
  test('3,000 messages of two senders, the reader cut 20 times: no gap, no duplicate', async t => {
    const total = 3000
    const cuts = 20
    const seed = Number(process.env.GOHUB_TEST_SEED ?? 20261122)
    const random = seeded(seed)
    const world = new World(t)
    const [ann, ben, witness] = await world.all(['ann', 'ben', 'witness'], room)

    // Where to cut, in messages read: anywhere, twice within a replay's reach.
    const at = Array.from({ length: cuts - 2 }, () => 1 + Math.floor(random() * (total - 200)))
    at.push(at[0] + 1, at[1] + 2)
    at.sort((a, b) => a - b)
    assert.equal(new Set(at).size, cuts, 'the seed must give distinct places to cut')

    const stream = [] // what the reader kept, over all its connections
    let resumed = 0
    let lead = 300 // how far the senders may be ahead of the reader
    let missed = 0 // messages that came as replay
    let progress = () => {}
    const read = (async () => {
      let last = 0
      for (let connection = 0; stream.length < total; connection++) {
        // Every other connection replaces the one before it by its device.
        const reader = await world.connect('reader', { who: connection % 4 < 2 ? { device: 'd' } : {} })
        const before = stream.length
        lead = connection % 2 ? 300 : 60 // so that some cuts fall into the replay, others into live messages
        let head = 0
        const take = m => { // the whole of a client's logic for one room
          if (m.seq <= last) assert.fail(`connection ${connection}: seq ${m.seq} came again, ${last} was the last`)
          last = m.seq
          if (m.seq <= head) missed++
          stream.push(m)
          progress()
        }
        const joined = reader.join(room, last)
        let i = 0
        const until = Math.min(at[connection] ?? total, total)
        await reader.until(() => {
          for (; i < reader.frames.length && stream.length < until; i++) {
            const f = reader.frames[i]
            if (f.type === 'joined') {
              head = f.head
              assert.equal(f.truncated, false, 'the senders wait for the reader, so no more than 500 can be missed')
            }
            if (f.type === 'message') take(f)
          }
          return stream.length >= until
        }, `message ${until} on connection ${connection}, which started at ${before}`, { timeout: 30_000 })
        await joined
        reader.cut()
        resumed = connection
      }
    })()

    const publish = async (sender, share) => {
      const window = []
      for (let i = 0; i < share; i++) {
        while (sent - stream.length > lead) await new Promise(resolve => { progress = chain(progress, resolve) })
        sent++
        window.push(sender.publish(room, i))
        if (window.length >= 40) await window.shift()
      }
      await Promise.all(window)
    }
    let sent = 0
    await Promise.all([publish(ann, total / 2), publish(ben, total / 2), read])

    assert.equal(resumed, cuts)
    assert.ok(missed > 100, `only ${missed} messages were replayed: the cuts test nothing`)
    isStream(stream)
    await witness.until(() => witness.messages(room).length >= total, 'all messages at the witness')
    assert.deepEqual(stream.map(m => m.id), witness.messages(room).map(m => m.id))
    for (const sender of ['ann', 'ben']) {
      assert.deepEqual(stream.filter(m => m.sender === sender).map(m => m.body), [...Array(total / 2).keys()])
    }
    assert.ok(missed < total - 200, `only ${total - missed} messages came live: the cuts test little`)
    t.diagnostic(`seed ${seed}: ${missed} of ${total} messages were replayed`)
  })

  test('a sender cut 10 times resends what is unacked: each message once, in order', async t => {
    const total = 600
    const random = seeded(7)
    const world = new World(t)
    const [witness] = await world.all(['witness'], room)
    const outbox = Array.from({ length: total }, (_, i) => ({ type: 'publish', id: uuid7(), room, body: i }))
    let acked = 0 // the outbox is acked up to here
    let duplicates = 0
    const seqs = []
    for (let connection = 0; acked < total; connection++) {
      const sender = await world.connect('sender')
      await sender.join(room)
      const first = acked
      let next = acked
      const stopAt = connection < 10 ? acked + 10 + Math.floor(random() * 80) : total
      const sendSome = () => {
        for (; next < Math.min(total, acked + 40); next++) sender.send(connection > 0 && next < first + 40 ? { ...outbox[next], retry: true } : outbox[next])
      }
      sendSome()
      while (acked < Math.min(stopAt, total)) {
        const ack = await sender.answered(outbox[acked].id)
        if (ack.duplicate) duplicates++
        seqs.push(ack.seq)
        acked++
        sendSome()
      }
      sender.cut()
    }
    await witness.until(() => witness.messages(room).length >= total, 'all messages at the witness')
    const marker = (await world.all(['marker'], room))[0]
    await witness.message(room, (await marker.publish(room, 'end')).id)
    const got = witness.messages(room).slice(0, -1)
    isStream(got)
    assert.deepEqual(got.map(m => m.body), [...Array(total).keys()])
    assert.deepEqual(got.map(m => m.seq), seqs, 'every ack told the seq that members saw')
    assert.ok(duplicates > 0, 'no resend was a duplicate: the cuts test nothing')
  })

  test('more than 500 missed: the newest 500, truncated, and history completes', async t => {
    const world = new World(t)
    const [alice, bob] = await world.all(['alice', 'bob'], room)
    const start = await alice.publish(room, 'start')
    await bob.message(room, start.id)
    bob.cut()
    const acks = await Promise.all(Array.from({ length: 730 }, (_, i) => alice.publish(room, i)))

    const back = await world.connect('bob')
    const joined = await back.join(room, start.seq)
    assert.deepEqual([joined.truncated, joined.head], [true, acks.at(-1).seq])
    await back.reached(room, joined.head)
    const replay = back.messages(room)
    assert.deepEqual(replay.map(m => m.seq), acks.slice(-500).map(a => a.seq))

    const filled = []
    for (let after = start.seq; ;) {
      const page = await back.history(room, { after, limit: 200 })
      const older = page.messages.filter(m => m.seq < replay[0].seq)
      filled.push(...older)
      if (older.length < page.messages.length || !page.more) break
      after = page.messages.at(-1).seq
    }
    assert.deepEqual([...filled, ...replay].map(m => m.body), [...Array(730).keys()])

    const exact = await world.connect('bob')
    const all = await exact.join(room, acks[229].seq)
    await exact.reached(room, all.head)
    assert.equal(all.truncated, false, 'exactly 500 are not too many')
    assert.equal(exact.messages(room).length, 500)
  })
})

function chain (f, g) { return () => { f(); g() } }
