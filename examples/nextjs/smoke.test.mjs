// The example as its README starts it, in Chromium: a build first, then two people who talk; and next dev, where
// React runs every effect twice.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'

const here = import.meta.dirname
const patience = 60_000 // ms; the machine may be busy
let dir, browser

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gohub-nextjs-'))
  execFileSync('npm', ['run', 'build'], { cwd: here, stdio: ['ignore', 'ignore', 'inherit'] })
  execFileSync('go', ['build', '-o', join(dir, 'server'), './examples/nextjs/server'], { cwd: join(here, '../..') })
  browser = await chromium.launch({
    executablePath: process.env.GOHUB_CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-quic', '--disable-background-networking']
  })
})

after(async () => {
  await browser?.close()
  await rm(dir, { recursive: true, force: true })
})

async function freePort () {
  const server = createServer().listen(0, 'localhost')
  await once(server, 'listening')
  const { port } = server.address()
  await once(server.close(), 'close')
  return port
}

function run (t, command, args, env = {}) {
  const child = spawn(command, args, { cwd: here, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill()
    await exited
  })
  return child
}

/** Starts both servers; how is start or dev. */
async function start (t, how) {
  const [web, port] = [await freePort(), await freePort()]
  const url = `http://localhost:${web}/`
  run(t, join(dir, 'server'), ['-addr', `localhost:${port}`, '-origin', new URL(url).origin])
  const next = run(t, process.execPath, ['node_modules/next/dist/bin/next', how, '-p', String(web)], { GOHUB_URL: `http://localhost:${port}` })
  const ready = (async () => { for await (const line of createInterface(next.stdout)) if (line.includes('Ready')) return true })()
  assert.ok(await ready, 'Next.js has started')
  return url
}

/** A person who has come in by the form. */
async function enter (t, url, user) {
  const context = await browser.newContext()
  context.setDefaultTimeout(patience)
  t.after(() => context.close())
  const page = await context.newPage()
  const errors = []
  page.on('pageerror', err => errors.push(err.message))
  page.on('console', m => { if (m.type() === 'error') errors.push(m.text()) })
  const sockets = []
  page.on('websocket', socket => { if (socket.url().endsWith('/ws')) sockets.push(socket) })
  await page.goto(url)
  await page.fill('[name=user]', user)
  await page.click('button')
  await page.waitForSelector('#members:not(:empty)')
  await page.waitForFunction(() => document.querySelector('#state').textContent === 'connected')
  return { page, context, errors, sockets }
}

async function say (page, text) {
  await page.fill('#text', text)
  await page.press('#text', 'Enter')
}

/** Publishes without the page's client, which would not send such a thing. */
function publish ({ page, sockets }, id, body) {
  return page.evaluate(({ url, id, body }) => new Promise((resolve, reject) => {
    const socket = new WebSocket(url)
    const send = frame => socket.send(JSON.stringify(frame))
    socket.onopen = () => { send({ type: 'join', ref: 1, room: 'lobby' }); send({ type: 'publish', id, room: 'lobby', body }) }
    socket.onclose = () => reject(new Error('closed'))
    socket.onmessage = ({ data }) => {
      const { type } = JSON.parse(data)
      if (type === 'error') reject(new Error(data))
      if (type !== 'ack') return
      resolve()
      socket.close()
    }
  }), { url: sockets[0].url(), id, body })
}

test('two people talk, and what they said is in the first paint', { timeout: 4 * patience }, async t => {
  const url = await start(t, 'start')
  const alice = await enter(t, url, 'alice')
  const bob = await enter(t, url, 'bob')
  for (const { page } of [alice, bob]) await page.getByText('2 here').waitFor()

  await alice.page.type('#text', 'Good')
  await bob.page.getByText('alice …').waitFor()
  await say(alice.page, 'Good morning')
  await bob.page.locator('#log li[data-seq]', { hasText: 'Good morning' }).waitFor()
  await alice.page.locator('#log li[data-status=saved][data-seq]', { hasText: 'Good morning' }).waitFor()
  await say(bob.page, 'And to you')
  await alice.page.locator('#log li[data-seq]', { hasText: 'And to you' }).waitFor()
  const expected = ['Good morning', 'And to you']
  for (const { page } of [alice, bob]) assert.deepEqual(await page.locator('#log li span').allTextContents(), expected)

  const html = await (await alice.context.request.get(url)).text()
  for (const text of expected) assert.match(html, new RegExp(`<span>${text}</span>`), 'rendered by the server')
  const stranger = await (await fetch(url)).text()
  assert.doesNotMatch(stranger, /Good morning/, 'and only for who is logged in')
  await alice.page.reload()
  await alice.page.waitForSelector('#members:not(:empty)')
  assert.deepEqual(await alice.page.locator('#log li span').allTextContents(), expected, 'each once')
  assert.deepEqual([...alice.errors, ...bob.errors], [])
})

test('whatever somebody sends takes down nobody, and of two who use one id both are read', { timeout: 4 * patience }, async t => {
  const url = await start(t, 'dev') // where React warns of keys that are there twice
  const alice = await enter(t, url, 'alice')
  const bob = await enter(t, url, 'bob')
  const id = n => `019ab8c0-0000-7000-8000-00000000000${n}`
  for (const [n, body] of [{ text: { not: 'text' } }, { text: ['nor', 'this'] }, { text: 5 }, null, 'words', []].entries()) await publish(bob, id(n), body)
  await say(bob.page, 'still here')
  const expected = ['', '', '', '', '', '', 'still here']
  for (const { page } of [alice, bob]) {
    await page.locator('#log li[data-seq]', { hasText: 'still here' }).waitFor()
    assert.deepEqual(await page.locator('#log li span').allTextContents(), expected)
  }

  // The hub remembers for some time which ids are taken. Here it has forgotten: each message has a twin.
  await alice.page.routeWebSocket(/\/ws$/, page => {
    const hub = page.connectToServer()
    hub.onMessage(text => {
      page.send(text)
      const frame = JSON.parse(text)
      if (frame.type === 'message' && frame.sender === 'alice') page.send(JSON.stringify({ ...frame, seq: frame.seq + 1, sender: 'mallory', body: { text: 'not of alice' } }))
    })
  })
  await alice.page.reload() // and Next.js renders what there is
  await alice.page.waitForSelector('#members:not(:empty)')
  assert.deepEqual(await alice.page.locator('#log li span').allTextContents(), expected)
  await say(alice.page, 'of alice')
  await alice.page.locator('#log li[data-seq]', { hasText: 'not of alice' }).waitFor()
  assert.deepEqual((await alice.page.locator('#log li span').allTextContents()).slice(-2), ['of alice', 'not of alice'])
  const twice = 'closed before the connection' // of effects that run twice
  assert.deepEqual([...alice.errors, ...bob.errors].filter(e => !e.includes(twice)), [])
})

test('effects that run twice leave one connection, and every message once', { timeout: 4 * patience }, async t => {
  const url = await start(t, 'dev')
  const { page, sockets, errors } = await enter(t, url, 'alice')
  await say(page, 'once')
  await page.locator('#log li[data-status=saved][data-seq]').waitFor()
  assert.equal(sockets.length, 2, 'React did run them twice')
  while (!sockets[0].isClosed()) await page.waitForTimeout(50)
  assert.ok(!sockets[1].isClosed())
  assert.deepEqual(await page.locator('#log li span').allTextContents(), ['once'])
  assert.deepEqual(errors.filter(e => !e.includes('closed before the connection')), [])
})
