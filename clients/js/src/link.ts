import type { Clock } from './clock.js'
import { deferred, type Deferred } from './deferred.js'
import { GohubError } from './errors.js'
import { pack, unpack, type Frame } from './wire.js'

/** What the client uses of a WebSocket; the browser's, Node's and ws's all have it. */
export interface WebSocketLike {
  binaryType: string
  readyState?: number
  onmessage: ((event: any) => void) | null
  onclose: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
  send(data: string | Uint8Array<ArrayBuffer>): void
  close(code?: number): void
}

/** What the server says of a connection, first of all. */
export interface Welcome {
  session: string
  user: string
  node: string
  ping_ms: number
  max_frame: number
  durable: boolean
  time: number
}

/** Whom a link tells. Nothing is told any more after down. */
export interface LinkOwner {
  _up(link: Link): void
  _frame(link: Link, frame: Frame): void
  _down(link: Link, code: number, reason: string): void
}

const HANDSHAKE = 15_000 // ms from the start to welcome
const PONG = 10_000 // ms from a ping to any frame
const LATE = 2_000 // ms; a timer that comes later has slept, and so may frames have

/** One WebSocket, from its handshake to its end, and the requests under way on it. */
export interface Link {
  welcome?: Welcome
  _alive: boolean
  /** Whether nothing waits for an answer here. */
  _quiet(): boolean
  /** Sends a frame; throws too_large. */
  send(frame: Frame): void
  /** Sends a frame under a ref of its own, and gives the answer. */
  _request(frame: Frame): Promise<Frame>
  /** Finds out within patience (ms) whether anybody is still there. */
  _probe(patience: number): void
  /** Ends the link. The owner hears of it at once; the socket has no say in it any more. */
  end(code?: number, reason?: string): void
}

export function openLink(socket: WebSocketLike, clock: Clock, owner: LinkOwner): Link {
  const pending = new Map<number, Deferred<Frame>>()
  let ref = 0
  let since = clock.now() // when the last frame came, or was asked for
  let asked = true // whether it is waited for
  let patience = HANDSHAKE // ms that it may take
  let again = false // it is asked a second time, because the timer came late
  let timer: unknown

  const link: Link = {
    _alive: true,
    _quiet: () => !pending.size,

    send(frame) {
      const data = pack(frame)
      const { length } = typeof data === 'string' ? new TextEncoder().encode(data) : data
      if (length > link.welcome!.max_frame) throw new GohubError('too_large')
      if (!(socket.readyState! > 1)) socket.send(data) // what follows the server's Close, of which it tells later, a browser complains of
    },

    async _request(frame) {
      if (!link._alive) throw new GohubError('disconnected')
      link.send({ ref: ++ref, ...frame })
      const answer = deferred<Frame>()
      pending.set(ref, answer)
      return answer.promise
    },

    _probe(ms) {
      if (!asked) ask()
      patience = Math.min(patience, ms)
      watch()
    },

    end(code = 1000, reason = '') {
      if (!link._alive) return
      link._alive = false
      clock.clearTimeout(timer)
      socket.close(1000)
      for (const { reject } of pending.values()) reject(new GohubError('disconnected'))
      owner._down(link, code, reason)
    }
  }

  function take(data: string | ArrayBuffer): void {
    if (!link._alive) return // a late frame of a socket that was given up
    let frame
    try {
      frame = unpack(data)
    } catch {
      return // of a later protocol
    }
    if (frame.type === 'welcome') link.welcome = frame as unknown as Welcome
    if (!link.welcome) return
    since = clock.now()
    asked = false
    if (frame.type === 'welcome') {
      watch()
      return owner._up(link)
    }
    const waiting = pending.get(frame.ref)
    pending.delete(frame.ref)
    owner._frame(link, frame) // at once: a promise would let the next frame pass
    if (frame.type === 'error') waiting?.reject(new GohubError(frame.code, frame.message, frame.retry_ms))
    else waiting?.resolve(frame)
  }

  function ask(): void {
    again = asked
    asked = true
    since = clock.now()
    patience = PONG
    link.send({ type: 'ping' })
  }

  const due = () => since + (asked ? patience : link.welcome!.ping_ms)

  // Wakes up when the silence has lasted long enough to ask, or the answer is due. The timer is not moved with each
  // frame: it looks how things are when it fires.
  function watch(): void {
    const planned = due()
    clock.clearTimeout(timer)
    timer = clock.setTimeout(() => {
      const now = clock.now()
      since = Math.min(since, now) // the clock may have been set back
      if (now >= due()) {
        if (asked && (!link.welcome || again || now < planned + LATE)) return link.end(1006, 'no answer')
        ask()
      }
      watch()
    }, planned - clock.now())
  }

  socket.binaryType = 'arraybuffer'
  socket.onmessage = event => take(event.data)
  socket.onclose = event => link.end(event.code, event.reason)
  socket.onerror = () => {} // close tells
  watch()
  return link
}
