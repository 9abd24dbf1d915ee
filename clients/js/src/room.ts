import { abortable } from './abort.js'
import type { Core } from './client.js'
import { deferred, unheard } from './deferred.js'
import { createEmitter, type Emitter } from './emitter.js'
import { GohubError } from './errors.js'
import type { Link } from './link.js'
import type { Outgoing, OutboxRoom, SendOptions } from './outbox.js'
import { createStream, type Stream } from './stream.js'
import { fromPage, type Frame } from './wire.js'

/** A message as the room has it. Its body is a Uint8Array if it was sent in bytes. */
export interface Message {
  id: string
  room: string
  /** Its place in the room's order; seq / 1000 is its time in Unix ms. */
  seq: number
  sender: string
  /** The one user beside the sender who sees it. */
  to?: string
  kind: string
  body: any
  /** An earlier copy, from before a crash of the server, that was told under this seq: show this one instead. */
  replaces?: number
}

export interface Joined {
  /** The newest seq that you may see; 0: none. */
  head: number
  /** Users in the room, you included. */
  members: number
}

export interface Watermark { delivered: number, seen: number }

export interface Page {
  /** Ascending by seq. */
  messages: Message[]
  /** Whether there is more in the direction that was asked. */
  more: boolean
  watermarks: Record<string, Watermark>
}

export interface Presence {
  /** Users in the room, each counted once. */
  count: number
  users: { user: string, name: string, sessions: number }[]
}

export interface JoinOptions {
  /** Where the stream begins, if it never did: after this seq; 0: with the first message. */
  since?: number
  signal?: AbortSignal
}

export interface HistoryOptions {
  /** The page ends before this seq. */
  before?: number
  /** The page starts after this seq; not together with before. */
  after?: number
  /** 1 to 200 messages, by default 50. */
  limit?: number
  signal?: AbortSignal
}

export interface RoomEvents {
  /** Each message once, in the room's order: replayed, live, and what was missed. */
  message: Message
  /** The session is in the room, again and again. */
  joined: Joined
  /** The room is left for good: you asked for it, the server did (no error), or it did not let you in. */
  left: GohubError | undefined
  /** More was missed than is fetched by itself: what lies between is to be had by history. */
  gap: { after: number, until: number }
  /** Who is typing now, yourself in other sessions included. */
  typing: string[]
  /** Who came and went; both lists are empty in rooms of more than 1,000. */
  members: { joined: string[], left: string[], count: number }
  /** Up to where a reader has got. */
  receipt: Watermark & { user: string }
  /** One of your messages has another status. */
  outgoing: Outgoing
}

const TYPING = 3_000 // ms between two "still typing"
const TYPED = 10_000 // ms without news until somebody is believed to have stopped
const RECEIPTS = 500 // ms for which watermarks are gathered
const COPIES = 1_000 // messages among which a second copy is recognised
const REPLAY = 10_000 // ms within which a replay begins, if there is one

/** A room: where its stream stands, and what may be done in it. */
export interface Room extends Emitter<RoomEvents> {
  readonly name: string
  /** Whether this session is in the room now. */
  readonly joined: boolean
  /** The highest seq of the stream so far. */
  readonly last: number | undefined
  /** Users in it, as of the last news. */
  readonly members: number
  /** Messages of others since you said `seen`: what the server counted (to 100), and what came since. */
  readonly unread: number
  /** Those of your messages here that are not saved yet, oldest first. */
  readonly outgoing: Outgoing[]
  /**
   * Joins the room, now and on every later connection, until leave. The stream begins after since (0: with the
   * first message), without it with the last 20 messages; on later connections where it had got to.
   */
  join(options?: JoinOptions): Promise<Joined>
  /**
   * Leaves the room for good. What is unsent is sent when it is joined again. Rejects if it stays on the user's list:
   * with `disconnected` where the server cannot be told, with `not_joined` where this session was not in.
   */
  leave(): Promise<unknown>
  /** The messages from now on, joining the room if need be, until it is left: `for await (const m of room.messages())`. */
  messages(options?: JoinOptions): AsyncIterableIterator<Message>
  /**
   * Sends a message, sooner or later: at once if that is possible, else as soon as it is, whatever happens to the
   * connection. The room's messages go one by one, in the order of the calls. body is JSON or bytes; joins if need be.
   */
  send(body: unknown, options?: SendOptions): Outgoing
  /** A page of the room's history; without a bound the newest. Joins the room if need be. */
  history(options?: HistoryOptions): Promise<Page>
  /** Pages on from there: backwards, or forwards if after is given. */
  pages(options?: HistoryOptions): AsyncGenerator<Page>
  /** Who is in the room; all pages of the answer. Joins it if need be. */
  presence(options?: { signal?: AbortSignal }): Promise<Presence>
  /** Call it with each key: others hear of it every few seconds. With false, or by send, they hear that it is over. */
  typing(active?: boolean): void
  /** Everything up to seq, by default all that came, has reached this device. Gathered; never goes back. */
  delivered(seq?: number): void
  /** Everything up to seq, by default all that came, has been read. Gathered; never goes back. */
  seen(seq?: number): void
}

