/**
 * What the server answers with (docs/protocol.md, section 6), and what this client adds:
 * `disconnected`: the connection broke, or nothing came, before the answer; `closed`: the client is
 * closed; `cancelled`: the message was taken back.
 */
export type ErrorCode =
  | 'bad_json' | 'unknown_type' | 'bad_request' | 'bad_room' | 'not_joined' | 'unauthorized' | 'forbidden'
  | 'not_found' | 'rate_limited' | 'too_large' | 'id_conflict' | 'busy' | 'unavailable' | 'draining' | 'internal'
  | 'disconnected' | 'closed' | 'cancelled'

export class GohubError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string = code,
    /** Present where trying again makes sense: not before so many ms. */
    readonly retryMs?: number
  ) {
    super(message)
    this.name = 'GohubError'
  }
}
