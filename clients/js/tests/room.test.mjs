import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { message, settle, world } from './fake.mjs'

const seqs = got => got.map(m => m.seq)

/** Breaks the connection and brings the client back, up to the join. */
async function reconnect (w) {
  await w.socket.drop()
  await w.clock.pass(30_000)
  await w.socket.welcome()
}

describe('the stream', () => {
  test('it is resumed from the last message that came', async () => {
    const w = world()
    const { got, socket } = await w.inRoom('lobby', { head: 5 })
    await socket.say(message(4), message(5), { type: 'receipt', room: 'lobby', user: 'bob', delivered: 99, seen: 99 })
    await reconnect(w)
    assert.deepEqual(w.socket.take('join').map(f => [f.room, f.since]), [['lobby', 5]])
    assert.deepEqual(seqs(got), [4, 5])
  })

  test('each message once, whatever the server repeats', async () => {
    const w = world()
    const { room, got, socket } = await w.inRoom('lobby', { head: 5 })
    await socket.say(message(4), message(5), message(5), message(4), message(6), message(3))
    assert.deepEqual([seqs(got), room.last], [[4, 5, 6], 6])
  })

  test('a room that was empty is resumed from the start, and one whose messages did not come in time is not', async () => {
    for (const [head, since] of [[0, 0], [5, undefined]]) {
      const w = world()
      await w.inRoom('lobby', { head })
      await reconnect(w)
      assert.deepEqual(w.socket.take('join').map(f => f.since), [since])
    }
  })

  test('where nothing is replayed the stream begins with the join, and what a cut keeps back still comes', async () => {
    const w = world()
    const { room, got } = await w.inRoom('lobby', { head: 5 })
    await w.clock.pass(20_000)
    await reconnect(w)
    assert.deepEqual(w.socket.take('join').map(f => f.since), [5])
    await w.socket.say({ type: 'joined', ref: 1, room: 'lobby', head: 7, truncated: false, members: 1 })
    await w.socket.drop() // before what was missed has come
    await w.clock.pass(30_000)
    await w.socket.welcome()
    assert.deepEqual(w.socket.take('join').map(f => f.since), [5])
    await w.socket.say({ type: 'joined', ref: 1, room: 'lobby', head: 7, truncated: false, members: 1 }, message(6), message(7))
    assert.deepEqual([seqs(got), room.last], [[6, 7], 7])
  })

  test('since: 0 begins with the first message', async () => {
    const w = world()
    w.client.room('lobby').join({ since: 0 })
    await w.socket.welcome()
    assert.equal(w.socket.take('join')[0].since, 0)
  })

  test('one copy a sender and id: the newer says which it replaces', async () => {
    const w = world()
    const { got, socket } = await w.inRoom('lobby', { head: 5 })
    await socket.say(message(5, { id: 'x' }), message(6, { id: 'x', sender: 'carol' }), message(7, { id: 'x' }))
    assert.deepEqual(got.map(m => m.replaces), [undefined, undefined, 5])
  })

  test('a room is left by request once, and messages under way are not told', async () => {
    const w = world()
    const { room, got, socket } = await w.inRoom()
    const left = []
    room.on('left', err => left.push(err))
    const leaving = room.leave()
    await socket.say(message(5))
    await socket.answer('leave', { type: 'left' })
    await leaving
    await reconnect(w)
    assert.deepEqual([got, left, w.socket.take('join')], [[], [undefined], []])
  })

  test('that it is left is known to the server, or leave() rejects', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    await socket.drop()
    await assert.rejects(room.leave(), { code: 'disconnected' })
    await w.clock.pass(30_000)
    await w.socket.welcome()
    assert.deepEqual([room.joined, w.socket.take('join')], [false, []])
    const again = room.leave()
    await w.socket.answer('leave', { type: 'error', code: 'not_joined', message: '' })
    await assert.rejects(again, { code: 'not_joined' })
  })

  test('a room that is left before it is joined is not joined, and may be joined again', async () => {
    const w = world()
    const socket = await w.connect()
    const room = w.client.room('lobby')
    const told = []
    w.client.on('joined', () => told.push('joined'))
    room.on('message', m => told.push(m.seq))
    room.join()
    await settle()
    room.leave()
    await settle()
    assert.deepEqual(socket.sent.map(f => f.type), ['rooms', 'join', 'leave'])
    await socket.joined({ head: 4 })
    await socket.say(message(4))
    await socket.answer('leave', { type: 'left' })
    assert.deepEqual([room.joined, told], [false, []])
    room.join()
    await socket.joined({ head: 4 })
    await socket.say(message(4))
    assert.deepEqual(told, ['joined', 4])
  })

  test('the server takes a session out: it stays out', async () => {
    const w = world()
    const { room } = await w.inRoom()
    const left = []
    room.on('left', err => left.push(err))
    await w.socket.say({ type: 'left', room: 'lobby' })
    await reconnect(w)
    assert.deepEqual([room.joined, left, w.socket.take('join')], [false, [undefined], []])
  })

  test('the server makes a session join: it is told, and joined again later', async () => {
    const w = world()
    await w.connect()
    const told = []
    w.client.on('joined', room => {
      told.push(room.name)
      room.on('message', m => told.push(m.seq))
    })
    await w.socket.say({ type: 'joined', room: 'news', head: 3, truncated: false, members: 2 }, message(3, { room: 'news' }))
    assert.deepEqual(told, ['news', 3])
    await reconnect(w)
    assert.deepEqual(w.socket.take('join').map(f => [f.room, f.since]), [['news', 3]])
  })

  test('a room that the server makes us join goes on from where it was', async () => {
    const w = world()
    const { room, got, socket } = await w.inRoom('lobby', { head: 5 })
    await socket.say(message(5))
    const again = { type: 'joined', room: 'lobby', head: 99, truncated: false, members: 1 }
    await socket.say(again, message(5), message(6)) // it was in already
    await socket.say({ type: 'left', room: 'lobby' }, again, message(98), message(99))
    assert.deepEqual(socket.take('join').map(f => f.since), [6])
    await reconnect(w)
    await w.socket.say(again, message(98))
    assert.deepEqual(w.socket.sent.filter(f => f.type === 'join').map(f => f.since), [6])
    await w.socket.joined({ head: 99 })
    await w.socket.say(message(7), message(98))
    assert.deepEqual([seqs(got), room.joined], [[5, 6, 7, 98], true])
  })

  test('a join that is refused is final, with a reason', async () => {
    const w = world()
    const room = w.client.room('lobby')
    const joining = room.join()
    joining.catch(() => {})
    const iterating = room.messages().next()
    iterating.catch(() => {})
    await w.socket.welcome()
    await w.socket.answer('join', { type: 'error', code: 'forbidden', message: 'not yours' })
    await assert.rejects(joining, { code: 'forbidden', message: 'not yours' })
    await assert.rejects(iterating, { code: 'forbidden' })
    await reconnect(w)
    assert.equal(w.socket.take('join').length, 0)
  })

  test('a join that cannot be now is tried again when the server says', async () => {
    const w = world()
    const joining = w.client.room('lobby').join()
    await w.socket.welcome()
    await w.socket.answer('join', { type: 'error', code: 'unavailable', message: '', retry_ms: 700 })
    w.socket.take('join')
    w.client.room('lobby').send('x')
    await w.clock.pass(699)
    assert.equal(w.socket.take('join').length, 0)
    await w.clock.pass(1)
    await w.socket.joined({ head: 4, members: 3 })
    assert.deepEqual(await joining, { head: 4, members: 3 })
  })

  test('an aborted join is still wanted by the room', async () => {
    const w = world()
    const abort = new AbortController()
    const joining = w.client.room('lobby').join({ signal: abort.signal })
    abort.abort(new Error('enough'))
    await assert.rejects(joining, /enough/)
    await w.socket.welcome()
    assert.equal(w.socket.take('join').length, 1)
  })
})