/** What the client does with a room. */
export interface OwnRoom extends Room, OutboxRoom {
  /** The link on which the room is joined; its messages come from there alone. */
  _link?: Link
  /** Joins on the connection in use, if that is wanted and not done. */
  _resume(): void
  /** Whoever waits does so in vain, for that reason; who comes later waits anew. Streams end, with err if there is one. */
  _closed(err: GohubError | undefined, reason: GohubError): void
  /** This may be the last of it: what is gathered goes now. */
  _hide(): void
  /** Tells the watermarks, now that they are new or may be lost; not before so many ms, if the server has refused them for now. */
  _gather(ms?: number): void
  _down(link: Link): void
  _take(link: Link, frame: Frame): void
  _listed(head: number, unread: number): void
  /** A message after seq is there to be read; tells whether that is news. */
  _invited(seq: number): boolean
}

export function createRoom(core: Core, name: string): OwnRoom {
  const { on, emit } = createEmitter<RoomEvents>()
  const { clock } = core
  const copies = new Map<string, number>() // sender and id → seq
  const streams = new Set<Stream<Message>>()
  const typists = new Map<string, unknown>() // who types → timer
  let marks: Partial<Watermark> = {}
  let reader: string | undefined // whose they are, as far as that is known
  let last: number | undefined
  let base = 0 // head when the room was joined
  let begun = 0 // when that was
  let members = 0
  let unread = 0
  let listed = 0 // head of the list that unread is from
  let wanted: boolean | undefined // false: it was left, or is not open to us
  let joining: Link | undefined // on which a join is under way
  let ready = deferred<Joined>() // settled while the room is joined, or if it will not be
  let held: Message[] | undefined // what came while what was missed is fetched
  let typed = 0 // when we said that we type
  let marking: unknown // timer

  function joined(link: Link, { ref, head, members: count, truncated }: Omit<Frame, 'type'>): void {
    if (link !== core._link) return // of a connection that has a successor
    if (ref !== undefined && link !== joining) return // it was left meanwhile
    wanted = true // the server may have made us join
    // That replays the newest messages. Where the stream has begun, it goes on from there, which is ours to ask.
    if (ref === undefined && (joining || last !== undefined)) return room._resume()
    if (reader && reader !== core.user) marks = {} // another's
    reader = core.user
    room._link = link
    joining = held = undefined
    // Nothing is there: whatever comes is new. If there is something, it follows and says where the stream stands.
    if (!head) last ??= 0
    base = head
    begun = clock.now()
    members = count
    if (truncated && last !== undefined) void fill(link)
    const event = { head, members }
    ready.resolve(event)
    emit('joined', event)
    core.joined(room)
    room._gather() // what was said on a connection that broke may be lost
    core._outbox._pump(name, true)
  }

  // The next message of the stream.
  function show(message: Message): void {
    const { sender, id, seq } = message
    if (seq <= last!) return // had it
    last = seq
    const key = sender + ' ' + id
    message.replaces = copies.get(key)
    copies.set(key, seq)
    if (copies.size > COPIES) copies.delete(copies.keys().next().value!)
    if (sender !== core.user && seq > listed) unread++
    types(sender)
    emit('message', message)
    for (const stream of streams) stream.push(message)
  }

  // More was missed than is replayed. Its pages come before what follows on the stream, which is held back until
  // then. They begin right after last and leave nothing out, so that last may go with them.
  async function fill(link: Link): Promise<void> {
    const own: Message[] = held = []
    const over = () => held !== own // a later join has begun, or the link is down
    for (let left = core.fill; ;) {
      try {
        const page = await link._request({ type: 'history', room: name, after: last, limit: 200 })
        if (over()) return
        for (const message of page.messages) show(fromPage(message))
        left -= page.messages.length
        if (!page.more || own[0]?.seq <= last!) break
        if (left > 0) continue
      } catch (err) {
        const { retryMs } = err as GohubError
        if (retryMs !== undefined) {
          await new Promise<void>(resolve => clock.setTimeout(resolve, retryMs))
          continue
        }
      }
      if (over()) return
      emit('gap', { after: last!, until: own[0]?.seq ?? Infinity })
      break
    }
    held = undefined
    own.forEach(show)
  }

  // Nothing more follows of the room.
  function out(err?: GohubError): void {
    const was = wanted
    wanted = false
    room._link = joining = held = undefined
    room._closed(err, err ?? new GohubError('not_joined'))
    if (err) core._outbox._refuse(name, err)
    if (was) emit('left', err)
  }

  async function ask(frame: Frame, signal?: AbortSignal): Promise<Frame> {
    for (;;) {
      await room.join({ signal })
      const link = room._link
      if (!link) continue // it was lost again at once
      try {
        return await abortable(link._request({ ...frame, room: name }), signal)
      } catch (err) {
        if ((err as GohubError).code !== 'disconnected') throw err
      }
    }
  }

  function types(user: string, active = false): void {
    clock.clearTimeout(typists.get(user))
    const known = typists.delete(user)
    if (active) typists.set(user, clock.setTimeout(() => types(user), TYPED))
    if (active !== known) emit('typing', [...typists.keys()])
  }

  function mark(kind: keyof Watermark, seq: number | undefined): void {
    if (seq! > (marks[kind] ?? 0)) {
      marks[kind] = seq
      room._gather()
    }
  }

  function tell(): void {
    clock.clearTimeout(marking)
    marking = undefined
    if (room._link?._alive) room._link.send({ type: 'receipt', ref: name, room: name, ...marks })
  }

  const room: OwnRoom = {
    on,
    name,
    get joined() { return !!room._link },
    get last() { return last },
    get members() { return members },
    get unread() { return unread },
    get outgoing() { return core._outbox._of(name) },

    join({ since, signal } = {}) {
      wanted = true
      last ??= since
      core.start()
      room._resume()
      return unheard(abortable(core._closed ? Promise.reject(core._closed) : ready.promise, signal))
    },

    leave() {
      const link = room._link ?? joining ?? core._link
      room._hide()
      out()
      return unheard(link ? link._request({ type: 'leave', room: name }) : Promise.reject(new GohubError('disconnected')))
    },

    messages({ since, signal } = {}) {
      const closed = deferred<void>()
      const stream = createStream<Message>(() => {
        streams.delete(stream)
        closed.resolve()
      })
      streams.add(stream)
      abortable(Promise.all([room.join({ since }), closed.promise]), signal).catch(stream.end)
      return stream
    },

    send(body, options = {}) {
      room.typing(false)
      room._need(true)
      return core._outbox._add(name, body, options)
    },

    async history({ signal, ...bounds } = {}) {
      const { messages, more, watermarks } = await ask({ type: 'history', ...bounds }, signal)
      return { messages: messages.map(fromPage), more, watermarks }
    },

    async * pages({ before, after, ...options } = {}) {
      for (let page; !page || page.more;) {
        page = await room.history({ before, after, ...options })
        const { messages } = page
        if (after === undefined) before = messages[0]?.seq
        else after = messages.at(-1)?.seq
        yield page
      }
    },

    async presence({ signal } = {}) {
      const users = []
      for (let cursor; ;) {
        const page: Frame = await ask({ type: 'presence', cursor }, signal)
        users.push(...page.users)
        cursor = page.cursor
        if (!cursor) return { count: page.count, users }
      }
    },

    typing(active = true) {
      const now = clock.now()
      if (!room._link?._alive || (active ? now < typed + TYPING : !typed)) return
      typed = active ? now : 0
      room._link.send({ type: 'typing', room: name, active })
    },

    delivered(seq = last) { mark('delivered', seq) },

    seen(seq = last) {
      unread = 0
      mark('seen', seq)
    },

    _resume() {
      const link = core._link
      if (!wanted || !link || link === room._link || link === joining) return
      joining = link
      link._request({ type: 'join', room: name, since: last }).catch((err: GohubError) => {
        if (joining !== link) return
        joining = undefined
        if (!link._alive) return // the next one resumes
        if (err.retryMs === undefined) out(err)
        else clock.setTimeout(room._resume, err.retryMs)
      })
    },

    _need(wish) {
      if (wish ? !wanted : wanted === undefined) room.join()
      return room._link
    },

    _rejoin(link) {
      room._down(link)
      room._resume()
    },

    _hide() { if (marking) tell() },

    _gather(ms = 0) {
      if (marks.seen || marks.delivered) marking ??= clock.setTimeout(tell, RECEIPTS + ms)
    },

    _closed(err, reason) {
      ready.reject(reason)
      ready = deferred()
      for (const stream of [...streams]) stream.end(err)
    },

    _down(link) {
      if (joining === link) joining = undefined
      if (room._link !== link) return
      // The server replays nothing (Config.JoinReplay): the stream has begun after what was there.
      if (clock.now() > begun + REPLAY) last ??= base
      room._link = held = undefined
      ready = deferred()
      typed = 0
      for (const user of typists.keys()) types(user)
    },

    _listed(head, count) {
      listed = head
      unread = marks.seen! >= head ? 0 : count // the server may not have heard yet
    },

    _invited(seq) {
      last ??= wanted ? undefined : seq
      return !wanted
    },

    _changed(message) { emit('outgoing', message) },

    _take(link, { type, ...frame }) {
      if (type === 'joined') return joined(link, frame)
      if (link !== room._link) return // the stream comes from one connection
      if (type === 'message') {
        if (held) held.push(frame as Message)
        else show(frame as Message)
      } else if (type === 'left') {
        out()
      } else if (type === 'typing') {
        types(frame.user, frame.active)
      } else if (type === 'members') {
        members = frame.count
        emit(type, frame as any)
      } else if (type === 'receipt') {
        emit(type, frame as any)
      }
    }
  }
  return room
}
