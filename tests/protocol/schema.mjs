// The frames of the server as docs/protocol.md has them. Whatever arrives in any
// test is held against it: a field too few, too many or of another type is a fault.

const text = v => typeof v === 'string'
const name = v => text(v) && v !== ''
const user = v => text(v) && /^[A-Za-z0-9._:-]{1,63}$/.test(v)
const room = v => text(v) && /^[A-Za-z0-9._:@,-]{1,128}$/.test(v)
const kind = v => text(v) && /^[a-z0-9._-]{1,32}$/.test(v)
const uuid = v => text(v) && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(v)
const count = v => Number.isSafeInteger(v) && v >= 0
const seq = v => count(v) && v > 1e15
const seqOrNone = v => v === 0 || seq(v)
const flag = v => typeof v === 'boolean'
const only = value => v => v === value
const any = () => true
const ref = v => text(v) || typeof v === 'number'
const list = is => v => Array.isArray(v) && v.every(is)
const values = is => v => typeof v === 'object' && v !== null && Object.entries(v).every(([k, x]) => user(k) && is(x))
const optional = is => Object.assign(v => is(v), { optional: true })
const object = fields => v => fault(fields, v) === undefined
const code = v => ['bad_json', 'unknown_type', 'bad_request', 'bad_room', 'not_joined', 'unauthorized', 'forbidden', 'not_found',
  'rate_limited', 'too_large', 'id_conflict', 'busy', 'unavailable', 'draining', 'internal'].includes(v)

const message = { id: uuid, room, seq, sender: user, to: optional(user), kind, binary: optional(only(true)), body: any }

export const schema = {
  welcome: { version: only(1), session: name, user, node: name, ping_ms: count, max_frame: count, durable: flag, time: count },
  joined: { ref: optional(ref), room, head: seqOrNone, truncated: flag, members: count },
  left: { ref: optional(ref), room },
  message, // binary is there in history, and where unpackBinary put it
  ack: { id: uuid, room, seq, duplicate: optional(only(true)) },
  error: { ref: optional(ref), id: optional(text), code, message: name, retry_ms: optional(v => count(v) && v > 0) },
  history: { ref: optional(ref), room, messages: list(object(message)), more: flag, watermarks: values(object({ delivered: seqOrNone, seen: seqOrNone })) },
  presence: { ref: optional(ref), room, count, users: list(object({ user, name, sessions: v => count(v) && v > 0 })), cursor: optional(name) },
  rooms: { ref: optional(ref), rooms: list(object({ room, head: seqOrNone, seen: seqOrNone, unread: v => count(v) && v <= 100 })) },
  members: { room, joined: list(user), left: list(user), count },
  typing: { room, user, active: flag },
  receipt: { room, user, delivered: seqOrNone, seen: seqOrNone },
  invite: { room, from: user, seq: count },
  result: { ref: optional(ref), body: any },
  refreshed: { ref: optional(ref), expires: count },
  pong: { ref: optional(ref) },
  goaway: { reconnect_ms: count, deadline_ms: count, url: optional(name) }
}

/** What is wrong with an object that shall have these fields. */
function fault (fields, o) {
  if (typeof o !== 'object' || o === null) return 'is no object'
  for (const [key, is] of Object.entries(fields)) {
    if (!(key in o)) {
      if (!is.optional) return `lacks ${key}`
    } else if (!is(o[key])) return `has ${key} ${JSON.stringify(o[key])?.slice(0, 200)}`
  }
  for (const key in o) if (!(key in fields) && key !== 'type') return `has ${key}, which is not documented`
}

export const checked = { frames: 0, types: new Set(), faults: new Set() }

export function check (frame) {
  checked.frames++
  checked.types.add(frame.type)
  const fields = schema[frame.type]
  const found = fields ? fault(fields, frame) : 'is no type of the protocol'
  if (found) checked.faults.add(`${frame.type} ${found}`)
}
