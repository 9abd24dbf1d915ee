import { abortable } from './abort.js'
import { systemClock, type Clock } from './clock.js'
import { createConnector, type State } from './connector.js'
import type { TokenSource } from './dial.js'
import { deferred, unheard } from './deferred.js'
import { createEmitter, type Emitter } from './emitter.js'
import { GohubError } from './errors.js'
import type { Link, WebSocketLike, Welcome } from './link.js'
import { createOutbox, type Outbox } from './outbox.js'
import { createRoom, type OwnRoom, type Room } from './room.js'
import { indexedDbStorage, type OutboxStorage } from './storage.js'

export interface ClientOptions {
  /** Where the hub is mounted: ws:, wss:, http: or https:; in a page also relative to it. */
  url: string
  /** Proof of identity for `Authorization: Bearer`, or a function that gives it. Without it cookies are the proof. */
  token?: string | TokenSource
  /** Sent as the query parameter `device`, for an authenticator that looks there. By default none. */
  device?: string
  /** Who is logged in, if that is known: then what is sent before the first connection outlives a reload, too. */
  user?: string
  /** Where unsent messages are kept: by default IndexedDB where there is one; null: in memory alone. */
  storage?: OutboxStorage | null
  /** By default the global one. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocketLike
  /** What negotiates; by default the global one. */
  fetch?: typeof fetch
  /** By default the system's. */
  clock?: Clock
  /** Numbers in [0, 1) that spread reconnects; by default Math.random. */
  random?: () => number
  /** So many missed messages of a room are fetched by themselves, beyond the server's replay; by default 10,000. */
  fill?: number
}

export interface RoomState {
  room: string
  /** The newest seq that you may see; 0: none. */
  head: number
  /** Your own watermark. */
  seen: number
  /** Messages of others after it, counted no further than 100. */
  unread: number
}

export interface ClientEvents {
  state: State
  /** The rooms on the user's list: after each connect. */
  rooms: RoomState[]
  /** Somebody wrote in a direct room that is not joined, or you did by a command. `room.join()` begins with that message. */
  invite: { room: Room, from: string }
  /** A session is in a room: you joined it, or the server made you. */
  joined: Room
  /** What went wrong and belongs nowhere else; nothing ends by it. */
  error: unknown
}

/** What a room needs of its client. */
export interface Core {
  clock: Clock
  _outbox: Outbox
  fill: number
  readonly _link?: Link
  readonly user?: string
  /** Set when the client is closed. */
  readonly _closed?: GohubError
  /** A session is in the room. */
  joined(room: Room): void
  /** Connects, if nothing has happened yet. */
  start(): void
}

export interface Client extends Emitter<ClientEvents> {
  readonly state: State
  /** Who the server takes you for; the option until it has said so. */
  readonly user: string | undefined
  /** What the server said of the newest connection. */
  readonly welcome: Welcome | undefined
  /** Connects now, also when the client waits or is closed; ends once it is connected, rejects if it is closed instead. */
  connect(options?: { signal?: AbortSignal }): Promise<unknown>
  /** Ends the connection and whatever waits for it. What is unsent stays in the storage. */
  close(): void
  /** The room of that name: always the same object. It is not joined by this. */
  room(name: string): Room
  /** The direct room with user, once it is known who we are. It is not joined by this. */
  direct(user: string, options?: { signal?: AbortSignal }): Promise<Room>
  /** The rooms on the user's list. */
  rooms(options?: { signal?: AbortSignal }): Promise<RoomState[]>
  /** Calls a function of the server. If the connection breaks before the answer, rejects with `disconnected`: it may have run. */
  call<T = any>(name: string, body?: unknown, options?: { signal?: AbortSignal }): Promise<T>
  /**
   * Has the connection outlive the login as it was: call it when the page has renewed that by itself. If it rejects, the
   * connection lives on to the old end.
   */
  refresh(): Promise<void>
}

