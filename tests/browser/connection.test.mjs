// Connections of examples/chat's page that end, in each of the ways in which connections end, and what comes of what was
// written meanwhile. Steps build on each other.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { shot, until, world } from './chat.mjs';
import { Wire } from './wire.mjs';

// The watchdog of the client (docs/sdk.md): it asks after so long without a frame, and waits so long for the answer.
const SILENCE = 25_000, ANSWER = 10_000, ASKED_BY_THE_BROWSER = 5_000; // ms
const SLACK = 25_000; // ms, of a busy machine; a watchdog that comes late asks a second time
const LATER = 90_000; // ms, in which the client surely tries again: 30 s are the most between two tries

let w, wire, alice, bob;

before(async () => {
  w = await world();
  wire = await new Wire().start(w.url);
  alice = await w.person('alice', { at: wire.url });
  await alice.logIn();
  [bob] = await w.here('bob');
  await bob.say('before all that');
  await bob.saved('before all that');
});

after(async () => {
  wire?.stop();
  await w?.stop();
});

// healed waits until a person is connected and the banner has gone.
async function healed(p) {
  await p.is('connected', { timeout: LATER });
  await p.banner.waitFor({ state: 'hidden' });
  await p.page.locator('#banner.on').waitFor({ state: 'detached' });
}

// waits until a message of alice says that it waits, in words.
const waits = (text) => alice.message(text).and(alice.page.locator('[data-state=waiting]')).getByText('waiting for a connection', { exact: true }).waitFor();

// once looks that a text is there exactly once, for both, after a reload, too.
async function once(text, after) {
  for (const p of [alice, bob]) {
    await p.message(after).waitFor(); // a second copy would be before it
    assert.equal(await p.message(text).count(), 1, `${text} is there once for ${p.name}`);
  }
}

test('a network that goes, by the DevTools protocol: the page says so, and sends what was written once it is back', async () => {
  const cdp = await alice.context.newCDPSession(alice.page);
  const network = (offline) => cdp.send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  alice.outage = true;
  wire.silent = wire.refuse = true; // the emulation leaves open WebSockets alone
  await network(true);
  await alice.is('offline', { timeout: ASKED_BY_THE_BROWSER + SLACK });
  await alice.banner.getByText('You are offline. Messages are sent once you are back.').waitFor();
  await alice.say('written offline');
  await waits('written offline');
  await bob.say('said meanwhile');
  await bob.saved('said meanwhile');
  await shot(alice.page, 'offline');
  await alice.listens();
  wire.silent = wire.refuse = false;
  wire.cut();
  await network(false);
  await healed(alice);
  alice.outage = false;
  await alice.saved('written offline');
  await bob.message('written offline').waitFor();
  await alice.message('said meanwhile').waitFor();
  await alice.heard('Connected again');
  await bob.say('after offline');
  await once('written offline', 'after offline');
});

test('a network that only says that it went breaks nothing', async () => {
  let sockets = 0;
  alice.page.on('websocket', () => sockets++);
  for (const offline of [true, false]) {
    // The page hears of it in its own time; listeners of the client come before this one.
    await alice.page.evaluate(() => { window.hears = new Promise((resolve) => { for (const name of ['offline', 'online']) addEventListener(name, resolve, { once: true }); }); });
    await alice.context.setOffline(offline);
    await alice.page.evaluate(() => window.hears.then(() => {}));
  }
  await alice.say('still here');
  await bob.message('still here').waitFor();
  await alice.saved('still here'); // whatever was asked has its answer
  assert.equal(sockets, 0, 'the connection was asked, and kept');
  await healed(alice);
});