describe('more was missed than is replayed', () => {
  const page = (from, to, more) => ({ type: 'history', messages: Array.from({ length: to - from + 1 }, (_, i) => ({ ...message(from + i), type: undefined })), more, watermarks: {} })
  const missed = async (options) => {
    const w = world(options)
    const { room, got } = await w.inRoom('lobby', { head: 10 })
    const gaps = []
    room.on('gap', gap => gaps.push(gap))
    await w.socket.say(message(10))
    await reconnect(w)
    await w.socket.joined({ head: 900, truncated: true })
    return { w, room, got, gaps }
  }

  test('it is fetched, and told in its place', async () => {
    const { w, room, got, gaps } = await missed()
    await w.socket.say(message(400), message(401))
    assert.deepEqual(w.socket.take('history').map(f => [f.after, f.limit]), [[10, 200]])
    await w.socket.say({ ...page(11, 210, true), ref: 3, room: 'lobby' })
    assert.deepEqual(w.socket.sent.findLast(f => f.type === 'history').after, 210)
    await w.socket.answer('history', page(211, 405, true))
    await w.socket.say(message(402), message(406))
    assert.deepEqual(seqs(got), Array.from({ length: 397 }, (_, i) => i + 10))
    assert.deepEqual([room.last, gaps], [406, []])
  })

  test('a page before the replay has begun is no end', async () => {
    const { w, got } = await missed()
    await w.socket.answer('history', page(11, 12, true))
    await w.socket.say(message(14))
    await w.socket.answer('history', page(13, 14, false))
    await w.socket.say(message(15))
    assert.deepEqual(seqs(got), [10, 11, 12, 13, 14, 15])
  })

  test('a connection that breaks meanwhile loses nothing', async () => {
    const { w, got } = await missed()
    await w.socket.say(message(400))
    await w.socket.answer('history', page(11, 20, true))
    await reconnect(w)
    assert.equal(w.socket.sent.findLast(f => f.type === 'join').since, 20)
    await w.socket.joined({ head: 400 })
    await w.socket.say(message(21), message(400))
    assert.deepEqual(seqs(got), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 400])
  })

  test('it is asked again when the server is busy', async () => {
    const { w, got } = await missed()
    await w.socket.answer('history', { type: 'error', code: 'unavailable', message: '', retry_ms: 50 })
    await w.clock.pass(50)
    assert.equal(w.socket.take('history').length, 2)
    await w.socket.say({ ...page(11, 12, false), ref: 4, room: 'lobby' })
    assert.deepEqual(seqs(got), [10, 11, 12])
  })

  test('beyond `fill` messages the gap is told instead', async () => {
    const { w, got, gaps } = await missed({ fill: 2 })
    await w.socket.say(message(400))
    await w.socket.answer('history', page(11, 12, true))
    assert.deepEqual([gaps, seqs(got)], [[{ after: 12, until: 400 }], [10, 11, 12, 400]])
  })
})

