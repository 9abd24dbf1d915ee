/** A frame of gohub.v1 (docs/protocol.md): its type, and the fields that the protocol gives it. */
export interface Frame {
  type: string
  [field: string]: any
}

/** frame as a WebSocket message: text, or binary if its body is bytes. */
export function pack(frame: Frame): string | Uint8Array<ArrayBuffer> {
  if (!(frame.body instanceof Uint8Array)) return JSON.stringify(frame)
  const { body, ...header } = frame
  const json = new TextEncoder().encode(JSON.stringify(header))
  const out = new Uint8Array(3 + json.length + body.length)
  out.set([1, json.length >> 8, json.length, ...json]) // each modulo 256
  out.set(body, 3 + json.length)
  return out
}

/** The frame that a WebSocket message is; throws if it is none. */
export function unpack(data: string | ArrayBuffer): Frame {
  if (typeof data === 'string') return JSON.parse(data) ?? {} // what is "null" has no type either
  const bytes = new Uint8Array(data)
  const end = 3 + (bytes[1] << 8 | bytes[2])
  if (bytes[0] !== 1 || end > bytes.length) throw Error()
  return { ...JSON.parse(new TextDecoder().decode(bytes.subarray(3, end))), body: bytes.slice(end) }
}

/** A message of a history page, its body in bytes if it was sent so. */
export function fromPage({ binary, ...message }: any): any {
  if (binary) message.body = Uint8Array.from(atob(message.body), c => c.charCodeAt(0))
  return message
}
