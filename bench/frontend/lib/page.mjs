// One page in Chromium: what it loads, when it paints, how fast a message shows, what 200 messages cost.
import { logIn, prose } from './talk.mjs'

/** Runs in the page, before anything of its own. Times are ms since the navigation began. */
function watch ({ live, row, saved }) {
  const seen = window.evaluation = { fcp: 0, lcp: 0, live: 0, tasks: [], waiting: null }
  const observe = (type, f) => new PerformanceObserver(list => list.getEntries().forEach(f)).observe({ type, buffered: true })
  observe('paint', e => { if (e.name === 'first-contentful-paint') seen.fcp = e.startTime })
  observe('largest-contentful-paint', e => { seen.lcp = e.startTime })
  observe('longtask', e => seen.tasks.push({ start: e.startTime, ms: e.duration }))
  addEventListener('keydown', e => { if (e.key === 'Enter' && seen.waiting) seen.waiting.start ??= e.timeStamp }, true)

  function look () {
    if (!seen.live && document.querySelector(live)) seen.live = performance.now()
    const { waiting } = seen
    if (!waiting?.start) return
    for (const li of [...document.querySelectorAll(row)].slice(-5)) {
      if (!li.textContent.includes(waiting.text)) continue
      waiting.echo ??= performance.now() - waiting.start
      if (li.matches(saved) || li.querySelector(saved)) waiting.saved ??= performance.now() - waiting.start
    }
  }
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true })
}

export const blocked = tasks => tasks.reduce((sum, { ms }) => sum + Math.max(0, ms - 50), 0)

/** Opens the page as user, with nothing cached. */
export async function open (browser, target, { cpu = 1, user = 'viewer' } = {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 800 }, bypassCSP: true }) // waiting for a function evals it
  const { hostname } = new URL(target.url)
  await context.addCookies((await logIn(target, user)).map(c => {
    const at = c.indexOf('=')
    return { name: c.slice(0, at), value: c.slice(at + 1), domain: hostname, path: '/' }
  }))
  const page = await context.newPage()
  const errors = []
  page.on('pageerror', err => errors.push(err.message))
  const cdp = await context.newCDPSession(page)
  const bytes = { script: 0, document: 0, stylesheet: 0, other: 0, total: 0, requests: 0 }
  const frames = { count: 0, bytes: 0 }
  const types = new Map()
  cdp.on('Network.responseReceived', e => types.set(e.requestId, e.type.toLowerCase()))
  cdp.on('Network.loadingFinished', e => { // body and head, as they were on the wire
    const type = types.get(e.requestId)
    bytes[type in bytes ? type : 'other'] += e.encodedDataLength
    bytes.total += e.encodedDataLength
    bytes.requests++
  })
  cdp.on('Network.webSocketFrameReceived', e => { frames.count++; frames.bytes += e.response.payloadData.length })
  await cdp.send('Network.enable')
  await cdp.send('Performance.enable')
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: cpu })
  await page.addInitScript(watch, { live: target.live, row: target.row, saved: target.saved })
  const busy = async () => {
    const { metrics } = await cdp.send('Performance.getMetrics')
    return metrics.find(m => m.name === 'TaskDuration').value * 1000
  }
  await page.goto(target.url, { waitUntil: 'load' })
  await page.waitForFunction(() => window.evaluation.live, null, { timeout: 20_000, polling: 20 }).catch(async err => {
    throw Error(`${target.url} is not live, ${frames.count} frames came: ${await page.innerText('body')}`, { cause: err })
  })
  return { page, cdp, bytes, frames, busy, errors, close: () => context.close() }
}

/** Everything about one load, as flat figures. */
export async function visit (browser, target, talk, { cpu, messages = 200, rate = 100 }) {
  const opened = await open(browser, target, { cpu })
  const { page, bytes, frames, busy } = opened
  try {
    await page.waitForTimeout(700) // what comes after the first paint, such as chunks that are fetched ahead
    const { fcp, lcp, live, tasks } = await page.evaluate(() => window.evaluation)
    if (!fcp || !lcp) throw Error('nothing was painted')
    const result = {
      'JS, bytes': bytes.script, 'HTML, bytes': bytes.document, 'all, bytes': bytes.total, requests: bytes.requests,
      'FCP, ms': fcp, 'LCP, ms': lcp, 'live, ms': live,
      'load: main thread, ms': await busy(), 'load: blocking, ms': blocked(tasks), 'load: long tasks': tasks.length
    }
    const echo = await type(page, target, 3)
    result['echo, ms'] = echo.echo
    result['saved, ms'] = echo.saved

    const before = { busy: await busy(), bytes: frames.bytes, tasks: await page.evaluate(() => window.evaluation.tasks.length) }
    const name = 'flood' + Math.random().toString(36).slice(2)
    await talk.say(prose(messages, name), rate)
    await page.waitForFunction(([row, last]) => // a page may have let the first ones go
      [...document.querySelectorAll(row)].some(li => li.textContent.includes(last)), [target.row, `${name}-${messages - 1} `], { polling: 100, timeout: 20_000 })
    await page.waitForTimeout(200)
    const flood = (await page.evaluate(() => window.evaluation.tasks)).slice(before.tasks)
    result['200 messages: main thread, ms'] = await busy() - before.busy
    result['200 messages: blocking, ms'] = blocked(flood)
    result['200 messages: long tasks'] = flood.length
    result['200 messages: frames, bytes'] = frames.bytes - before.bytes
    if (opened.errors.length) throw Error(opened.errors.join('\n'))
    return result
  } finally {
    await opened.close()
  }
}

/** The median of times messages that are typed and sent with Enter. */
async function type (page, target, times) {
  const echos = []
  const saves = []
  for (let i = 0; i < times; i++) {
    const text = 'typed-' + Math.random().toString(36).slice(2)
    await page.focus(target.input)
    await page.keyboard.type(text)
    await page.evaluate(text => { window.evaluation.waiting = { text } }, text)
    await page.keyboard.press('Enter')
    await page.waitForFunction(() => window.evaluation.waiting.saved, null, { timeout: 10_000, polling: 20 })
    const { echo, saved } = await page.evaluate(() => window.evaluation.waiting)
    echos.push(echo)
    saves.push(saved)
    await page.waitForTimeout(100)
  }
  return { echo: median(echos), saved: median(saves) }
}

export function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}
