// A TCP proxy that treats connections badly.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** Numbers in [0, 1) that a seed repeats (mulberry32). */
export function seeded (seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

// What becomes of a connection when its time has come: who hears that it is over, and when.
const ends = {
  cut: (client, server) => { client.destroy(); server.destroy() },
  // The server still has the old session when the next one comes.
  'server late': (client, server) => { client.destroy(); later(server) },
  'client late': (client, server) => { server.destroy(); later(client, 5) },
  // The client hears of the old end after the next beginning: its watchdog was faster.
  'close last': (client, server) => { server.destroy(); later(client, 300) },
  // Nobody hears anything, ever.
  'black hole': () => {}
}
const later = (socket, ms = 30) => setTimeout(() => socket.destroy(), ms).unref()

export class Proxy {
  /** Connections now. */
  open = new Set()
  /** How many ended in which way. */
  ended = {}
  /** Bytes that it has carried. */
  bytes = 0
  #cuts
  #random

  /**
   * Stands before the server at port. cuts: byte counts, ascending, after each of which the connection that
   * carries the byte ends: in its middle, whatever it is part of.
   */
  static async before (port, cuts, random) {
    const proxy = new Proxy()
    proxy.#cuts = [...cuts]
    proxy.#random = random
    proxy.server = createServer(client => proxy.#carry(client, connect(port, '127.0.0.1')))
    proxy.server.listen(0, '127.0.0.1')
    await once(proxy.server, 'listening')
    proxy.port = proxy.server.address().port
    return proxy
  }

  close () {
    this.server.close()
    for (const socket of this.open) socket.destroy()
  }

  get left () { return this.#cuts.length }

  #carry (client, server) {
    let over = false
    const slow = this.#random() < 0.05 ? 2 : 0 // ms that each piece takes
    for (const [from, to] of [[client, server], [server, client]]) {
      this.open.add(from)
      from.setNoDelay(true)
      from.on('error', () => {})
      from.on('close', () => {
        this.open.delete(from)
        if (!over) to.destroy()
      })
      from.on('data', data => {
        if (over) return
        const until = this.#cuts[0] - this.bytes // undefined - n is NaN: never
        if (data.length > until) data = data.subarray(0, until)
        this.bytes += data.length
        const write = () => { if (!to.destroyed) to.write(data) }
        if (slow) setTimeout(write, slow)
        else write()
        if (this.bytes !== this.#cuts[0]) return
        this.#cuts.shift()
        over = true
        const way = this.#way()
        this.ended[way] = (this.ended[way] ?? 0) + 1
        setImmediate(ends[way], client, server) // after what was written
      })
    }
  }

  #way () {
    const n = this.#random()
    return n < 0.5 ? 'cut' : n < 0.72 ? 'server late' : n < 0.94 ? 'client late' : n < 0.97 ? 'close last' : 'black hole'
  }
}
