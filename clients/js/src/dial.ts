import { abortable } from './abort.js'
import type { Clock } from './clock.js'
import { GohubError, type ErrorCode } from './errors.js'
import { openLink, type LinkOwner, type WebSocketLike } from './link.js'

/** A proof of identity for `Authorization: Bearer`, and when it ends (Unix ms by the server's clock), if that is known. */
export interface Token {
  token?: string
  expires?: number
}

/**
 * Gives the token, or nothing if cookies do. renew is true when the last one is expired or about to be: get
 * another first. To throw is to have none for now.
 */
export type TokenSource = (renew: boolean) => string | Token | undefined | void | Promise<string | Token | undefined | void>

/** Why there is no connection, or no ticket. _close: the close code, or the one that a refused request comes to. */
export interface Down extends GohubError {
  _close: number
}

export const failure = (_close: number, reason: string, retryMs?: number, code: ErrorCode = 'disconnected'): Down =>
  Object.assign(new GohubError(code, reason, retryMs), { _close })

export interface DialOptions {
  url: string
  token?: string | TokenSource
  device?: string
  WebSocket: new (url: string, protocols: string[]) => WebSocketLike
  fetch: typeof fetch
  clock: Clock
  owner: LinkOwner
}

export interface Negotiated {
  url: string
  ticket: string
  node: string
}

const ANSWER = 15_000 // ms that negotiate may take

/** Ways to the server: the handshake, and negotiate, which tells where to and lets in. */
export interface Dialer {
  /** When the login ends, Unix ms by the server's clock, as far as that is known; 0: it does not. */
  _expires?: number
  /**
   * Connects to url, the usual one by default, and ends once there was a welcome; rejects with Down. The
   * handshake goes first where it proves who we are by itself; if it fails, negotiate tells why, and where to go.
   */
  dial(abort: AbortController, renew: boolean, url?: string): Promise<void>
  /** Asks for a ticket; rejects with Down. */
  _negotiate(renew: boolean, abort?: AbortController, url?: string): Promise<Negotiated>
}

export function createDialer({ url: usual, token, device, WebSocket, fetch, clock, owner }: DialOptions): Dialer {
  let asks = token !== undefined // negotiate first

  function named(url: string, from: string, to: string): URL {
    const target = new URL(url, globalThis.location?.href)
    target.protocol = target.protocol.replace(from, to)
    if (device) target.searchParams.set('device', device)
    return target
  }

  if (!named(usual, '', '').host) throw Error('no url')

  const open = (url: URL, signal: AbortSignal) => new Promise<void>((resolve, reject) => {
    if (signal.aborted) throw failure(1000, '')
    let down: LinkOwner['_down'] = (_, code, reason) => reject(failure(code, reason))
    const stop = () => link.end()
    const link = openLink(new WebSocket(url.href, ['gohub.v1']), clock, {
      _up() {
        signal.removeEventListener('abort', stop)
        down = owner._down
        resolve()
        owner._up(link)
      },
      _frame: owner._frame,
      _down: (...end) => down(...end)
    })
    signal.addEventListener('abort', stop)
  })

  const dialer: Dialer = {
    async dial(abort, renew, url = usual) {
      if (!asks) {
        try {
          return await open(named(url, 'http', 'ws'), abort.signal)
        } catch (err) {
          if (abort.signal.aborted || (err as Down)._close !== 1006) throw err
          asks = true
        }
      }
      const { url: there, ticket } = await dialer._negotiate(renew, abort, url)
      const target = new URL(there)
      target.searchParams.set('ticket', ticket)
      await open(target, abort.signal)
    },

    async _negotiate(renew, abort = new AbortController(), url = usual) {
      const timer = clock.setTimeout(() => abort.abort(), ANSWER)
      const renewable = typeof token === 'function'
      try {
        const given = await abortable(Promise.resolve(renewable ? token(renew) : token), abort.signal)
        const { token: bearer, expires }: Token = typeof given === 'object' ? given : { token: given as string }
        const answer = await fetch(named(url, 'ws', 'http').href, {
          headers: bearer ? { Authorization: 'Bearer ' + bearer } : {},
          credentials: bearer ? 'same-origin' : 'include',
          cache: 'no-store',
          signal: abort.signal
        })
        const body = await answer.json().catch(() => ({}))
        if (!answer.ok) throw refusal(answer, body, renewable && !renew)
        if (!body.ticket) throw Error('no ticket')
        dialer._expires = expires
        return body
      } catch (err) {
        if ((err as Down)?._close) throw err
        asks = token !== undefined // it may be that only the handshake is let through
        throw failure(1006, '' + err)
      } finally {
        clock.clearTimeout(timer)
      }
    }
  }
  return dialer
}

function refusal(answer: Response, { code, detail, title }: any, renewable: boolean): Down {
  return failure(answer.status === 401 ? renewable ? 4001 : 4501 : answer.status === 403 ? 4502 : 1006,
    detail ?? title ?? '', +answer.headers.get('Retry-After')! * 1000 || undefined, code)
}
