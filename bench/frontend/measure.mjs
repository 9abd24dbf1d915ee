// Measures pages of a chat in Chromium, in turns. README.md says what, and how to read it.
//
//   node measure.mjs                              the three pages of this evaluation
//   node measure.mjs --url http://127.0.0.1:8080/ any other page; see --help for its selectors
import { mkdtempSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { buildGo, buildNext, candidates, ours, resident } from './lib/candidates.mjs'
import { builds } from './lib/builds.mjs'
import { open, visit } from './lib/page.mjs'
import { scroll } from './lib/scroll.mjs'
import { sizes } from './lib/size.mjs'
import { print } from './lib/table.mjs'
import { prose, talkers } from './lib/talk.mjs'

const options = {
  help: ['', 'this list'],
  phase: ['load', 'load, scroll, memory, build or size'],
  rounds: ['7', 'each page so often, in turns'],
  cpu: ['1,4', 'how many times slower than it is; for load'],
  only: ['templ,next,htmx', 'which of ours'],
  pages: ['50', 'open pages; for memory'],
  out: ['', 'a JSON file to which the figures are added; all of them are printed'],
  skip: ['', 'anything: what was built last is measured'],
  url: ['', 'another page, which runs already'],
  login: ['/login', 'where a name is posted, as a form; its answer sets the cookies'],
  field: [ours.field, 'the name of that field'],
  ws: ['/ws', 'where its hub is'],
  room: [ours.room, 'the room that is on show'],
  seed: ['1000', 'messages to put into the room first'],
  pid: ['', 'its process, for memory'],
  row: [ours.row, 'a message, while it is sent as well'],
  saved: [ours.saved, 'a message, or something in it, that is stored'],
  input: [ours.input, 'where one types'],
  live: [ours.live, 'what is there once the page is connected'],
  scroller: [ours.scroller, 'what scrolls']
}
const { values: args } = parseArgs({ options: Object.fromEntries(Object.keys(options).map(name => [name, name === 'help' ? { type: 'boolean' } : { type: 'string', default: options[name][0] }])) })
if (args.help) {
  for (const [name, [value, text]] of Object.entries(options)) console.log(`--${name.padEnd(9)} ${text}${value && `; default: ${value}`}`)
  process.exit()
}

const dir = mkdtempSync(join(tmpdir(), 'gohub-front-end-'))
const ending = [() => rmSync(dir, { recursive: true })]
const names = args.url ? ['page'] : args.only.split(',')

async function start (name) {
  if (!args.url) return candidates[name](dir)
  const at = path => new URL(path, args.url).href
  return { ...args, paged: true, login: at(args.login), ws: at(args.ws).replace('http', 'ws'), pids: () => [Number(args.pid)], stop () {} }
}

const browse = () => chromium.launch({
  executablePath: process.env.GOHUB_CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking']
})

/** Starts all, fills their rooms and calls f for each, in turns; figures of a turn are one column's samples. */
async function inTurns (f) {
  const running = []
  for (const name of names) {
    const target = await start(name)
    ending.push(target.stop)
    const talk = await talkers(target, 10)
    ending.push(talk.close)
    await talk.say(prose(Number(args.seed)))
    running.push({ name, target, talk, samples: [] })
  }
  const browser = await browse()
  ending.push(() => browser.close())
  for (const { target, talk } of running) await visit(browser, target, talk, { cpu: 1 }) // nobody is cold
  for (let round = 0; round < Number(args.rounds); round++) {
    const order = [...running.slice(round % running.length), ...running.slice(0, round % running.length)]
    for (const { target, talk, samples } of order) samples.push(await f(browser, target, talk))
  }
  return Object.fromEntries(running.map(({ name, samples }) => [name, samples]))
}

const phases = {
  async load () {
    const all = {}
    for (const cpu of args.cpu.split(',').map(Number)) {
      all[`load at ${cpu}x`] = await inTurns((browser, target, talk) => visit(browser, target, talk, { cpu }))
    }
    return all
  },
  async scroll () {
    return { 'scroll at 4x': await inTurns((browser, target, talk) => scroll(browser, target, talk, { cpu: 4 })) }
  },
  /** A server that has just begun, with its room filled; then with open pages; then when 200 messages have come to each. */
  async memory () {
    const samples = Object.fromEntries(names.map(name => [name, []]))
    const browser = await browse()
    ending.push(() => browser.close())
    for (let round = 0; round < Number(args.rounds); round++) {
      for (const name of names) {
        const target = await start(name)
        ending.push(target.stop)
        const talk = await talkers(target, 10)
        await talk.say(prose(Number(args.seed)))
        await new Promise(resolve => setTimeout(resolve, 1000))
        const figures = { 'idle, MB': resident(target.pids()) / 1e6 }
        const pages = []
        while (pages.length < Number(args.pages)) { // some at a time: it is their number that counts
          pages.push(...await Promise.all([1, 2, 3, 4, 5].map(i => open(browser, target, { user: `viewer-${pages.length}-${i}` }))))
        }
        figures[args.pages + ' pages, MB'] = resident(target.pids()) / 1e6
        await talk.say(prose(200, 'flood'), 100)
        figures['after 200 messages, MB'] = resident(target.pids()) / 1e6
        samples[name].push(figures)
        await Promise.all(pages.map(page => page.close()))
        talk.close()
        await target.stop()
      }
    }
    return { memory: samples }
  },
  build: async () => ({ build: builds(dir, Number(args.rounds)) }),
  size: async () => ({ size: sizes() })
}

async function endAll () {
  for (const end of ending.splice(0).reverse()) await end()
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => endAll().finally(() => process.exit(1)))

try {
  if (!args.url && !['build', 'size'].includes(args.phase)) {
    for (const name of ['templ', 'htmx', 'hub']) buildGo(dir, name)
    if (!args.skip) buildNext()
  }
  const figures = await phases[args.phase]()
  if (args.out) {
    const old = existsSync(args.out) ? JSON.parse(readFileSync(args.out, 'utf8')) : {}
    for (const [title, columns] of Object.entries(figures)) {
      old[title] ??= {}
      for (const [name, samples] of Object.entries(columns)) old[title][name] = [...old[title][name] ?? [], ...samples]
    }
    writeFileSync(args.out, JSON.stringify(old, null, 1))
    print(Object.fromEntries(Object.keys(figures).map(title => [title, old[title]])))
  } else {
    print(figures)
  }
} finally {
  await endAll()
}
