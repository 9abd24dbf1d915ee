// The JavaScript client in a browser: a page without any build that chats, an
// outbox that outlives the page, and connections that die without a word.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

import { until } from './chat.mjs';
import { browserOptions, environment, tempDir } from './server.mjs';
import { Wire } from './wire.mjs';

let temp, child, port, browser;

before(async () => {
  temp = await tempDir();
  const binary = path.join(temp.dir, 'page');
  await promisify(execFile)('go', ['build', '-o', binary, './examples/page'], { cwd: path.resolve(import.meta.dirname, '../..') });
  child = spawn(binary, ['-addr', '127.0.0.1:0'], { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface(child.stdout), 'line');
  port = Number(new URL(line.match(/http:\S+/)[0]).port);
  browser = await chromium.launch(browserOptions);
});

after(async () => {
  await browser?.close();
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  assert.equal((await exit)[0], 0);
  await temp.remove();
});

async function world(t) {
  const wire = await new Wire().start(`http://127.0.0.1:${port}`);
  const context = await browser.newContext();
  const other = await browser.newContext();
  t.after(async () => {
    await context.close();
    await other.close();
    wire.stop();
  });
  return { wire, context, other };
}

// open is the page of a user, once it is connected.
async function open(context, url, user) {
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (err) => page.problems.push(err.message));
  await page.goto(new URL(`/?user=${user}`, url).href);
  await state(page, 'connected');
  return page;
}

const state = (page, name) => page.waitForFunction((name) => document.getElementById('state').textContent === name, name, { timeout: 60_000 });
const say = async (page, text) => {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
};
const reads = (page, lines) => page.waitForFunction(
  (lines) => [...document.querySelectorAll('#log li')].map((li) => li.textContent.trim()).join('|') === lines, lines.join('|'))
  .catch(async (err) => { throw new Error(`${await page.innerText('#log')}\n\nis not ${lines}`, { cause: err }); });

// kept is what the browser keeps of unsent messages: text and owner. It comes there a moment after it is on screen.
const kept = (page) => page.evaluate(async () => {
  const [{ name }] = await indexedDB.databases();
  const db = await new Promise((resolve) => { indexedDB.open(name).onsuccess = (e) => resolve(e.target.result); });
  const all = await new Promise((resolve) => { db.transaction('outbox').objectStore('outbox').getAll().onsuccess = (e) => resolve(e.target.result); });
  db.close();
  return all.map((m) => [m.body.text, m.owner]);
});

// Each test has the room as the last one left it.
const said = [];

test('a page of 60 lines without any build chats', async (t) => {
  const { wire, context, other } = await world(t);
  const source = await (await fetch(new URL('/?user=alice', wire.url))).text();
  assert.ok(source.trimEnd().split('\n').length <= 60, source);
  assert.deepEqual([...source.matchAll(/\bsrc="/g)], [], 'all of it');
  const alice = await open(context, wire.url, 'alice');
  const bob = await open(other, wire.url, 'bob');
  await alice.fill('#text', 'h');
  await bob.waitForFunction(() => document.getElementById('typing').textContent === 'alice …');
  await say(alice, 'hello <b>');
  said.push('alice: hello <b>');
  await reads(bob, said);
  await say(bob, 'hi');
  said.push('bob: hi');
  for (const page of [alice, bob]) {
    await reads(page, said);
    assert.deepEqual(page.problems, []);
  }
});

test('what is unsent outlives a reload, and goes out once, in its order', async (t) => {
  const { wire, context, other } = await world(t);
  const alice = await open(context, wire.url, 'alice');
  const bob = await open(other, `http://127.0.0.1:${port}`, 'bob'); // not through the wire
  await reads(alice, said);
  wire.silent = true;
  for (const text of ['one', 'two', 'three']) await say(alice, text);
  await alice.waitForFunction(() => document.querySelectorAll('#log small').length >= 3 && document.querySelector('#log').innerText.includes('three queued'));
  await until(async () => (await kept(alice)).length === 3, 'three messages in the database');
  wire.silent = false;
  wire.cut(); // "one" may have arrived or not
  await alice.reload();
  said.push('alice: one', 'alice: two', 'alice: three');
  await reads(bob, said);
  await reads(alice, said);
  await alice.reload(); // and nothing is left
  await reads(alice, said);
  await say(alice, 'four');
  said.push('alice: four');
  await reads(bob, said);
  assert.deepEqual(alice.problems, []);
});

test('a message whose ack is lost does not say for ever that it is being sent', async (t) => {
  const { wire, context } = await world(t);
  await context.addInitScript(() => {
    window.WebSocket = class extends WebSocket {
      set onmessage(take) { super.onmessage = (e) => { if (!window.deaf || !e.data.includes('"ack"')) take(e); }; }
    };
  });
  const alice = await open(context, wire.url, 'alice');
  await alice.evaluate(() => { window.deaf = true; });
  await say(alice, 'five');
  said.push('alice: five');
  await reads(alice, said); // its own copy has come
  await alice.evaluate(() => { window.deaf = false; });
  wire.cut();
  await say(alice, 'six'); // goes when that before has its ack
  said.push('alice: six');
  await reads(alice, said);
});

test('one page takes over what a closed one left, and none what a living one cares for', async (t) => {
  const { wire, context, other } = await world(t);
  const bob = await open(other, `http://127.0.0.1:${port}`, 'bob');
  const stuck = await open(context, wire.url, 'alice');
  const gone = await open(context, wire.url, 'alice');
  wire.silent = true;
  await say(stuck, 'of the living');
  await say(gone, 'of the closed');
  await until(async () => (await kept(stuck)).length === 2, 'two messages in the database');
  const owners = Object.fromEntries(await kept(stuck));
  await gone.close();
  await until(() => stuck.evaluate(async () => (await navigator.locks.query()).held.length === 1), 'the lock of the closed one is free');
  // A new page gets through; the other one still waits for an answer.
  wire.silent = false;
  await open(context, wire.url, 'alice');
  await bob.waitForFunction(() => document.getElementById('log').innerText.includes('of the closed'));
  assert.notEqual(owners['of the living'], owners['of the closed']);
  assert.doesNotMatch(await bob.innerText('#log'), /of the living/);
  wire.cut();
  await bob.waitForFunction(() => document.getElementById('log').innerText.includes('of the living'), null, { timeout: 60_000 });
  await say(stuck, 'the end'); // a second copy would be before it
  await bob.waitForFunction(() => document.getElementById('log').innerText.includes('the end'));
  const text = await bob.innerText('#log');
  for (const what of ['of the closed', 'of the living']) assert.equal(text.split(what).length, 2, `${what} once:\n${text}`);
});

test('a connection that dies without a word is noticed within the time of the watchdog', async (t) => {
  const { wire, context } = await world(t);
  const alice = await open(context, wire.url, 'alice');
  wire.silent = true;
  wire.refuse = true;
  const start = Date.now();
  await context.setOffline(true); // the browser says so: 5 s, not 35, and 10 more if the page slept meanwhile
  await state(alice, 'offline');
  assert.ok(Date.now() - start < 30_000, `${Date.now() - start} ms`);
  wire.silent = wire.refuse = false;
  await context.setOffline(false);
  await state(alice, 'connected');
});