describe('for await', () => {
  test('each message once, in order, across connections, until the room is left', async () => {
    const w = world()
    const got = []
    const room = w.client.room('lobby')
    const loop = (async () => { for await (const m of room.messages({ since: 0 })) got.push(m.seq) })()
    await settle()
    await w.socket.welcome()
    await w.socket.joined({ head: 2 })
    await w.socket.say(message(1), message(2))
    await reconnect(w)
    assert.equal(w.socket.sent.find(f => f.type === 'join').since, 2)
    await w.socket.joined({ head: 3 })
    await w.socket.say(message(3))
    room.leave()
    await loop
    assert.deepEqual(got, [1, 2, 3])
  })

  test('break ends it, abort and close() too', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const broken = (async () => { for await (const m of room.messages()) { if (m.seq === 2) break } })()
    const abort = new AbortController()
    const aborted = (async () => { for await (const _ of room.messages({ signal: abort.signal })); })()
    const ended = (async () => { for await (const _ of room.messages()); })()
    await socket.say(message(1), message(2))
    await broken
    abort.abort(new Error('enough'))
    await assert.rejects(aborted, /enough/)
    await assert.rejects(room.messages({ signal: AbortSignal.abort(new Error('before')) }).next(), /before/)
    w.client.close()
    await ended
  })

  test('who asks for several at once gets them, in order, and the end', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const messages = room.messages()
    const asked = [messages.next(), messages.next(), messages.next()]
    await socket.say(message(1))
    await socket.say(message(2))
    room.leave()
    assert.deepEqual((await Promise.all(asked)).map(r => r.value?.seq), [1, 2, undefined])
  })

  test('a client that has to stay away ends it with an error', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const next = room.messages().next()
    next.catch(() => {})
    await socket.drop(4503, 'out')
    await assert.rejects(next, { code: 'closed', message: 'out' })
  })
})

