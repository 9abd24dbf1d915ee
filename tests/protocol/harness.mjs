// Starts the server under test and gives each test a world of its own.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Client } from './client.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
let dir, binary

/** Builds the server with the race detector. GOHUB_TEST_SERVER names one that is built already. */
export async function build () {
  binary = process.env.GOHUB_TEST_SERVER
  if (binary) return
  dir = await mkdtemp(join(tmpdir(), 'gohub-protocol-'))
  binary = join(dir, 'server')
  await promisify(execFile)('go', ['build', '-race', '-o', binary, './tests/protocol/server'], { cwd: root })
}

export async function clean () {
  if (dir) await rm(dir, { recursive: true, force: true })
}

export class Server {
  static async start (...args) {
    const child = spawn(binary, ['-addr', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    const server = new Server(child)
    const address = await Promise.race([
      once(createInterface(child.stdout), 'line').then(([line]) => line),
      server.exit.then(code => { throw new Error(`the server ended with ${code} before it listened\n${server.log}`) })
    ])
    server.ws = `ws://${address}/ws`
    server.http = `http://${address}/ws`
    return server
  }

  log = ''
  constructor (child) {
    this.child = child
    child.stderr.setEncoding('utf8')
    child.stderr.on('data', text => { this.log += text })
    this.exit = once(child, 'close').then(([code, signal]) => code ?? signal)
    process.once('exit', () => child.kill('SIGKILL')) // whatever happens, none is left behind
  }

  /** Asks it to stop; returns its exit code, or the signal it took in the end. */
  async stop () {
    this.child.kill('SIGTERM')
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 10_000)
    const code = await this.exit
    clearTimeout(timer)
    return code
  }
}

/** The server most tests share. */
export const shared = { server: null }

let worlds = 0

/** A tenant that no other test sees, and a hand to close what was opened in it. */
export class World {
  constructor (t, server = shared.server) {
    this.server = server
    this.tenant = `t${++worlds}`
    this.clients = []
    t.after(() => { for (const c of this.clients) c.cut() })
  }

  async connect (user, { who = {}, ...options } = {}) {
    const client = await Client.connect(this.server.ws, { user, tenant: this.tenant, ...who }, options)
    this.clients.push(client)
    return client
  }

  /** Connects users, each with all rooms joined. */
  async all (users, ...rooms) {
    const clients = []
    for (const user of users) {
      const c = await this.connect(user)
      for (const room of rooms) await c.join(room)
      clients.push(c)
    }
    return clients
  }

  url (who, path = this.server.http) {
    const url = new URL(path)
    for (const [k, v] of Object.entries({ tenant: this.tenant, ...who })) url.searchParams.set(k, v)
    return url
  }

  negotiate (who, headers = {}) { return fetch(this.url(who), { headers }) }
}

/** Random numbers in [0, 1) that a seed repeats (mulberry32). */
export function seeded (seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
