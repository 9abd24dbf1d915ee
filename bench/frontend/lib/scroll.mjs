// A room of 1,000 messages, scrolled up through all of it at a quarter of the CPU.
import { open } from './page.mjs'
import { prose } from './talk.mjs'

/**
 * Wheels up until messages rows were seen, or nothing new came for 3 s. A page that cannot load what is older
 * (target.paged is false) is given the messages live first. Tasks are those of the renderer's main thread, by tracing.
 */
export async function scroll (browser, target, talk, { cpu = 4, messages = 1000 }) {
  const opened = await open(browser, target, { cpu: 1 })
  const { page, cdp } = opened
  try {
    if (!target.paged) {
      await talk.say(prose(messages, 'scroll'))
      await page.waitForFunction(([row, n]) => document.querySelectorAll(row).length >= n, [target.row, messages], { polling: 200, timeout: 30_000 })
    }
    await page.waitForTimeout(500)
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: cpu })
    await page.hover(target.scroller)
    await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'] })
    const seen = new Set()
    let news = performance.now()
    const begun = news
    while (seen.size < messages && performance.now() - news < 3000) {
      await page.mouse.wheel(0, -600)
      await page.waitForTimeout(60)
      const before = seen.size
      for (const key of await visible(page, target)) seen.add(key)
      if (seen.size > before) news = performance.now()
    }
    const took = performance.now() - begun
    const tasks = mainThread(JSON.parse((await browser.stopTracing()).toString()))
    return {
      'rows seen': seen.size, 'scroll took, ms': took, 'scroll: tasks': tasks.length,
      'scroll: longest task, ms': Math.max(0, ...tasks), 'scroll: tasks > 50 ms': tasks.filter(ms => ms > 50).length
    }
  } finally {
    await opened.close()
  }
}

// The rows that a reader could see, by seq where they tell it, else by text.
const visible = (page, { row, scroller }) => page.evaluate(([row, scroller]) => {
  const { top, bottom } = document.querySelector(scroller).getBoundingClientRect()
  return [...document.querySelectorAll(row)].filter(li => {
    const box = li.getBoundingClientRect()
    return box.bottom > top && box.top < bottom
  }).map(li => li.dataset.seq ?? li.textContent)
}, [row, scroller])

/** ms of each task of the busiest renderer's main thread. */
function mainThread ({ traceEvents }) {
  const mains = new Set(traceEvents.filter(e => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map(e => e.pid + ':' + e.tid))
  const by = new Map()
  for (const { name, ph, pid, tid, dur = 0 } of traceEvents) {
    const key = pid + ':' + tid
    if (ph !== 'X' || !mains.has(key) || !/(^|::)RunTask$/.test(name)) continue
    if (!by.has(key)) by.set(key, new Map())
    const ofName = by.get(key)
    ofName.set(name, [...ofName.get(name) ?? [], dur / 1000])
  }
  const lists = [...by.values()].flatMap(m => [m.get('RunTask') ?? [...m.values()][0]])
  const sum = list => list.reduce((a, b) => a + b, 0)
  const busiest = lists.sort((a, b) => sum(b) - sum(a))[0]
  if (!busiest?.length) throw Error('the trace has no tasks')
  return busiest
}