describe('history and presence', () => {
  test('pages go backwards by themselves, bytes are bytes', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const pages = room.pages({ before: 100, limit: 2 })
    const first = pages.next()
    await settle()
    assert.deepEqual(socket.take('history').map(({ ref, ...f }) => f), [{ type: 'history', room: 'lobby', before: 100, limit: 2 }])
    const entry = (seq, more) => ({ ...message(seq), type: undefined, ...more })
    await socket.say({ type: 'history', ref: 3, room: 'lobby', messages: [entry(98), entry(99, { binary: true, body: '/wA=' })], more: true, watermarks: { bob: { delivered: 98, seen: 0 } } })
    const { value } = await first
    assert.deepEqual([value.messages.map(m => m.body), value.watermarks.bob.delivered, 'binary' in value.messages[1]], [[98, new Uint8Array([255, 0])], 98, false])
    const second = pages.next()
    await settle()
    assert.equal(socket.sent.at(-1).before, 98)
    await socket.answer('history', { type: 'history', messages: [entry(97)], more: false, watermarks: {} })
    await second
    assert.equal((await pages.next()).done, true)
  })

  test('a page is asked for again on the next connection, an error is told', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const asking = room.history({ after: 0 })
    await settle()
    assert.equal(socket.take('history').length, 1)
    await reconnect(w)
    assert.equal(w.socket.take('history').length, 0, 'not before the join')
    await w.socket.joined()
    await w.socket.answer('history', { type: 'history', messages: [], more: false, watermarks: {} })
    assert.deepEqual(await asking, { messages: [], more: false, watermarks: {} })
    const failing = room.history({ limit: 999 })
    failing.catch(() => {})
    await settle()
    await w.socket.answer('history', { type: 'error', code: 'bad_request', message: 'limit' })
    await assert.rejects(failing, { name: 'GohubError', code: 'bad_request', message: 'limit' })
  })

  test('presence is the whole list', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const asking = room.presence()
    await settle()
    await socket.answer('presence', { type: 'presence', count: 2, users: [{ user: 'a', name: 'A', sessions: 1 }], cursor: 'c' })
    assert.equal(socket.sent.at(-1).cursor, 'c')
    await socket.answer('presence', { type: 'presence', count: 2, users: [{ user: 'b', name: 'B', sessions: 1 }] })
    assert.deepEqual((await asking).users.map(u => u.user), ['a', 'b'])
  })

  test('members counts who is there', async () => {
    const w = world()
    const { room, socket } = await w.inRoom('lobby', { members: 3 })
    assert.equal(room.members, 3)
    const told = []
    room.on('members', m => told.push([m.joined, m.left, m.count]))
    await socket.say({ type: 'members', room: 'lobby', joined: ['carol'], left: [], count: 4 })
    assert.deepEqual([room.members, told], [4, [[['carol'], [], 4]]])
  })
})

describe('typing', () => {
  test('said at most every 3 s, and taken back once', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const said = () => socket.take('typing').map(f => f.active)
    room.typing()
    room.typing()
    await w.clock.pass(2_999)
    room.typing()
    assert.deepEqual(said(), [true])
    await w.clock.pass(1)
    room.typing()
    assert.deepEqual(said(), [true])
    room.typing(false)
    room.typing(false)
    assert.deepEqual(said(), [false])
    room.typing()
    room.send('x')
    assert.deepEqual(said(), [true, false])
  })

  test('others type until they say otherwise, write, or are silent for 10 s', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const told = []
    room.on('typing', users => told.push(users.join()))
    const type = (user, active = true) => socket.say({ type: 'typing', room: 'lobby', user, active })
    await type('bob')
    await type('carol')
    await type('bob')
    await type('carol', false)
    await socket.say(message(5))
    await type('bob')
    await w.clock.pass(9_999)
    assert.deepEqual(told, ['bob', 'bob,carol', 'bob', '', 'bob'])
    await w.clock.pass(1)
    assert.equal(told.at(-1), '')
    await type('dave')
    await socket.drop()
    assert.equal(told.at(-1), '')
  })
})

