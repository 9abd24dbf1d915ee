import type { Clock } from './clock.js'
import { deferred, type Deferred } from './deferred.js'
import { GohubError } from './errors.js'
import type { Link } from './link.js'
import type { OutboxStorage, Stored } from './storage.js'
import { uuid7 } from './uuid.js'
import type { Frame } from './wire.js'

export interface SendOptions {
  /** Only this user and you ever see it. */
  to?: string
  /** What sort of message it is, for the receiving program; by default "chat". 1 to 32 of a-z 0-9 . _ - */
  kind?: string
}

export interface Sent {
  room: string
  seq: number
}

/**
 * `queued`: waits for its turn or a connection. `sending`: it may have arrived. `saved`: stored for good.
 * `failed`: refused for good, see error; retry() tries again. `cancelled`: taken back.
 */
export type Status = 'queued' | 'sending' | 'saved' | 'failed' | 'cancelled'

const older = (a: Outgoing, b: Outgoing) => a.id < b.id ? -1 : 1 // ids ascend with time

const LOADING = 2_000 // ms to wait for the storage, that older messages may go first
const FAILED = 100 // messages of a user that are kept although they were refused

/** What the outbox asks of a room. */
export interface OutboxRoom {
  /** Where the room is joined. If it is not wanted, now it is; but what was left comes back by somebody's wish alone. */
  _need(wish?: boolean): Link | undefined
  /** The server says that link is not in the room. */
  _rejoin(link: Link): void
  _changed(message: Outgoing): void
}

/** A message on its way. */
export interface Outgoing {
  readonly id: string
  readonly room: string
  readonly body: any
  readonly to?: string
  readonly kind?: string
  readonly status: Status
  /** Why it failed. */
  readonly error?: GohubError
  /**
   * Ends when the message is stored for good; rejects when it is refused or cancelled. After retry() there is a new one.
   * A client that is closed leaves it open: another page may send the message, or this one when it connects again.
   */
  readonly sent: Promise<Sent>
  /** Sends a failed message again, under the same id; joins the room if need be. */
  retry(): void
  /** Takes the message back, if it is `failed`, or `queued` and was never on its way; tells whether it did. */
  cancel(): boolean
}

interface OwnOutgoing extends Outgoing {
  status: Status
  error?: GohubError
  /** Whose it is; unknown before the first welcome. */
  _user?: string
  /** It may have been sent before. */
  _tried?: true
  _sent: Deferred<Sent>
}

// A room's messages, oldest first. One at a time is under way: behind one that is refused for now, others
// would be taken out of their order.
interface Lane {
  _queue: OwnOutgoing[]
  _sending?: OwnOutgoing
  _link?: Link // on which it is
  _paused?: unknown // timer
}

/** All that is unsent, of all rooms, here and in the storage. */
export interface Outbox {
  _add(room: string, body: unknown, options: SendOptions): Outgoing
  _of(room: string): Outgoing[]
  /** user has logged in: takes what no living page cares for, and what was written before it was known for whom. */
  _welcome(user: string): Promise<void>
  /** Sends the room's next message, if it is its turn. anew: a pause is over, as it is when the room is just joined. */
  _pump(room: string, anew?: boolean): void
  /** An ack, or an error that names a message. */
  _answer(link: Link, frame: Frame): void
  /** What is unanswered on link may have arrived or not: it is sent again elsewhere. */
  _down(link: Link): void
  /** Whether something is unanswered on link. */
  _uses(link: Link): boolean
  /** The room is not open to the user. */
  _refuse(room: string, err: GohubError): void
  /** The client is closed: other pages may care for what is kept. */
  _close(): void
}

