// What the tests of the chat's page share: a world of one server and one browser, and the people in it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';

import { chromium } from 'playwright-core';
import WebSocket from 'ws';

import { createClient } from '../../clients/js/dist/gohub.js';
import { browserOptions, build, compile, Server, tempDir } from './server.mjs';

export const WAIT = 30_000; // ms; what does not come within this time does not come

// world starts a server and a browser. args: further flags of the server; past: messages that are in its history.
export async function world({ args = ['-rate', '0'], past } = {}) {
  const temp = await tempDir();
  const w = new World(temp);
  const binary = await build(temp.dir);
  if (past) {
    const data = path.join(temp.dir, 'data');
    await seed(temp.dir, data, past);
    args = [...args, '-data', data];
  }
  w.server = new Server(binary, args);
  await w.server.start();
  w.browser = await chromium.launch(browserOptions);
  return w;
}

class World {
  people = [];
  #temp;
  #bots = [];

  constructor(temp) {
    this.#temp = temp;
  }

  get url() {
    return this.server.url;
  }

  // person has a browser context, so cookies, of their own. at: the address, if it is not the server's own.
  async person(name, { at = this.url, ...options } = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    return this.#add(new Person(name, context, await context.newPage(), at));
  }

  // tab is another tab of someone's browser.
  async tab({ name, context, at }) {
    return this.#add(new Person(name, context, await context.newPage(), at));
  }

  #add(person) {
    person.page.setDefaultTimeout(WAIT);
    this.people.push(person);
    return person;
  }

  // here are people who are logged in.
  async here(...names) {
    return Promise.all(names.map(async (name) => (await this.person(name)).logIn()));
  }

  // bot is somebody without a browser: a client of the hub in this process.
  async bot(user) {
    const client = await logInBot(this.url, user);
    this.#bots.push(client);
    return client;
  }

  // stop ends everything, and says what no page should have met.
  async stop() {
    for (const bot of this.#bots) bot.close();
    await this.browser?.close();
    await this.server?.stop();
    await this.#temp.remove();
    for (const { name, errors, strangers } of this.people) {
      assert.deepEqual(errors, [], `what the page of ${name} complains about`);
      assert.deepEqual(strangers, [], `what the page of ${name} asks others for`);
    }
    assert.doesNotMatch(this.server.log, /panic|level=ERROR/);
  }
}

export class Person {
  errors = [];
  strangers = []; // URLs that are not of the page's own server
  outage = false; // the browser itself reports requests that find no server, or are refused