describe('receipts and unread', () => {
  test('gathered for half a second, never back, and said again on the next connection', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    await socket.say(message(5), message(6))
    room.delivered()
    room.seen(5)
    room.seen(4)
    await w.clock.pass(499)
    assert.equal(socket.take('receipt').length, 0)
    await w.clock.pass(1)
    assert.deepEqual(socket.take('receipt'), [{ type: 'receipt', ref: 'lobby', room: 'lobby', delivered: 6, seen: 5 }])
    room.seen(5)
    await w.clock.pass(5_000)
    assert.equal(socket.take('receipt').length, 0)
    await reconnect(w)
    await w.socket.joined()
    await w.clock.pass(500)
    assert.deepEqual(w.socket.take('receipt'), [{ type: 'receipt', ref: 'lobby', room: 'lobby', delivered: 6, seen: 5 }])
  })

  test('what is gathered goes before the room is left, and before the client is closed', async () => {
    for (const [end, said] of [[w => w.client.room('lobby').leave(), ['receipt', 'leave']], [w => w.client.close(), ['receipt']]]) {
      const w = world()
      const { room, socket } = await w.inRoom()
      room.seen(5)
      end(w)
      await w.clock.pass(5_000)
      assert.deepEqual(socket.sent.map(f => f.type), said)
    }
  })

  test('nobody says what another has read', async () => {
    const w = world()
    const room = w.client.room('lobby')
    room.seen(4) // before it is known as whom
    const { socket } = await w.inRoom()
    await w.clock.pass(500)
    assert.deepEqual(socket.take('receipt').map(f => f.seen), [4])
    await socket.drop()
    await w.clock.pass(30_000)
    await w.socket.welcome({ user: 'mallory' })
    await w.socket.joined()
    await w.clock.pass(5_000)
    assert.deepEqual(w.socket.take('receipt'), [])
    room.seen(3)
    await w.clock.pass(500)
    assert.deepEqual(w.socket.take('receipt').map(f => [f.seen, f.delivered]), [[3, undefined]])
  })

  test('one that is refused for now is said again, as it is by then', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const told = []
    w.client.on('error', err => told.push(err.code))
    const refuse = (code, retry_ms) => socket.say({ type: 'error', ref: 'lobby', code, message: '', retry_ms })
    const seen = () => socket.take('receipt').map(f => f.seen)
    room.seen(5)
    await w.clock.pass(500)
    assert.deepEqual(seen(), [5])
    await refuse('rate_limited', 700)
    room.seen(6)
    await w.clock.pass(1_199)
    assert.deepEqual([seen(), told], [[], []])
    await w.clock.pass(1)
    assert.deepEqual(seen(), [6])
    await refuse('not_joined')
    await w.clock.pass(5_000)
    assert.deepEqual([seen(), told], [[], ['not_joined']])
  })

  test("others' receipts are told", async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const told = []
    room.on('receipt', r => told.push([r.user, r.delivered, r.seen]))
    await socket.say({ type: 'receipt', room: 'lobby', user: 'bob', delivered: 9, seen: 8 })
    assert.deepEqual(told, [['bob', 9, 8]])
  })

  test('unread: what the server counted, and what others wrote since', async () => {
    const w = world()
    const room = w.client.room('lobby')
    const lists = []
    w.client.on('rooms', rooms => lists.push(rooms))
    room.join()
    await w.socket.welcome()
    await w.socket.joined({ head: 6 })
    const list = [{ room: 'lobby', head: 6, seen: 3, unread: 2 }, { room: 'other', head: 1, seen: 1, unread: 0 }]
    await w.socket.answer('rooms', { type: 'rooms', rooms: list })
    assert.deepEqual(lists, [list])
    await w.socket.say(message(5), message(6))
    assert.equal(room.unread, 2)
    await w.socket.say(message(7), message(8, { sender: 'alice' }))
    assert.equal(room.unread, 3)
    room.seen()
    assert.equal(room.unread, 0)
    await reconnect(w)
    await w.socket.joined({ head: 8 })
    await w.socket.answer('rooms', { type: 'rooms', rooms: [{ ...list[0], head: 8, unread: 3 }] })
    assert.equal(room.unread, 0, 'the server has not heard of it yet')
  })
})

