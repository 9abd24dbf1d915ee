// A small client of gohub.v1, written from docs/protocol.md alone. It keeps
// everything it received, so that a test can ask afterwards what was and, more
// important, what was not said to it.
import { randomBytes } from 'node:crypto'
import WebSocket from 'ws'
import { check } from './schema.mjs'

export const patience = 10_000 // ms: no single answer may take longer

/** A UUID of version 7 (RFC 9562): 48 bits of Unix ms, the rest random. */
export function uuid7 (now = Date.now()) {
  const b = randomBytes(16)
  b.writeUIntBE(now, 0, 6)
  b[6] = 0x70 | (b[6] & 0x0f)
  b[8] = 0x80 | (b[8] & 0x3f)
  const h = b.toString('hex')
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`
}

/** Header and body as one binary frame. */
export function packBinary (header, body) {
  const json = Buffer.isBuffer(header) ? header : Buffer.from(JSON.stringify(header))
  const prefix = Buffer.alloc(3)
  prefix.writeUInt8(1, 0)
  prefix.writeUInt16BE(json.length, 1)
  return Buffer.concat([prefix, json, body])
}

/** A binary frame as a message whose body is a Buffer. */
export function unpackBinary (data) {
  if (data.length < 3 || data[0] !== 1) throw new Error(`binary frame with prefix ${data.subarray(0, 3).toString('hex')}`)
  const end = 3 + data.readUInt16BE(1)
  if (end > data.length) throw new Error('binary frame shorter than its header')
  return { ...JSON.parse(data.subarray(3, end).toString()), binary: true, body: data.subarray(end) }
}

/** An error frame, as an exception: requests throw it. */
export class Refused extends Error {
  constructor (frame) {
    super(`${frame.code}: ${frame.message}`)
    this.frame = frame
    this.code = frame.code
  }
}

export class Client {
  frames = [] // all that came, in order
  rooms = new Map() // room → its message frames, in order
  last = new Map() // room → highest seq of the stream
  closed = null // {code, reason} once the connection has ended
  welcome = null

  #waiting = new Set()
  #ref = 0

  /**
   * Connects and waits for welcome. who is {user, device?, tenant?, name?},
   * what the test server takes for a login; null leaves the login out.
   */
  static async connect (base, who, { query = {}, protocols = ['gohub.v1'], welcome = true, ...options } = {}) {
    const url = new URL(base)
    for (const [key, value] of Object.entries({ ...who, ...query })) url.searchParams.set(key, value)
    const client = new Client(new WebSocket(url, protocols, { perMessageDeflate: false, maxPayload: 4 << 20, ...options }), who?.user ?? '(nobody)')
    await client.#opened
    if (welcome) client.welcome = await client.wait(f => f.type === 'welcome', 'welcome')
    return client
  }

  #opened
  constructor (ws, label) {
    this.ws = ws
    this.label = label
    this.#opened = new Promise((resolve, reject) => {
      ws.once('open', resolve)
      ws.once('unexpected-response', (req, res) => {
        const chunks = []
        res.on('data', c => chunks.push(c))
        res.on('end', () => {
          const body = Buffer.concat(chunks).toString()
          reject(Object.assign(new Error(`${label}: handshake refused with ${res.statusCode} ${body}`), { status: res.statusCode, headers: res.headers, body }))
          ws.terminate()
        })
      })
      ws.on('error', reject)
    })
    ws.on('message', (data, isBinary) => this.#take(isBinary ? unpackBinary(data) : JSON.parse(data.toString())))
    ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#check()
    })
  }

  #take (frame) {
    this.frames.push(frame)
    check(frame)
    if (frame.type === 'message') {
      if (!this.rooms.has(frame.room)) this.rooms.set(frame.room, [])
      this.rooms.get(frame.room).push(frame)
      this.last.set(frame.room, Math.max(frame.seq, this.last.get(frame.room) ?? 0))
    }
    this.#check()
  }

  #check () {
    for (const w of this.#waiting) w()
  }

  /** Where the log stands: only frames from here on count for wait({from}). */
  mark () { return this.frames.length }

  /**
   * The first frame that satisfies is, of those already here (from index from
   * on) and those to come. Rejects, naming what was awaited, after timeout ms
   * or when the connection closes first.
   */
  wait (is, what, { from = 0, timeout = patience } = {}) {
    return this.#until(() => {
      for (; from < this.frames.length; from++) if (is(this.frames[from])) return this.frames[from]
    }, what, timeout)
  }

  /** Waits for a condition that holds after some frame. */
  until (cond, what, { timeout = patience } = {}) {
    return this.#until(() => cond() ? true : undefined, what, timeout)
  }

  /** The close event: {code, reason}. */
  gone ({ timeout = patience } = {}) {
    return this.#until(() => this.closed ?? undefined, 'the connection to close', timeout, true)
  }

  #until (probe, what, timeout, closeIsFine = false) {
    const stack = new Error()
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        settle(value)
      }
      const fail = why => {
        stack.message = `${this.label}: ${why} while waiting for ${what}; the last frames were\n` +
          this.frames.slice(-8).map(f => '  ' + brief(f)).join('\n')
        done(reject, stack)
      }
      const look = () => {
        let found
        try { found = probe() } catch (err) { return done(reject, err) }
        if (found !== undefined) done(resolve, found)
        else if (this.closed && !closeIsFine) fail(`connection closed (${this.closed.code} ${this.closed.reason})`)
      }
      const timer = setTimeout(() => fail(`${timeout} ms passed`), timeout)
      this.#waiting.add(look)
      look()
    })
  }

  send (frame) { this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame)) }
  sendBinary (header, body) { this.ws.send(packBinary(header, body), { binary: true }) }

  /** Sends a request under a ref of its own and returns its answer, which must be of that type. */
  async request (frame, answer, options) {
    const ref = `r${++this.#ref}`
    this.send({ ref, ...frame })
    const got = await this.wait(f => f.ref === (frame.ref ?? ref) && f.type !== 'message', `the answer to ${JSON.stringify(frame)}`, options)
    if (got.type === 'error') throw new Refused(got)
    if (got.type !== answer) throw new Error(`${this.label}: ${brief(got)} in answer to ${frame.type}`)
    return got
  }

  join (room, since) { return this.request({ type: 'join', room, since }, 'joined') }
  leave (room) { return this.request({ type: 'leave', room }, 'left') }
  history (room, bounds) { return this.request({ type: 'history', room, ...bounds }, 'history') }
  presence (room, cursor) { return this.request({ type: 'presence', room, cursor }, 'presence') }
  call (name, body) { return this.request({ type: 'call', name, body }, 'result') }
  ping () { return this.request({ type: 'ping' }, 'pong') }
  async listRooms () { return (await this.request({ type: 'rooms' }, 'rooms')).rooms }
  async listed (room) { return (await this.listRooms()).find(r => r.room === room) }

  /** Publishes and returns the ack; an error with that id is thrown. */
  publish (room, body, extra = {}) {
    const id = extra.id ?? uuid7()
    const from = this.mark()
    this.send({ type: 'publish', id, room, body, ...extra })
    return this.answered(id, from)
  }

  publishBinary (room, body, extra = {}) {
    const id = extra.id ?? uuid7()
    const from = this.mark()
    this.sendBinary({ type: 'publish', id, room, ...extra }, body)
    return this.answered(id, from)
  }

  async answered (id, from = 0) {
    const got = await this.wait(f => (f.type === 'ack' || f.type === 'error') && f.id === id, `the ack of ${id}`, { from })
    if (got.type === 'error') throw new Refused(got)
    return got
  }

  typing (room, active = true) { this.send({ type: 'typing', room, active }) }
  receipt (room, marks) { this.send({ type: 'receipt', room, ...marks }) }

  /** The message frames of a room so far. */
  messages (room) { return this.rooms.get(room) ?? [] }

  /** Waits until the message with that id has come. */
  message (room, id, options) {
    return this.wait(f => f.type === 'message' && f.room === room && f.id === id, `message ${id} in ${room}`, options)
  }

  /** Waits until the stream of the room has reached seq. */
  reached (room, seq) {
    return this.until(() => (this.last.get(room) ?? 0) >= seq, `seq ${seq} in ${room}`)
  }

  /** Closes in an orderly way and waits for it. */
  async close () {
    this.ws.close(1000)
    await this.gone()
  }

  /** Cuts the TCP connection without a word. */
  cut () { this.ws.terminate() }
}

function brief (frame) {
  const text = JSON.stringify(frame)
  return text.length > 300 ? text.slice(0, 300) + '…' : text
}
