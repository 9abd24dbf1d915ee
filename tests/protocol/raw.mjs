// The WebSocket protocol by hand (RFC 6455), for what no library would send.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'

/** The header of a masked frame that declares length bytes, with an all-zero mask, so that payloads go as they are. */
export function header (opcode, length) {
  const first = 0x80 | opcode
  if (length < 126) return Buffer.from([first, 0x80 | length, 0, 0, 0, 0])
  if (length < 1 << 16) return Buffer.from([first, 0x80 | 126, length >> 8, length & 0xff, 0, 0, 0, 0])
  const h = Buffer.alloc(14)
  h[0] = first
  h[1] = 0x80 | 127
  h.writeBigUInt64BE(BigInt(length), 2)
  return h
}

export class RawSocket {
  /** Shakes hands and waits for the answer's head; its status line is in .status. */
  static async open (base, who, headers = {}) {
    const url = new URL(base)
    for (const [k, v] of Object.entries(who)) url.searchParams.set(k, v)
    const socket = connect(Number(url.port), url.hostname)
    await once(socket, 'connect')
    socket.setTimeout(10_000, () => socket.destroy(new Error('raw socket: silent for 10 s')))
    const lines = Object.entries({
      Host: url.host,
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      ...headers
    }).map(([k, v]) => `${k}: ${v}\r\n`).join('')
    socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines}\r\n`)
    const raw = new RawSocket(socket)
    let end
    while ((end = raw.buffer.indexOf('\r\n\r\n')) < 0) await raw.#more()
    raw.head = raw.buffer.subarray(0, end).toString()
    raw.status = Number(raw.head.split(' ')[1])
    raw.buffer = raw.buffer.subarray(end + 4)
    return raw
  }

  buffer = Buffer.alloc(0)
  #wake = () => {}
  #end = null

  constructor (socket) {
    this.socket = socket
    socket.on('data', d => { this.buffer = Buffer.concat([this.buffer, d]); this.#wake() })
    socket.on('error', err => { this.#end ??= err; this.#wake() })
    socket.on('close', () => { this.#end ??= new Error('raw socket: closed without a close frame'); this.#wake() })
  }

  async #more () {
    const had = this.buffer.length
    while (this.buffer.length === had) {
      if (this.#end) throw this.#end
      await new Promise(resolve => { this.#wake = resolve })
    }
  }

  write (...parts) { this.socket.write(Buffer.concat(parts)) }

  /** The next frame: {opcode, payload}. Server frames are not masked. */
  async frame () {
    for (;;) {
      const b = this.buffer
      if (b.length >= 2) {
        if (b[1] & 0x80) throw new Error('raw socket: masked server frame')
        let length = b[1] & 0x7f
        let start = 2
        if (length === 126 && b.length >= 4) { length = b.readUInt16BE(2); start = 4 } else if (length === 127 && b.length >= 10) { length = Number(b.readBigUInt64BE(2)); start = 10 } else if (length >= 126) length = Infinity
        if (b.length >= start + length) {
          this.buffer = b.subarray(start + length)
          return { opcode: b[0] & 0x0f, payload: b.subarray(start, start + length) }
        }
      }
      await this.#more()
    }
  }

  /** Skips to the frame with that opcode. */
  async skipTo (opcode) {
    for (;;) {
      const f = await this.frame()
      if (f.opcode === opcode) return f
      if (f.opcode === 8) throw new Error(`raw socket: closed with ${f.payload.readUInt16BE(0)}`)
    }
  }

  /** Skips to the close frame and returns its code. */
  async closeCode () { return (await this.skipTo(8)).payload.readUInt16BE(0) }

  destroy () { this.socket.destroy() }
}
