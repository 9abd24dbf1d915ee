// What a client can do, against a real hub and without trouble on the way.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { createClient } from '../dist/gohub.js'
import { freePort } from './port.mjs'
import { sockets, startServer } from './server.mjs'

let server
before(async () => { server = await startServer() })
after(() => server.stop())

let tenants = 0

/** Clients of one tenant, by name. */
function users (t, ...names) {
  const tenant = `f${++tenants}`
  return names.map(name => user(t, server, `user=${name}&tenant=${tenant}`))
}

function user (t, server, query, options = {}) {
  const { Socket, end } = sockets()
  const client = createClient({ url: `ws://127.0.0.1:${server.port}/ws?${query}`, WebSocket: Socket, ...options })
  t.after(() => {
    client.close()
    end()
  })
  return client
}

/** The next event of that name, of which is holds. */
const next = (emitter, name, is = () => true) => new Promise(resolve => {
  const off = emitter.on(name, event => {
    if (!is(event)) return
    off()
    resolve(event)
  })
})

test('rooms: messages in JSON and bytes, members, presence, typing, receipts, history', { timeout: 20_000 }, async t => {
  const [alice, bob] = users(t, 'alice', 'bob')
  const [ours, theirs] = [alice, bob].map(c => c.room('lobby'))
  await ours.join()
  const came = next(ours, 'members', m => m.joined.includes('bob'))
  assert.deepEqual(await theirs.join(), { head: 0, members: 2 })
  assert.equal((await came).count, 2)
  assert.deepEqual((await theirs.presence()).users.map(u => u.user).sort(), ['alice', 'bob'])

  const typing = next(theirs, 'typing')
  ours.typing()
  assert.deepEqual(await typing, ['alice'])

  const messages = theirs.messages()
  const { seq } = await ours.send({ text: 'hi' }, { kind: 'note' }).sent
  const bytes = new Uint8Array([0, 255, 7])
  await ours.send(bytes, { to: 'bob' }).sent
  const [first, second] = [(await messages.next()).value, (await messages.next()).value]
  assert.deepEqual([first.seq, first.sender, first.kind, first.body], [seq, 'alice', 'note', { text: 'hi' }])
  assert.deepEqual([second.to, second.body], ['bob', bytes])
  assert.equal(theirs.unread, 2)

  const read = next(ours, 'receipt', r => r.seen === second.seq)
  theirs.seen()
  assert.equal((await read).user, 'bob')

  const page = await theirs.history({ limit: 1 })
  assert.deepEqual([page.messages[0].body, page.more], [bytes, true])
  const pages = []
  for await (const { messages } of theirs.pages({ after: 0, limit: 1 })) pages.push(...messages.map(m => m.seq))
  assert.deepEqual(pages, [first.seq, second.seq])
  assert.deepEqual((await bob.rooms()).map(r => [r.room, r.unread]), [['lobby', 0]])
  await theirs.leave()
  assert.deepEqual(await bob.rooms(), [])
})

test('direct rooms: an invite, and the room begins with the message it is about', { timeout: 20_000 }, async t => {
  const [alice, bob] = users(t, 'alice', 'bob')
  await bob.connect()
  const invited = next(bob, 'invite')
  const room = await alice.direct('bob')
  await room.join()
  await room.send('psst').sent
  const { room: theirs, from } = await invited
  assert.deepEqual([theirs.name, from], ['@alice,bob', 'alice'])
  assert.equal((await theirs.messages().next()).value.body, 'psst')
  const carol = user(t, server, `user=carol&tenant=f${tenants}`)
  await assert.rejects(carol.room('@alice,bob').send('let me in').sent, { code: 'forbidden' })
})

test('an error for a receipt brings its ref back', { timeout: 20_000 }, async t => {
  const { Socket, end } = sockets()
  t.after(end)
  const socket = new Socket(`ws://127.0.0.1:${server.port}/ws?user=alice&tenant=receipt`, ['gohub.v1'])
  await once(socket, 'message') // welcome
  socket.send('{"type":"receipt","ref":"mine","room":"elsewhere","seen":1}')
  const { type, ref, code } = JSON.parse((await once(socket, 'message'))[0])
  assert.deepEqual([type, ref, code], ['error', 'mine', 'not_joined'])
})

test('calls, their errors, and what is too large', { timeout: 20_000 }, async t => {
  const [alice] = users(t, 'alice')
  assert.deepEqual(await alice.call('echo', { say: 'hi' }), { said: 'hi', user: 'alice' })
  await assert.rejects(alice.call('echo', {}), { name: 'GohubError', code: 'forbidden' })
  await assert.rejects(alice.call('nothing'), { code: 'not_found' })
  await assert.rejects(alice.room('lobby').send('x'.repeat(65_000)).sent, { code: 'too_large' })
  await assert.rejects(alice.room('lobby').send('x'.repeat(70_000)).sent, { code: 'too_large' })
  assert.equal((await alice.room('lobby').send('x').sent).room, 'lobby')
})

