// The hub of tests/protocol as a process, for clients/js/tests.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import WebSocket from 'ws'

const root = fileURLToPath(new URL('../../..', import.meta.url))

let built // with the first start: that takes longer than some tests may

async function build () {
  const dir = await mkdtemp(join(tmpdir(), 'gohub-sdk-'))
  process.once('exit', () => rmSync(dir, { recursive: true }))
  const binary = join(dir, 'server')
  await promisify(execFile)('go', ['build', '-o', binary, './tests/protocol/server'], { cwd: root })
  return binary
}

/** Starts it; stop() ends it. */
export async function startServer (...args) {
  const child = spawn(await (built ??= build()), ['-addr', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  child.stderr.on('data', text => { log += text })
  const exit = once(child, 'exit')
  const [address] = await Promise.race([
    once(createInterface(child.stdout), 'line'),
    exit.then(([code]) => { throw new Error(`the server ended with ${code}\n${log}`) })
  ])
  return {
    port: Number(address.split(':')[1]),
    kill: signal => child.kill(signal),
    exit,
    async stop () {
      child.kill('SIGKILL')
      await exit
    }
  }
}

/** A WebSocket of ws that remembers all of its kind, to end them with the test. */
export function sockets () {
  const all = []
  class Socket extends WebSocket {
    constructor (url, protocols) {
      super(url, protocols, { perMessageDeflate: false, maxPayload: 4 << 20 })
      all.push(this)
      this.on('close', () => all.splice(all.indexOf(this), 1))
    }
  }
  return { Socket, end: () => { for (const s of all.slice()) s.terminate() } }
}