  constructor(name, context, page, at) {
    Object.assign(this, { name, context, page, at });
    page.on('console', (m) => m.type() === 'error' && this.#note(m.text()));
    page.on('pageerror', (error) => this.#note(String(error.stack)));
    page.on('request', (request) => this.#asked(request.url()));
    page.on('websocket', (ws) => this.#asked(ws.url()));
  }

  #note(text) {
    if (!(this.outage && /Failed to load resource|WebSocket connection|ERR_INTERNET_DISCONNECTED/.test(text))) this.errors.push(text);
  }

  #asked(url) {
    if (new URL(url).host !== new URL(this.at).host) this.strangers.push(url);
  }

  async logIn(where = '') {
    const { page } = this;
    await page.goto(this.at + where);
    await page.locator('#user').fill(this.name);
    await page.locator('#login .primary').click();
    await this.connected();
    return this;
  }

  async reload() {
    await this.page.reload();
    await this.connected();
  }

  // is waits for a state of the connection.
  is(state, options) {
    return this.page.locator(`html[data-connection=${state}]`).waitFor({ state: 'attached', ...options });
  }

  connected() {
    return this.is('connected');
  }

  // losing does what ends the connection, and waits until the page has noticed, however soon it is back.
  async losing(act) {
    await this.page.evaluate(() => {
      const { documentElement } = document;
      window.lost = false;
      new MutationObserver(() => (window.lost ||= documentElement.dataset.connection !== 'connected')).observe(documentElement, { attributes: true });
    });
    act();
    await this.page.waitForFunction(() => window.lost);
  }

  // reconnects presses "Try now" for as long as there is no connection.
  async reconnects() {
    await until(async () => {
      if (await this.page.locator('html[data-connection=connected]').count()) return true;
      await this.page.locator('#banner-try').click({ timeout: 500 }).catch(() => {});
      return false;
    }, `${this.name} is connected again`);
  }

  // listens remembers what #status says from now on: each text is there for a moment only.
  listens() {
    return this.page.evaluate(() => {
      const status = document.getElementById('status');
      window.heard = [];
      new MutationObserver(() => window.heard.push(status.textContent)).observe(status, { childList: true, characterData: true, subtree: true });
    });
  }

  // heard waits until #status has said something, a regular expression, since listens.
  heard(words) {
    return this.page.waitForFunction((words) => window.heard.some((text) => text.match(words)), words);
  }

  get log() { return this.page.getByRole('log'); }
  get box() { return this.page.locator('#text'); }
  get title() { return this.page.locator('#title'); }
  get banner() { return this.page.getByRole('banner'); }
  get messages() { return this.page.locator('#messages > .message'); }

  message(text) {
    return this.messages.filter({ hasText: text });
  }

  // texts are those of all messages, from top to bottom.
  texts() {
    return this.page.locator('#messages .bubble').allTextContents();
  }

  // shows waits until the last messages are those.
  async shows(...last) {
    await this.page.waitForFunction((last) => {
      const all = [...document.querySelectorAll('#messages .bubble')].map((b) => b.textContent);
      return JSON.stringify(all.slice(-last.length)) === JSON.stringify(last);
    }, last).catch(async (cause) => { throw new Error(`${this.name} sees ${JSON.stringify(await this.texts())}, which do not end with ${JSON.stringify(last)}`, { cause }); });
  }

  async say(text) {
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  // saved waits until a message is stored, and perhaps further on its way.
  saved(text) {
    return this.page.locator(':is([data-state=saved], [data-state=delivered], [data-state=seen])').and(this.message(text)).first().waitFor();
  }

  // unsent is what the browser keeps of the client's messages (docs/sdk.md). What is new comes there a moment after it is on
  // screen: a reload may be faster.
  unsent() {
    return this.page.evaluate(async () => {
      const db = await new Promise((resolve) => { indexedDB.open('gohub /ws').onsuccess = (e) => resolve(e.target.result); });
      const all = await new Promise((resolve) => { db.transaction('outbox').objectStore('outbox').getAll().onsuccess = (e) => resolve(e.target.result); });
      db.close();
      return all;
    });
  }

  // entry is a room's in the list; of a direct room give "@" and the other one.
  entry(name) {
    const room = name.startsWith('@') ? directRoom(this.name, name.slice(1)) : name;
    return this.page.locator(`#side .room[data-room="${room}"] > a`);
  }

  async open(name) {
    await this.entry(name).click();
    await this.titled(name);
  }

  titled(name) {
    return this.page.locator('#title', { hasText: name.startsWith('@') ? name.slice(1) : `#${name}` }).waitFor();
  }

  // unread waits until so many are counted of a room, for eyes and for screen readers.
  async unread(name, n) {
    await this.entry(name).and(this.page.getByRole('link', { name: new RegExp(`, ${n} unread`) })).waitFor();
    assert.equal(await this.entry(name).locator('.badge').textContent(), n > 99 ? '99+' : String(n));
  }

  member(user) {
    return this.page.locator(`#members .person[data-user="${user}"]`);
  }

  // scroll turns the wheel over the log, and waits until it has got there.
  async scroll(by) {
    await this.log.hover();
    await this.page.mouse.wheel(0, by);
  }

  // gate stands between the page and its connection. out and back are given every text frame, parsed, and say by false
  // that it goes no further; say answers the page in the server's place, and close ends it so. Before the page is opened.
  async gate() {
    const gate = { out: () => true, back: () => true, say: undefined };
    await this.page.routeWebSocket(/\/ws\b/, (ws) => {
      const server = ws.connectToServer();
      gate.say = (frame) => ws.send(JSON.stringify(frame));
      gate.pass = (frame) => server.send(JSON.stringify(frame));
      gate.close = (code) => ws.close({ code });
      ws.onMessage((m) => gate.out(typeof m === 'string' ? JSON.parse(m) : {}) && server.send(m));
      server.onMessage((m) => gate.back(typeof m === 'string' ? JSON.parse(m) : {}) && ws.send(m));
    });
    return gate;
  }
}

// until asks again and again, for what tells nobody of itself.
export async function until(holds, what) {
  for (const end = Date.now() + WAIT; !(await holds());) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const directRoom = (a, b) => `@${[a, b].sort().join(',')}`;

async function logInBot(url, user) {
  const res = await fetch(new URL('/login', url), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ user }) });
  const cookie = res.headers.getSetCookie().map((c) => c.split(';')[0]).join('; ');
  const client = createClient({
    url: new URL('/ws', url).href, user, storage: null, WebSocket,
    token: () => undefined, // the cookie is the proof
    fetch: (to, options) => fetch(to, { ...options, headers: { ...options?.headers, cookie } }),
  });
  await client.connect();
  return client;
}

// saidBy has a bot say something in a room, until it is stored.
export async function saidBy(bot, room, ...texts) {
  const r = bot.room(room);
  await r.join();
  await Promise.all(texts.map((text) => r.send({ text }).sent));
}

export const lines = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => `line ${from + i} of many`);

async function seed(temp, data, past) {
  const binary = await compile(temp, './tests/browser/seed');
  await mkdir(data, { mode: 0o700 });
  const child = spawn(binary, [path.join(data, 'chat.db')], { stdio: ['pipe', 'inherit', 'inherit'] });
  child.stdin.end(past.map((m) => JSON.stringify(m)).join('\n'));
  const [code] = await once(child, 'exit');
  assert.equal(code, 0, 'seed');
}

// shot keeps a picture where GOHUB_SCREENSHOTS says, if it does.
export async function shot(page, name) {
  const dir = process.env.GOHUB_SCREENSHOTS;
  if (dir) await page.screenshot({ path: path.join(dir, `${name}.png`), animations: 'disabled', caret: 'initial' });
}