/** A client of one hub, with one connection at a time. Nothing happens before it is asked for something. */
export function createClient(options: ClientOptions): Client {
  const {
    url, token, device,
    storage = globalThis.indexedDB && indexedDbStorage('gohub ' + url.split('?')[0]),
    WebSocket = globalThis.WebSocket,
    fetch = globalThis.fetch,
    clock = systemClock,
    random = Math.random,
    fill = 10_000
  } = options
  if (!WebSocket) throw Error('no WebSocket')
  const { on, emit } = createEmitter<ClientEvents>()
  const rooms = new Map<string, OwnRoom>()
  let { user } = options
  let connected = deferred<void>() // settled while there is a connection, or if there will be none

  const connector = createConnector({ url, token, device, WebSocket, fetch, clock }, random, {
    state(state) {
      if (connector._link) connected.resolve()
      const err = core._closed
      if (err) {
        connected.reject(err)
        connected = deferred()
        for (const room of rooms.values()) room._closed((state as any).code === 1000 ? undefined : err, err)
        outbox._close()
      }
      emit('state', state)
    },

    _up(link) {
      user = link.welcome!.user
      for (const room of rooms.values()) room._resume()
      void outbox._welcome(user).then(() => core._closed && outbox._close()) // it may have taken something over since
      list(link).then(rooms => emit('rooms', rooms), err => { if (link._alive) emit('error', err) })
    },

    _frame(link, frame) {
      const { type, ref } = frame
      if (type === 'ack' || frame.id && type === 'error') outbox._answer(link, frame)
      else if (type === 'joined' || frame.room && ref === undefined) {
        const room = client.room(frame.room) as OwnRoom
        const { sender, from = sender, seq } = frame
        // A command may have taken a message of ours to a direct room, which its own copy tells alone.
        if (type === 'invite' || type === 'message' && !room._link) {
          if (room.name[0] === '@' && room._invited(sender ? seq - 1 : seq)) emit('invite', { room, from })
        } else room._take(link, frame)
      } else if (type === 'error' && typeof ref !== 'number') {
        // Nothing but a receipt has a ref that is no number: its room.
        if (ref && frame.retry_ms) rooms.get(ref)?._gather(frame.retry_ms)
        else emit(type, new GohubError(frame.code, frame.message, frame.retry_ms))
      }
    },

    _down(link) {
      if (!connector._link) connected = deferred()
      for (const room of rooms.values()) room._down(link)
      outbox._down(link)
    },

    _done: old => old._quiet() && !outbox._uses(old) && [...rooms.values()].every(room => room._link !== old),

    _hide: hide
  })

  const outbox = createOutbox(storage, clock, user, name => client.room(name) as OwnRoom, err => emit('error', err))

  const core: Core = {
    clock, fill, _outbox: outbox,
    get _link() { return connector._link },
    get user() { return user },
    get _closed() {
      const { state } = connector
      return state.name === 'closed' ? new GohubError('closed', state.reason) : undefined
    },
    joined: room => emit('joined', room),
    start() { if (connector.state.name === 'idle') connector.start() }
  }

  function hide(): void { for (const room of rooms.values()) room._hide() }

  async function ready(signal?: AbortSignal): Promise<Link> {
    core.start()
    for (;;) {
      signal?.throwIfAborted()
      if (core._link) return core._link
      if (core._closed) throw core._closed
      await abortable(connected.promise, signal)
    }
  }

  async function list(link: Link): Promise<RoomState[]> {
    const answer = await link._request({ type: 'rooms' })
    for (const { room, head, unread } of answer.rooms) rooms.get(room)?._listed(head, unread)
    return answer.rooms
  }

  const client: Client = {
    on,
    get state() { return connector.state },
    get user() { return user },
    get welcome() { return connector._link?.welcome },

    connect({ signal } = {}) {
      connector.start()
      return unheard(ready(signal))
    },

    close() {
      hide()
      connector.stop(1000, '')
    },

    room(name) {
      let room = rooms.get(name)
      if (!room) rooms.set(name, room = createRoom(core, name))
      return room
    },

    async direct(other, { signal } = {}) {
      if (!user) await ready(signal)
      return client.room('@' + [user, other].sort().join(','))
    },

    async rooms({ signal } = {}) {
      for (;;) {
        const link = await ready(signal)
        try {
          return await abortable(list(link), signal)
        } catch (err) {
          if ((err as GohubError).code !== 'disconnected') throw err
        }
      }
    },

    async call(name, body, { signal } = {}) {
      const link = await ready(signal)
      return (await abortable(link._request({ type: 'call', name, body }), signal)).body
    },

    refresh: connector.refresh
  }
  return client
}
