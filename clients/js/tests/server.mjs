// The hub of tests/protocol as a process, for clients/js/tests.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import WebSocket from 'ws'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Starts it; stop() ends it and leaves nothing. */
export async function startServer (...args) {
  const dir = await mkdtemp(join(tmpdir(), 'gohub-sdk-'))
  const binary = join(dir, 'server')
  await promisify(execFile)('go', ['build', '-o', binary, './tests/protocol/server'], { cwd: root })
  const child = spawn(binary, ['-addr', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
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
      await rm(dir, { recursive: true })
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