test('a token comes by negotiate, and is refreshed without a reconnect', { timeout: 20_000 }, async t => {
  const asked = []
  const alice = user(t, server, 'user=alice&tenant=token&ttl_ms=3600000', {
    clock: { now: Date.now, setTimeout: (run, ms) => setTimeout(run, ms > 60_000 ? 50 : ms), clearTimeout }, // what is to be in an hour is now
    token: renew => {
      asked.push(renew)
      return { expires: Date.now() + 3_600_000 }
    }
  })
  const states = []
  alice.on('state', s => states.push(s.name))
  await alice.connect()
  const { session } = alice.welcome
  while (asked.length < 3) await alice.call('echo', { say: 'still here' })
  assert.deepEqual([asked.slice(0, 3), states, alice.welcome.session], [[false, true, true], ['connecting', 'connected'], session])
})

test('what is expired is renewed: 4001, and back', { timeout: 20_000 }, async t => {
  const told = [] // states, and whether a token was asked for to renew the last
  const alice = user(t, server, 'user=alice&tenant=expired&ttl_ms=300', { token: renew => { told.push(renew) } })
  let times = 0
  alice.on('state', s => told.push(s.name))
  const twice = next(alice, 'state', s => s.name === 'connected' && ++times === 2)
  alice.connect()
  await twice
  // On a busy machine a handshake may take longer than the login lasts, before and after.
  const first = told.indexOf('connected')
  assert.deepEqual([...new Set(told.slice(0, first).filter(x => typeof x === 'boolean'))], [false], `${told}`)
  assert.equal(told.slice(first).find(x => typeof x === 'boolean'), true, `${told}`)
})

test('refused: why is told, not that the handshake failed', { timeout: 20_000 }, async t => {
  const nobody = user(t, server, 'tenant=x')
  await assert.rejects(nobody.connect(), { code: 'closed', message: 'no user in the query' })
  assert.equal(nobody.state.code, 4501)
})

test('the same device again: the first one stays away', { timeout: 20_000 }, async t => {
  const first = user(t, server, 'user=alice&tenant=device', { device: 'phone' })
  await first.connect()
  const closed = next(first, 'state')
  const second = user(t, server, 'user=alice&tenant=device', { device: 'phone' })
  await second.connect()
  const { name, code } = await closed
  assert.deepEqual([name, code], ['closed', 4500])
  assert.equal(second.state.name, 'connected')
})

test('a server that drains is left for another one without a pause', { timeout: 60_000 }, async t => {
  const [one, two] = await Promise.all([startServer('-drain', '20s'), startServer()]) // time enough also for a client that is held up
  let target = one // of new connections
  const router = createServer(near => {
    const far = connect(target.port, '127.0.0.1')
    for (const [from, to] of [[near, far], [far, near]]) from.on('error', () => {}).on('close', () => to.destroy()).pipe(to)
  }).listen(0, '127.0.0.1')
  await once(router, 'listening')
  const alice = user(t, { port: router.address().port }, 'user=alice')
  t.after(async () => {
    alice.close()
    router.close()
    await Promise.all([one.stop(), two.stop()])
  })
  const room = alice.room('lobby')
  const got = []
  room.on('message', m => got.push(m.body))
  await room.join()
  const { session } = alice.welcome
  const states = []
  alice.on('state', s => states.push(s.name))
  const moved = next(alice, 'state')
  target = two
  one.kill('SIGTERM')
  const sent = []
  for (let over = false; !over;) {
    sent.push(room.send(sent.length).sent)
    over = await Promise.race([moved, new Promise(resolve => setTimeout(resolve, 5))])
  }
  while (sent.length % 10) sent.push(room.send(sent.length).sent)
  await Promise.all(sent)
  assert.deepEqual(states, ['connected'], 'never anything else')
  const last = next(room, 'message', m => m.body === 'last')
  room.send('last')
  await last
  // The two know nothing of each other: what only the first one had, when the room was joined at the second, is not here.
  assert.equal(got.pop(), 'last')
  assert.deepEqual(got, [...new Set(got)].sort((a, b) => a - b))
  assert.notEqual(alice.welcome.session, session)
})

test('a server that stops says when to come back, and what is sent meanwhile goes to the next one', { timeout: 60_000 }, async t => {
  const address = `127.0.0.1:${await freePort()}`
  const own = await startServer('-addr', address)
  t.after(() => own.stop())
  const alice = user(t, own, 'user=alice')
  const room = alice.room('lobby')
  await room.join()
  const waiting = next(alice, 'state', s => s.name === 'waiting')
  const start = Date.now()
  own.kill('SIGTERM')
  const { code, retryAt } = await waiting
  assert.ok([1012, 1006].includes(code), `${code}`) // 1006: it was trying when it was closed
  assert.ok(retryAt >= start, `${retryAt - start} ms`)
  const sending = room.send('meanwhile')
  await own.exit
  const again = await startServer('-addr', address)
  t.after(() => again.stop())
  await sending.sent
  assert.equal(alice.state.name, 'connected')
})