export function createOutbox(
  storage: OutboxStorage | null, clock: Clock, user: string | undefined,
  roomOf: (name: string) => OutboxRoom, failed: (err: unknown) => void
): Outbox {
  const lanes = new Map<string, Lane>()
  const all = new Map<string, OwnOutgoing>()
  let loaded = false

  function ready(): void {
    loaded = true
    for (const room of lanes.keys()) outbox._pump(room)
  }

  const own = (room: string) => [...lanes.get(room)?._queue ?? []]

  // Puts a message in its place and on its way.
  function keep({ user, error, ...rest }: Stored, tried?: true): OwnOutgoing {
    const message: OwnOutgoing = {
      ...rest,
      status: error ? 'failed' : 'queued',
      error: error && new GohubError(error.code, error.message),
      _user: user,
      _tried: tried,
      _sent: deferred(),
      get sent() { return message._sent.promise },
      retry() {
        if (message.status !== 'failed') return
        message._sent = deferred()
        message.error = undefined
        put(message)
        change(message, 'queued')
        roomOf(message.room)._need(true)
        outbox._pump(message.room)
      },
      cancel() {
        if (message.status !== 'failed' && (message.status !== 'queued' || message._tried)) return false
        drop(message)
        refuse(message, 'cancelled', new GohubError('cancelled'))
        return true
      }
    }
    if (error) message._sent.reject(message.error)
    const lane = lanes.get(message.room) ?? { _queue: [] }
    lanes.set(message.room, lane)
    all.set(message.id, message)
    lane._queue.push(message)
    if (tried) lane._queue.sort(older)
    roomOf(message.room)._changed(message)
    return message
  }

  function drop(message: OwnOutgoing): void {
    const { _queue } = lanes.get(message.room)!
    _queue.splice(_queue.indexOf(message), 1)
    all.delete(message.id)
    forget(message)
  }

  function fail(message: OwnOutgoing, err: GohubError): void {
    const lane = lanes.get(message.room)!
    if (lane._sending === message) lane._sending = undefined
    refuse(message, 'failed', err)
    put(message)
    limit()
  }

  // The oldest of too many failed messages are taken back.
  function limit(): void {
    const refused = [...all.values()].filter(m => m.status === 'failed' && m._user === user)
    for (const message of refused.sort(older).slice(0, -FAILED)) message.cancel()
  }

  function refuse(message: OwnOutgoing, status: Status, err: GohubError): void {
    message._sent.reject(message.error = err)
    change(message, status)
  }

  function change(message: OwnOutgoing, status: Status): void {
    message.status = status
    roomOf(message.room)._changed(message)
  }

  function put({ id, room, body, to, kind, _user: user, error: err }: OwnOutgoing): void {
    const error = err && { code: err.code, message: err.message }
    // A listener may have taken it back while it was told of the message.
    if (user && all.has(id)) void keeping(() => storage?.put({ id, room, body, to, kind, user, error }))
  }

  function forget({ id }: Outgoing): void { void keeping(() => storage?.delete(id)) }

  // The storage fails when it likes, also before there is a promise.
  async function keeping(act: () => unknown): Promise<void> {
    try {
      await act()
    } catch (err) {
      failed(err)
    }
  }

  const outbox: Outbox = {
    _add(room, body, { to, kind }) {
      // A copy: what is sent again is what was sent, whatever becomes of the original.
      const copy = body instanceof ArrayBuffer ? new Uint8Array(body.slice(0))
        : ArrayBuffer.isView(body) ? new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice()
          : JSON.parse(JSON.stringify(body ?? null))
      const message = keep({ id: uuid7(clock.now()), room, body: copy, to, kind, user })
      put(message)
      outbox._pump(room)
      return message
    },

    _of: own,

    async _welcome(name) {
      user = name
      for (const message of all.values()) {
        if (message._user) continue
        message._user = user
        put(message)
      }
      const late = clock.setTimeout(ready, LOADING)
      await keeping(async () => {
        for (const stored of await storage?.adopt(name) ?? []) {
          if (!all.has(stored.id)) keep(stored, true)
        }
      })
      limit()
      clock.clearTimeout(late)
      ready()
    },

    _pump(room, anew) {
      const lane = lanes.get(room)
      if (!lane || !loaded) return
      if (anew) {
        clock.clearTimeout(lane._paused)
        lane._paused = undefined
      }
      if (lane._sending || lane._paused) return
      const message = lane._queue.find(m => m.status !== 'failed' && m._user === user)
      const link = message && roomOf(room)._need()
      if (!link) return
      try {
        link.send({ type: 'publish', id: message.id, room, to: message.to, kind: message.kind, retry: message._tried, body: message.body })
      } catch (err) {
        fail(message, err as GohubError)
        return outbox._pump(room)
      }
      lane._sending = message
      lane._link = link
      message._tried = true
      change(message, 'sending')
    },

    _answer(link, { type, id, room, seq, code, message: text, retry_ms }) {
      const message = all.get(id)
      if (!message) return
      const lane = lanes.get(message.room)!
      if (type === 'ack') {
        if (lane._sending === message) lane._sending = undefined
        drop(message)
        message._sent.resolve({ room, seq })
        change(message, 'saved')
      } else if (lane._sending !== message || lane._link !== link) {
        return // it is on its way elsewhere
      } else {
        lane._sending = undefined
        if (code === 'not_joined') roomOf(message.room)._rejoin(link)
        else if (retry_ms === undefined) fail(message, new GohubError(code, text))
        else lane._paused = clock.setTimeout(() => outbox._pump(message.room, true), retry_ms)
      }
      outbox._pump(message.room)
    },

    _down(link) {
      for (const [room, lane] of lanes) {
        if (lane._link !== link) continue
        lane._sending = lane._link = undefined
        outbox._pump(room)
      }
    },

    _uses: link => [...lanes.values()].some(lane => lane._sending && lane._link === link),

    _close() {
      if (!storage?.release) return
      storage.release()
      for (const message of all.values()) message._tried = true // they may send it
    },

    _refuse(room, err) {
      for (const message of own(room).filter(m => m._user === user)) {
        if (message.status !== 'failed') fail(message, err)
        forget(message) // no page would come to it again, to have it decided
      }
    }
  }
  return outbox
}
