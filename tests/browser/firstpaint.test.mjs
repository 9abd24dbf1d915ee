// The first view of examples/chat: without JavaScript, small, from its own server alone; and in German.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { saidBy, until, world } from './chat.mjs';

const MOST = 60_000; // bytes of a first view
const LAZY = 6_000; // bytes of what comes after it
const vocabulary = 'time people way water words first little work know place year live back give most very after things our just name good sentence man think say great where help through much before line right too means old any same tell boy follow came want show also around form three small set put end does another well large must big even such because turn here why ask went men read need land different home us move try kind hand picture again change off play spell air away animal house point page letter mother answer found study still learn should'.split(' ');
// long is one of 50 messages of 40 words each, as people who have much to say write them.
const long = (i) => Array.from({ length: 40 }, (_, j) => vocabulary[(i * i * 31 + j * j * 7 + i * j) % vocabulary.length]).join(' ');

let w, bob, later;

before(async () => {
  later = (await readdir(path.join(import.meta.dirname, '../../examples/chat/web'))).filter((name) => name.startsWith('lazy-'));
  w = await world();
  bob = await w.bot('bob');
  await saidBy(bob, 'general', ...Array.from({ length: 60 }, (_, i) => `message ${i + 1}: ${'some words that nobody needs to read, '.repeat(i % 4)}done`));
  await saidBy(bob, 'random', 'over there');
  await saidBy(bob, 'wordy', ...Array.from({ length: 50 }, (_, i) => long(i)));
});

after(() => w?.stop());

test('without JavaScript one can log in, read, go to rooms and to earlier messages, change settings, and log out', async () => {
  const nora = await w.person('nora', { javaScriptEnabled: false });
  const { page } = nora;
  await page.goto(nora.at);
  await page.getByLabel('Your name').fill('nora');
  await page.getByRole('button', { name: 'Log in' }).click();
  await nora.titled('general');
  const texts = await nora.texts();
  assert.equal(texts.length, 50);
  assert.match(texts.at(-1), /^message 60: /);
  assert.ok(await nora.messages.last().evaluate((m) => m.getBoundingClientRect().bottom <= innerHeight), 'the newest one is in view');
  await page.locator('noscript p', { hasText: 'need JavaScript' }).waitFor();
  assert.ok(await page.locator('#send').isDisabled(), 'what would not work is not offered');
  assert.match(await page.title(), /#general/);

  await page.getByRole('button', { name: 'Show earlier messages' }).click();
  await nora.message(/^.*message 1: /).first().waitFor();
  await nora.entry('random').click();
  await nora.titled('random');
  await nora.message('over there').waitFor();
  await page.getByLabel('Join or start a room').fill('elsewhere');
  await page.keyboard.press('Enter');
  await nora.titled('elsewhere');

  await page.getByRole('button', { name: 'Settings' }).click();
  const settings = page.getByRole('dialog', { name: 'Settings' });
  await settings.getByLabel('Dark').check();
  await settings.getByLabel('Language').selectOption('de');
  await settings.getByRole('button', { name: 'Apply' }).click();
  await page.locator('html[lang=de][data-theme=dark]').waitFor({ state: 'attached' });
  await nora.titled('elsewhere');
  await page.getByRole('button', { name: 'Abmelden' }).click();
  await page.getByLabel('Dein Name').waitFor();
});

for (const room of ['general', 'wordy']) test(`the first view of #${room} takes ${MOST} bytes at most, and one server`, async () => {
  const ada = await (await w.person('ada')).logIn(`?room=${room}`);
  const cdp = await ada.context.newCDPSession(ada.page);
  await cdp.send('Network.enable');
  await cdp.send('Network.clearBrowserCache');
  const urls = new Map(), sizes = new Map();
  cdp.on('Network.requestWillBeSent', ({ requestId, request, type }) => {
    if (type === 'Document') for (const of of [urls, sizes]) of.clear(); // what still came of the page before
    urls.set(requestId, request.url);
  });
  cdp.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => urls.has(requestId) && sizes.set(requestId, encodedDataLength));
  await ada.reload();
  const isLazy = ([url]) => /\/lazy-\w+\.js$/.test(url);
  const come = () => [...sizes].map(([id, size]) => [urls.get(id), size]);
  await until(() => come().filter(isLazy).length === later.length, 'what comes later has come');
  await ada.page.waitForLoadState('networkidle');
  const all = come();
  const sum = (some) => some.reduce((sum, [, size]) => sum + size, 0);
  const first = all.filter((one) => !isLazy(one));
  const [total, lazy] = [sum(first), sum(all.filter(isLazy))];
  const table = all.sort((a, b) => b[1] - a[1]).map(([url, size]) => `${size} ${url}`).join('\n');
  assert.ok(all.some(([url]) => url.endsWith('app.js')) && all.some(([url]) => url.endsWith('style.css')), table);
  assert.ok(total > 10_000, `${total} bytes: not out of the cache\n${table}`);
  assert.ok(total <= MOST, `${total} bytes\n${table}`);
  assert.ok(lazy <= LAZY, `${lazy} bytes later\n${table}`);
  console.log(`first view of #${room}: ${total} bytes in ${first.length} files, then ${lazy} in ${all.length - first.length}`);
  assert.deepEqual(ada.strangers, []);
  const timing = await ada.page.evaluate(() => performance.getEntriesByType('resource').filter((r) => !r.name.startsWith(location.origin)).map((r) => r.name));
  assert.deepEqual(timing, []);
});

