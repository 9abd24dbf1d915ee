// A clock that stands still until it is told to go on, and a server whose every frame the test says.
import { createClient } from '../dist/gohub.js'

/** Lets everything happen that waits for no time. */
export const settle = async () => { for (let i = 0; i < 5; i++) await new Promise(setImmediate) }

export class FakeClock {
  time = 1_763_779_200_000
  timers = new Map()
  #next = 1

  now = () => this.time
  setTimeout = (run, ms) => {
    this.timers.set(this.#next, { run, at: this.time + ms })
    return this.#next++
  }

  clearTimeout = id => { this.timers.delete(id) }

  /** Goes on by ms, firing what is due on the way at its time. */
  async pass (ms) {
    const end = this.time + ms
    await settle()
    for (;;) {
      const due = [...this.timers].filter(([, t]) => t.at <= end).sort(([, a], [, b]) => a.at - b.at)[0]
      if (!due) break
      this.timers.delete(due[0])
      this.time = Math.max(this.time, due[1].at)
      due[1].run()
      await settle()
    }
    this.time = end
    await settle()
  }

  /** Somebody sets the clock, by ms: timers fire when they would have. */
  set (ms) {
    this.time += ms
    for (const timer of this.timers.values()) timer.at += ms
  }

  /** Sleeps for ms: no timer fires in time, those due fire at the end. */
  async sleep (ms) {
    this.time += ms
    await this.pass(0)
  }
}

export class FakeSocket {
  sent = [] // frames, parsed; bytes as they are
  closed = false
  onmessage = null
  onclose = null
  onerror = null

  constructor (url, protocols, clock) {
    this.url = url
    this.protocols = protocols
    this.clock = clock
  }

  send (data) { this.sent.push(typeof data === 'string' ? JSON.parse(data) : data) }
  close () { this.closed = true }

  // What the server does:
  async say (...frames) {
    for (const f of frames) this.onmessage?.({ data: f instanceof ArrayBuffer ? f : JSON.stringify(f) })
    await settle()
  }

  async welcome (fields = {}) {
    await this.say({ type: 'welcome', version: 1, session: 's', user: 'alice', node: 'n1', ping_ms: 25_000, max_frame: 65_536, durable: true, time: this.clock.now(), ...fields })
  }

  async drop (code = 1006, reason = '') {
    this.onclose?.({ code, reason })
    await settle()
  }

  /** The frames of a type that were sent, and forgets them. */
  take (type) {
    const found = this.sent.filter(f => f.type === type)
    this.sent = this.sent.filter(f => f.type !== type)
    return found
  }

  /** Answers the last request of that type. */
  async answer (type, fields) {
    const { ref, room } = this.sent.findLast(f => f.type === type)
    await this.say({ ref, room, ...fields })
  }

  async joined (fields = {}) { await this.answer('join', { type: 'joined', head: 0, truncated: false, members: 1, ...fields }) }
}

/**
 * A client in a world of its own: clock, sockets (newest last), the states it was in, and what negotiate
 * answers (answers, one a request; none left: no answer).
 */
export function world (options = {}) {
  const clock = new FakeClock()
  const sockets = []
  const asked = []
  const answers = []
  const states = []
  const client = createClient({
    url: 'wss://hub.test/ws',
    WebSocket: class extends FakeSocket { constructor (...args) { super(...args, clock); sockets.push(this) } },
    fetch: async (url, init) => {
      asked.push({ url, ...init })
      const next = answers.shift()
      if (!next) throw new TypeError('fetch failed')
      if (next === 'silence') return new Promise((resolve, reject) => init.signal.addEventListener('abort', () => reject(init.signal.reason)))
      const { status = 200, headers = {}, ...body } = next
      return new Response(JSON.stringify(body), { status, headers })
    },
    clock,
    random: () => 0.5,
    ...options
  })
  client.on('state', s => states.push(s))
  const w = {
    client, clock, sockets, asked, answers, states,
    get socket () { return sockets.at(-1) },
    names: () => states.map(s => s.name),
    async connect (fields) {
      client.connect()
      await settle()
      await w.socket.welcome(fields)
      return w.socket
    },
    /** Connects with a room joined, whose messages are kept. */
    async inRoom (name = 'lobby', fields) {
      const room = client.room(name)
      const got = []
      room.on('message', m => got.push(m))
      room.join()
      await settle()
      await w.socket.welcome()
      await w.socket.joined(fields)
      await w.socket.answer('rooms', { type: 'rooms', rooms: [] })
      w.socket.sent = []
      return { room, got, socket: w.socket }
    }
  }
  return w
}

export const message = (seq, fields = {}) =>
  ({ type: 'message', id: `id-${seq}`, room: 'lobby', seq, sender: 'bob', kind: 'chat', body: seq, ...fields })