test('a black hole is noticed within the time of the watchdog, and healed', { timeout: 200_000 }, async () => {
  alice.outage = true;
  wire.silent = wire.refuse = true;
  const start = Date.now();
  await alice.say('into the hole');
  await alice.message('into the hole').and(alice.page.locator('[data-state=sending]')).waitFor();
  await bob.say('on the other side');
  assert.equal(await alice.page.evaluate(() => document.documentElement.dataset.connection), 'connected', 'nobody knows yet');
  await alice.page.locator('html:not([data-connection=connected])').waitFor({ state: 'attached', timeout: SILENCE + ANSWER + SLACK });
  const took = Date.now() - start;
  assert.ok(took > ANSWER, `${took} ms: not by another sign`);
  await alice.banner.getByText('No connection. Messages are sent once it is back.').waitFor();
  await waits('into the hole');
  await alice.say('and one more');
  wire.silent = wire.refuse = false;
  await healed(alice);
  alice.outage = false;
  await bob.message('and one more').waitFor();
  await alice.message('on the other side').waitFor();
  await bob.say('after the hole');
  await once('into the hole', 'after the hole');
  await once('and one more', 'after the hole');
  const order = (await bob.texts()).filter((text) => ['into the hole', 'and one more'].includes(text));
  assert.deepEqual(order, ['into the hole', 'and one more']);
});

test('the banner counts down to the next try, and "Try now" does not wait for it', async () => {
  const way = await new Wire().start(w.url);
  const carol = await w.person('carol', { at: way.url });
  const { page } = carol;
  await page.addInitScript(() => { Math.random = () => 0.99; }); // of the times that it may wait, the longest
  await page.clock.install();
  await carol.logIn();
  carol.outage = true;
  await page.clock.pauseAt(Date.now() + 60_000); // from here on no time passes by itself
  way.refuse = true;
  way.cut();
  const left = async () => Number((await page.locator('#banner-wait').textContent()).match(/Next try in (\d+) s/)?.[1] ?? 0);
  await until(async () => {
    await page.clock.runFor(1_000);
    return await left() >= 5;
  }, 'after some tries the time between them is long');
  const first = await left();
  await page.clock.runFor(2_000);
  assert.equal(await left(), first - 2, 'it counts down');
  way.refuse = false;
  await page.getByRole('button', { name: 'Try now' }).click();
  await healed(carol);
  assert.ok(await carol.box.evaluate((e) => e === document.activeElement), 'the focus is not lost with the button');
  await carol.context.close();
  way.stop();
});

for (const signal of ['SIGKILL', 'SIGTERM']) {
  test(`the server ends by ${signal} and comes back: both see it and talk on`, async () => {
    for (const p of [alice, bob]) p.outage = true;
    await w.server.stop(signal);
    for (const p of [alice, bob]) await p.banner.getByText('No connection.').waitFor();
    const unheard = `written after ${signal}`;
    await alice.say(unheard);
    await waits(unheard);
    await w.server.start();
    // The first time both come back by themselves. The second time so soon they would wait longer, and do not want to.
    for (const p of signal === 'SIGTERM' ? [alice, bob] : []) await p.reconnects();
    for (const p of [alice, bob]) {
      await healed(p);
      p.outage = false;
    }
    await bob.message(unheard).waitFor();
    await alice.saved(unheard);
    const answer = `heard after ${signal}`;
    await bob.say(answer);
    await alice.message(answer).waitFor();
    await bob.saved(answer);
    assert.equal(await bob.message('before all that').count(), 1, 'what was on screen stays');
  });
}

test('what is unsent outlives a reload, and goes out once', async () => {
  alice.outage = true;
  wire.silent = true;
  for (const text of ['kept one', 'kept two']) await alice.say(text);
  await until(async () => (await alice.unsent()).length === 2, 'both are kept');
  wire.silent = false;
  wire.cut();
  await alice.page.reload();
  await healed(alice);
  alice.outage = false;
  await bob.message('kept two').waitFor();
  await alice.saved('kept two');
  await bob.say('after the reload');
  for (const text of ['kept one', 'kept two']) await once(text, 'after the reload');
});

test('SIGTERM ends the server cleanly', async () => {
  for (const p of [alice, bob]) p.outage = true;
  assert.equal(await w.server.stop('SIGTERM'), 0, w.server.log);
  await alice.banner.getByText('No connection.').waitFor();
});
