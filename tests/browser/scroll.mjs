// How smoothly a room of a thousand messages scrolls on a slow machine: from the newest message to the first one, with
// the CPU slowed down four times, beside a plain page of the same lines that only scrolls. As a program it prints the
// figures:
//
//	node scroll.mjs [rounds]

import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { lines, world } from './chat.mjs';

export const MESSAGES = 1_000;
const SLOWER = 4;
const STEP = 300; // px of one turn of the wheel
const LONG = 50; // ms, from which a task is called long

const text = (line, i) => `${line}${i % 7 ? '' : `, see https://example.org/${i}`}${' and then some more words'.repeat(i % 5)}`;

// scrollWorld has the room "thousand".
export const scrollWorld = () => world({
  past: lines(1, MESSAGES).map((line, i) => ({ room: 'thousand', sender: ['alice', 'bob', 'carol'][(i >> 2) % 3], text: text(line, i) })),
});

// chat scrolls the room up, all of it.
export async function chat(w) {
  const alice = await w.person('alice');
  await alice.logIn('?room=thousand');
  await alice.message(`line ${MESSAGES} of many`).waitFor();
  await alice.page.evaluate(() => {
    window.added = 0; // at once, at most
    const count = (records) => (window.added = Math.max(window.added, records.reduce((n, r) => n + r.addedNodes.length, 0)));
    new MutationObserver(count).observe(document.getElementById('messages'), { childList: true });
  });
  const figures = await record(w.browser, alice.page, 'log', () => document.querySelector('#messages .bubble').textContent.startsWith('line 1 of many'));
  figures.added = await alice.page.evaluate(() => window.added);
  figures.layers = await alice.page.evaluate(() => [...document.querySelectorAll('#messages .message *:not(.ticks)')].filter((e) => {
    const { overflow, position, clipPath, contain } = getComputedStyle(e);
    return e.checkVisibility() && (overflow !== 'visible' || position !== 'static' || clipPath !== 'none' || contain !== 'none');
  }).length);
  figures.mine = await alice.page.locator('#messages .mine').count();
  await alice.context.close();
  return figures;
}

// plain scrolls a page that has all the lines from the start, and no script.
export async function plain(w) {
  const context = await w.browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  await page.setContent(`<!doctype html><style>ol { height: 600px; overflow: auto } li { padding: 6px 12px; margin: 3px; background: #eee }</style><ol id="log">${
    lines(1, MESSAGES).map((line, i) => `<li>${text(line, i)}</li>`).join('')}</ol>`);
  await page.locator('#log').evaluate((log) => (log.scrollTop = log.scrollHeight));
  const figures = await record(w.browser, page, 'log', () => document.getElementById('log').scrollTop <= 0);
  await context.close();
  return figures;
}

// record turns the wheel, once a frame, until done says in the page that the first line is there.
async function record(browser, page, id, done) {
  const cdp = await page.context().newCDPSession(page);
  await page.locator(`#${id}`).hover();
  const { x, y } = await page.locator(`#${id}`).evaluate((e) => ({ x: e.getBoundingClientRect().left + 60, y: e.getBoundingClientRect().top + 60 }));
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: SLOWER });
  await browser.startTracing(page, { categories: ['-*', 'toplevel', 'disabled-by-default-devtools.timeline', '__metadata'] });
  const start = performance.now();
  let turns = 0;
  for (; turns < 1_000 && !(turns % 5 === 0 && await page.evaluate(done)); turns++) {
    await cdp.send('Input.dispatchMouseEvent', { type: 'mouseWheel', x, y, deltaX: 0, deltaY: -STEP });
  }
  const took = performance.now() - start;
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: 1 });
  const tasks = tasksOf(traceEvents);
  return { turns, seconds: round(took / 1_000), tasks: tasks.length, longest: round(tasks[0] ?? 0), long: tasks.filter((ms) => ms > LONG).map(round) };
}

const round = (n) => Math.round(n * 10) / 10;

// tasksOf gives how much CPU time the tasks of the main threads of pages took, in ms, longest first. Unlike the time on
// the clock it does not grow with what else the machine has to do.
function tasksOf(events) {
  const main = new Set(events.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map((e) => `${e.pid} ${e.tid}`));
  return events.filter((e) => e.name === 'ThreadControllerImpl::RunTask' && e.ph === 'X' && main.has(`${e.pid} ${e.tid}`)).map((e) => e.tdur / 1_000).sort((a, b) => b - a);
}

if (import.meta.url === pathToFileURL(path.resolve(process.argv[1])).href) {
  const w = await scrollWorld();
  try {
    for (let n = Number(process.argv[2] ?? 3); n > 0; n--) {
      for (const [name, run] of Object.entries({ plain, chat })) console.log(name, JSON.stringify(await run(w)));
    }
  } finally {
    await w.stop();
  }
}
