// A page that came over http from another host than localhost: browsers keep crypto.randomUUID and Web Locks from
// it. The client needs neither.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { browserOptions, compile, environment, tempDir } from './server.mjs';
import { Wire } from './wire.mjs';

let temp, child, wire, browser;

before(async () => {
  temp = await tempDir();
  child = spawn(await compile(temp.dir, './examples/page'), ['-addr', '127.0.0.1:0'], { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface(child.stdout), 'line');
  wire = await new Wire().start(line.match(/http:\S+/)[0]);
  browser = await chromium.launch({ ...browserOptions, args: [...browserOptions.args, '--host-resolver-rules=MAP plain.test 127.0.0.1'] });
});

after(async () => {
  await browser?.close();
  wire?.stop();
  child?.kill('SIGKILL');
  await temp.remove();
});

test('without a secure context a message is sent, and what is unsent outlives the page', async () => {
  const page = await browser.newPage();
  const problems = [];
  page.on('pageerror', (err) => problems.push(err.message));
  const connected = () => page.waitForFunction(() => document.getElementById('state').textContent === 'connected', null, { timeout: 60_000 });
  const say = async (text) => {
    await page.fill('#text', text);
    await page.press('#text', 'Enter');
  };
  const reads = (...lines) => page.waitForFunction(
    (lines) => [...document.querySelectorAll('#log li')].map((li) => li.textContent.trim()).join('|') === lines, lines.join('|'));

  const url = `http://plain.test:${new URL(wire.url).port}/?user=alice`;
  await page.goto(url);
  assert.deepEqual(await page.evaluate(() => [isSecureContext, typeof crypto.randomUUID, typeof navigator.locks]), [false, 'undefined', 'undefined']);
  await connected();
  await say('one');
  await reads('alice: one');
  await page.reload();
  await connected();
  await reads('alice: one');

  wire.silent = true;
  await say('two');
  await page.waitForFunction(async () => {
    const [{ name }] = await indexedDB.databases();
    const db = await new Promise((resolve) => { indexedDB.open(name).onsuccess = (e) => resolve(e.target.result); });
    const kept = await new Promise((resolve) => { db.transaction('outbox').objectStore('outbox').getAll().onsuccess = (e) => resolve(e.target.result); });
    db.close();
    return kept.some((m) => m.body.text === 'two');
  });
  await page.goto('about:blank'); // before it can send it again
  wire.silent = false;
  wire.cut();
  await page.goto(url);
  await connected();
  await reads('alice: one', 'alice: two');
  assert.deepEqual(problems, []);
});