test('the script takes over what the server made without a flicker', async () => {
  const bea = await w.person('bea');
  await bea.logIn();
  await bea.page.addInitScript(() => {
    window.changes = [];
    new MutationObserver((list) => {
      for (const m of list) {
        for (const e of m.removedNodes) if (e.nodeType === 1 && e.matches?.('.message, .day, .room, .person')) window.changes.push(`- ${e.className} ${e.textContent.trim().slice(0, 40)}`);
      }
    }).observe(document, { childList: true, subtree: true });
    const shifts = [];
    window.shifts = shifts;
    new PerformanceObserver((list) => shifts.push(...list.getEntries().map((e) => e.value))).observe({ type: 'layout-shift', buffered: true });
  });
  await bea.reload();
  await saidBy(bob, 'general', 'the first one live');
  await bea.message('the first one live').waitFor();
  assert.deepEqual(await bea.page.evaluate(() => window.changes), [], 'nothing that the server made is thrown away');
  const shifted = await bea.page.evaluate(() => window.shifts.reduce((a, b) => a + b, 0));
  assert.ok(shifted < 0.1, `layout shift ${shifted}`); // what the web calls good
});

test('of a page that is still coming nothing is seen: it would jump', async () => {
  const lea = await w.person('lea', { javaScriptEnabled: false });
  const { page } = lea;
  await page.goto(lea.at);
  await page.getByLabel('Your name').fill('lea');
  await page.getByRole('button', { name: 'Log in' }).click();
  await lea.message('message 60: ').waitFor();
  const whole = await (await lea.context.request.get(lea.at)).text();
  await page.route(({ pathname }) => pathname === '/', (route) => route.fulfill({ contentType: 'text/html', body: whole.slice(0, whole.indexOf('message 50: ')) }));
  await page.goto(lea.at);
  assert.match((await lea.texts()).at(-2), /^message 49: /);
  assert.equal(await lea.messages.first().isVisible(), false);
});

test('with the refresh cookie alone there is a frame, which the script fills, or a button', async () => {
  const expire = async ({ context }) => {
    const access = (await context.cookies()).find(({ name, httpOnly }) => httpOnly && !name.endsWith('-refresh'));
    await context.clearCookies({ name: access.name });
  };
  const fred = await (await w.person('fred')).logIn();
  await fred.message(/message 60: /).waitFor();
  await expire(fred);
  const html = await (await fred.context.request.get(fred.at)).text();
  assert.match(html, /"user":"fred"/);
  assert.doesNotMatch(html, /message 60|over there/);
  await fred.reload();
  await fred.message(/message 60: /).waitFor();
  await fred.entry('random').locator('.preview', { hasText: 'over there' }).waitFor();
  await fred.page.locator('#subtitle', { hasText: /\d+ (person|people) here/ }).waitFor();
  await fred.say('here again');
  await fred.saved('here again');

  const nell = await w.person('nell', { javaScriptEnabled: false });
  await nell.page.goto(nell.at);
  await nell.page.getByLabel('Your name').fill('nell');
  await nell.page.getByRole('button', { name: 'Log in' }).click();
  await nell.entry('random').click();
  await nell.message('over there').waitFor();
  await expire(nell);
  await nell.page.reload();
  await nell.titled('random');
  assert.equal(await nell.messages.count(), 0);
  await nell.page.getByRole('button', { name: 'Show the messages' }).click();
  await nell.message('over there').waitFor();
  assert.equal(new URL(nell.page.url()).search, '?room=random');
});

test('in German', async () => {
  const dora = await w.person('dora', { locale: 'de-DE', timezoneId: 'Europe/Berlin' });
  const { page } = dora;
  await page.goto(dora.at);
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'de');
  await page.getByLabel('Dein Name').fill('nicht erlaubt');
  await page.locator('#login form.card').evaluate((form) => (form.noValidate = true));
  dora.outage = true;
  await page.getByRole('button', { name: 'Anmelden' }).click();
  await page.getByRole('alert').filter({ hasText: 'Erlaubt sind' }).waitFor();
  await page.getByLabel('Dein Name').fill('dora');
  await page.getByRole('button', { name: 'Anmelden' }).click();
  await dora.connected();
  await page.getByLabel('Nachricht', { exact: true }).fill('Guten Tag');
  await page.getByRole('button', { name: 'Senden' }).click();
  await dora.saved('Guten Tag');
  await dora.message('Guten Tag').locator('.ticks', { hasText: /gespeichert|gelesen/ }).waitFor();
  await dora.page.locator('#messages .day', { hasText: 'Heute' }).waitFor();
  for (const [command, why] of [['/shurg', 'einen Befehl /shurg gibt es nicht; meintest du /shrug?'], ['/xyzzy', 'einen Befehl /xyzzy gibt es nicht; /help'], ['/msg', 'so geht es: /msg Name Text']]) {
    await dora.say(command);
    await page.locator('.failed .why', { hasText: `nicht gesendet: ${why}` }).waitFor();
    await page.getByRole('button', { name: 'Löschen' }).click();
  }
  await dora.say('/who');
  await dora.message(/\d hier: .*dora/).waitFor();
  await dora.say('/help');
  await dora.message('/msg Name Text: schreibt einer Person').waitFor();
  for (const p of w.people) p.outage = true;
  await w.server.stop();
  await dora.banner.getByText('Keine Verbindung. Nachrichten werden gesendet, sobald die Verbindung wieder steht.').waitFor();
  await dora.banner.getByRole('button', { name: 'Jetzt versuchen' }).waitFor();
  // No word of the other language is left where people read.
  const english = await page.evaluate(() => document.body.innerText.match(/\b(Rooms|People|Send|Settings|Message|Today|unread|online here|Leave|Log out)\b/g));
  assert.deepEqual(english, null);
});
