// The three pages: how each is built and started. Every process is ended by its id.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const here = fileURLToPath(new URL('..', import.meta.url))
export const root = join(here, '../..')
export const nextjs = join(root, 'examples/nextjs')

const env = { ...process.env, GOWORK: 'off' }

export function buildGo (dir, name, more = {}) {
  const [cwd, pkg] = name === 'hub' ? [root, './examples/nextjs/server'] : [join(root, 'bench'), './frontend/' + name]
  execFileSync('go', ['build', '-o', join(dir, name), pkg], { cwd, env: { ...env, ...more } })
}

export const buildNext = () => execFileSync('npm', ['run', 'build'], { cwd: nextjs, stdio: ['ignore', 'ignore', 'inherit'] })

/** Measured pages of ours have the same ids. */
export const ours = { field: 'user', room: 'lobby', input: '#text', row: '#log li', saved: '[data-status=saved]', live: '#members:not(:empty)', scroller: '#log', paged: false }

function run (command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  let log = ''
  child.stderr.on('data', text => { log += text })
  const lines = createInterface(child.stdout)
  return {
    pid: child.pid,
    line: match => Promise.race([
      (async () => { for await (const line of lines) if (match.test(line)) return line.match(match)[0] })(),
      once(child, 'exit').then(([code]) => { throw Error(`${command} ended with ${code}: ${log}`) })
    ]),
    async stop () {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill()
      await exited
    }
  }
}

async function goServer (dir, name) {
  const server = run(join(dir, name), [], { cwd: here })
  const url = await server.line(/http:\S+/)
  return { ...ours, url, login: url + 'login', ws: url.replace('http', 'ws') + 'ws', pids: () => [server.pid], stop: server.stop }
}

async function freePort () {
  const server = createServer().listen(0, 'localhost')
  await once(server, 'listening')
  const { port } = server.address()
  await once(server.close(), 'close')
  return port
}

async function next (dir) {
  const [web, port] = [await freePort(), await freePort()]
  const [url, at] = [`http://localhost:${web}`, `http://localhost:${port}`]
  const hub = run(join(dir, 'hub'), ['-addr', `localhost:${port}`, '-origin', url])
  const node = run(process.execPath, ['node_modules/next/dist/bin/next', 'start', '-p', String(web)], { cwd: nextjs, env: { ...process.env, GOHUB_URL: at } })
  await node.line(/Ready/)
  return {
    ...ours, url: url + '/', login: url + '/login', ws: at.replace('http', 'ws') + '/ws',
    pids: () => [hub.pid, ...tree(node.pid)],
    stop: () => Promise.all([hub.stop(), node.stop()])
  }
}

export const candidates = {
  templ: dir => goServer(dir, 'templ'),
  next,
  htmx: dir => goServer(dir, 'htmx')
}

// A process and those below it.
function tree (pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return [pid, ...children ? children.split(' ').flatMap(p => tree(Number(p))) : []]
}

/** Resident bytes of the processes. */
export const resident = pids => pids.reduce((sum, pid) =>
  sum + Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) * 1024, 0)