describe('direct rooms', () => {
  test('they are named by both users, in the order of bytes', async () => {
    const w = world()
    const asking = w.client.direct('Zoe')
    await w.socket.welcome()
    assert.equal((await asking).name, '@Zoe,alice')
    assert.equal((await w.client.direct('bob')).name, '@alice,bob')
  })

  test('an invite is told, and its room begins with the message it is about', async () => {
    const w = world()
    await w.connect()
    const told = []
    w.client.on('invite', ({ room, from }) => {
      told.push([room.name, from])
      if (told.length === 1) room.join()
    })
    await w.socket.say({ type: 'invite', room: '@alice,bob', from: 'bob', seq: 41 })
    assert.deepEqual([told, w.socket.take('join').map(f => [f.room, f.since])], [[['@alice,bob', 'bob']], [['@alice,bob', 41]]])
    await w.socket.say({ type: 'invite', room: '@alice,bob', from: 'bob', seq: 42 })
    assert.equal(told.length, 1, 'it is on its way')
  })

  test('a message that a command takes to a direct room invites as well', async () => {
    const w = world()
    const { room, socket } = await w.inRoom()
    const sending = room.send('/msg bob psst')
    const told = []
    w.client.on('invite', ({ room, from }) => {
      told.push([room.name, from])
      room.join()
    })
    const copy = message(7, { id: sending.id, room: '@alice,bob', sender: 'alice', to: 'bob' })
    await socket.say({ type: 'ack', id: sending.id, room: '@alice,bob', seq: 7 }, copy)
    assert.equal((await sending.sent).room, '@alice,bob')
    assert.deepEqual([told, socket.take('join').map(f => f.since)], [[['@alice,bob', 'alice']], [6]])
    await socket.say(message(9, { room: '@alice,bob' }))
    assert.equal(told.length, 1)
  })

  test('a join that is on its way keeps its place', async () => {
    const w = world()
    const { socket } = await w.inRoom()
    const room = w.client.room('@alice,bob')
    const got = []
    room.on('message', m => got.push(m.seq))
    room.join()
    await settle()
    await socket.say(message(9, { room: '@alice,bob' }), { type: 'invite', room: '@alice,bob', from: 'bob', seq: 8 })
    await socket.joined({ head: 9 })
    await socket.say(...[3, 9].map(seq => message(seq, { room: '@alice,bob' })))
    assert.deepEqual(got, [3, 9])
  })
})

describe('calls', () => {
  test('the answer, an error, and a broken connection, which repeats nothing', async () => {
    const w = world()
    const socket = await w.connect()
    const asking = w.client.call('echo', { say: 'hi' })
    await settle()
    assert.deepEqual(socket.sent.at(-1).body, { say: 'hi' })
    await socket.answer('call', { type: 'result', body: { said: 'hi' } })
    assert.deepEqual(await asking, { said: 'hi' })
    const refused = w.client.call('nope')
    refused.catch(() => {})
    await settle()
    await socket.answer('call', { type: 'error', code: 'busy', message: 'later', retry_ms: 20 })
    await assert.rejects(refused, { code: 'busy', retryMs: 20 })
    const lost = w.client.call('echo')
    lost.catch(() => {})
    await settle()
    await reconnect(w)
    await assert.rejects(lost, { code: 'disconnected' })
    assert.equal(w.socket.take('call').length, 0)
    const waiting = w.client.rooms()
    await settle()
    await w.socket.answer('rooms', { type: 'rooms', rooms: [] })
    assert.deepEqual(await waiting, [])
  })

  test('an error that answers nothing is an event', async () => {
    const w = world()
    const socket = await w.connect()
    const told = []
    w.client.on('error', err => told.push(err.code))
    await socket.say({ type: 'error', code: 'rate_limited', message: '', retry_ms: 1 })
    assert.deepEqual(told, ['rate_limited'])
  })
})
