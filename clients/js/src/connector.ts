import { backoff } from './backoff.js'
import { createDialer, failure, type DialOptions, type Down } from './dial.js'
import type { Link } from './link.js'
import { offline, watchPage } from './page.js'
import type { Frame } from './wire.js'

/** Where the client stands. */
export type State =
  | { name: 'idle' }
  | { name: 'connecting' }
  | { name: 'connected' }
  /** The next attempt is at retryAt (Unix ms); code and reason tell how the last one or the connection ended. */
  | { name: 'waiting', retryAt: number, code: number, reason: string }
  /** The browser says that there is no network. An attempt follows when it says otherwise, and now and then. */
  | { name: 'offline' }
  /** The client stays away until connect() is called. */
  | { name: 'closed', code: number, reason: string }

// Codes after which only a human's wish brings a client back.
const isFinal = (code: number) => code >= 4500 && code <= 4999

const HELD = 10_000 // ms that a connection must have lasted for the next delay to begin anew
const WAKE = 5_000 // ms that a server may take to answer when there is reason to doubt
const PAUSE = 10_000 // ms after having sent too much

export interface ConnectorOwner {
  state(state: State): void
  /** link is there; old, its predecessor, may live on for what is unanswered. */
  _up(link: Link): void
  _frame(link: Link, frame: Frame): void
  _down(link: Link): void
  /** Whether nothing is left for old to do. */
  _done(old: Link): boolean
  /** The page may be about to end. */
  _hide(): void
}

/** Keeps a connection: which one is in use, when the next attempt is, and when to stay away. */
export interface Connector {
  state: State
  /** The one in use: welcome has come, and it is not known to be dead. */
  _link?: Link
  /** Connects at once, unless that is under way or done. */
  start(): void
  /** Ends everything until start is called. */
  stop(code: number, reason: string): void
  /** Sends a fresh ticket before the login ends, so that the connection outlives it. */
  refresh(): Promise<void>
}

export function createConnector(options: Omit<DialOptions, 'owner'>, random: () => number, owner: ConnectorOwner): Connector {
  const { clock } = options
  let old: Link | undefined // link's predecessor after goaway
  let dialing: AbortController | undefined
  let failed = 0 // attempts since a connection that held
  let renew = false // the login must be renewed first
  let since = 0 // when link came up
  let timer: unknown // of the next attempt
  let retryAt = 0 // when it is; 0: none is planned
  let patient = false // the server named that time
  let refreshing: unknown // timer of the next refresh
  let unwatch: (() => void) | undefined
  let ended!: { code: number, reason: string } // how the last attempt or connection did

  const dialer = createDialer({
    ...options,
    owner: {
      _up(link) {
        old?.end()
        old = connector._link
        connector._link = link
        dialing = undefined
        since = clock.now()
        renew = false
        planRefresh()
        owner._up(link)
        set({ name: 'connected' })
      },

      _frame(link, frame) {
        if (frame.type !== 'goaway') owner._frame(link, frame)
        else if (link === connector._link && !dialing) plan(frame.reconnect_ms, true, frame.url)
        if (old && owner._done(old)) old.end()
      },

      _down(link, code, reason) {
        const used = link === connector._link
        if (used) connector._link = undefined
        else old = undefined // of no interest: it has a successor
        owner._down(link)
        if (!used) return
        clock.clearTimeout(refreshing)
        if (clock.now() - since >= HELD) failed = 0
        if (isFinal(code) && !(code === 4500 && dialing)) return connector.stop(code, reason) // 4500 by our own next one is none
        if (code === 4001) renew = true
        if (retryAt) rest({ code, reason }) // the time that goaway gave stands
        else if (dialing) set({ name: 'connecting' })
        else lost(failure(code, reason))
      }
    }
  })

  async function dial(url?: string): Promise<void> {
    const abort = dialing = new AbortController()
    plan()
    if (!connector._link) set({ name: 'connecting' })
    try {
      await dialer.dial(abort, renew, url)
    } catch (err) {
      if (dialing !== abort) return // stopped meanwhile
      dialing = undefined
      lost(err as Down)
    }
  }

  // Decides what follows the end of a connection, or of an attempt.
  function lost({ _close: code, message: reason, retryMs = 0 }: Down): void {
    if (isFinal(code)) return connector.stop(code, reason)
    if (code === 4001) {
      renew = true
      if (!failed++) return void dial() // once at once: renewing is the remedy
    }
    const least = code === 4002 ? PAUSE : retryMs
    plan(least + backoff(failed++, random), least > 0)
    rest({ code, reason })
  }

  // Plans the next attempt in ms, or none.
  function plan(ms?: number, named = false, url?: string): void {
    clock.clearTimeout(timer)
    patient = named
    retryAt = 0
    if (ms === undefined) return
    retryAt = clock.now() + ms
    timer = clock.setTimeout(() => void dial(url), ms)
  }

  function rest(end = ended): void {
    ended = end
    if (connector._link) return // the old connection still serves
    set(offline() ? { name: 'offline' } : { name: 'waiting', retryAt, ...end })
  }

  // Something may be another way than it was: the connection, or the network.
  function wake(): void {
    if (connector._link) return connector._link._probe(WAKE)
    if (!retryAt) return
    if (!patient && !offline()) void dial()
    else if (offline() !== (connector.state.name === 'offline')) rest()
  }

  function planRefresh(): void {
    clock.clearTimeout(refreshing)
    const left = dialer._expires! - connector._link?.welcome!.time! - clock.now() + since // it is 'time' there when it is 'since' here
    if (left >= 1000) refreshing = clock.setTimeout(() => {
      connector.refresh().catch(planRefresh) // at last 4001 ends it, which renews, too
    }, left * 0.8)
  }

  function set(state: State): void {
    connector.state = state
    owner.state(state)
  }

  const connector: Connector = {
    state: { name: 'idle' },

    start() {
      if (connector._link || dialing) return
      unwatch ??= watchPage(wake, owner._hide)
      failed = 0
      void dial()
    },

    stop(code, reason) {
      const link = connector._link
      plan()
      clock.clearTimeout(refreshing)
      unwatch?.()
      unwatch = connector._link = undefined
      dialing?.abort()
      dialing = undefined
      old?.end() // first: without a link in use, whichever ends is taken for it
      link?.end()
      set({ name: 'closed', code, reason })
    },

    async refresh() {
      const link = connector._link
      if (!link) return // the next connection is authenticated anyway
      const { ticket, node } = await dialer._negotiate(true)
      if (link !== connector._link) return
      if (node !== link.welcome!.node) return dialing ? undefined : dial() // the ticket is for there: move
      dialer._expires = (await link._request({ type: 'refresh', ticket })).expires
      if (link === connector._link) planRefresh()
    }
  }
  return connector
}
