// Pages of other origins, in the browser of somebody who is logged in, try what
// such pages try: cross-site WebSocket hijacking and request forgery. What the
// browser sends, and what it is answered, is read off the wire.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { browserOptions, build, Server, tempDir } from './server.mjs';

let temp, server, browser, wire;
const closing = [];

// A Wire stands between browser and server and notes what goes through.
class Wire {
  exchanges = []; // {request, cookie, origin, status} in the order of the requests
  #server;

  async start(target) {
    const { hostname, port } = new URL(target);
    this.#server = net.createServer((near) => {
      const far = net.connect(port, hostname);
      let asked = '', answered = '';
      const waiting = [];
      near.on('data', (data) => {
        far.write(data);
        asked += data.toString('latin1');
        for (const m of asked.matchAll(/^(GET|POST|OPTIONS) (\S+) HTTP\/1\.1\r\n([^]*?\r\n)\r\n/gm)) {
          const header = (name) => m[3].match(new RegExp(`^${name}: (.*)\r$`, 'im'))?.[1] ?? '';
          const exchange = { request: `${m[1]} ${m[2]}`, cookie: header('Cookie'), origin: header('Origin'), status: 0 };
          this.exchanges.push(exchange);
          waiting.push(exchange);
          answered = ''; // the end of a body, which no line break need follow
          asked = asked.slice(m.index + m[0].length);
          break; // browsers do not pipeline
        }
      });
      far.on('data', (data) => {
        near.write(data);
        answered += data.toString('latin1');
        const m = answered.match(/^HTTP\/1\.1 (\d+)/m);
        if (m && waiting.length) {
          waiting.shift().status = Number(m[1]);
          answered = '';
        }
      });
      near.on('close', () => far.destroy()).on('error', () => far.destroy());
      far.on('close', () => near.destroy()).on('error', () => near.destroy());
    });
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
  }

  // take is what went through since the last time.
  take() {
    return this.exchanges.splice(0);
  }

  stop() {
    this.#server.close();
  }
}

// pageServer serves an empty page, at 127.0.0.1 and as localhost.
async function pageServer() {
  const s = http.createServer((_, res) => res.setHeader('Content-Type', 'text/html').end('<!doctype html><title>another origin</title>'));
  s.listen(0, '127.0.0.1');
  await once(s, 'listening');
  closing.push(() => s.closeAllConnections(), () => s.close());
  return s.address().port;
}

let victim, friend, evil;

before(async () => {
  temp = await tempDir();
  [friend, evil] = [await pageServer(), await pageServer()];
  server = new Server(await build(temp.dir), ['-origins', `http://127.0.0.1:${friend}`]);
  await server.start();
  wire = new Wire();
  await wire.start(server.url);
  browser = await chromium.launch(browserOptions);
  victim = await browser.newContext();
  const page = await victim.newPage();
  await page.goto(wire.url);
  await page.getByLabel('Your name').fill('victim');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.locator('html[data-connection=connected]').waitFor({ state: 'attached' });
  await page.close();
});

after(async () => {
  await browser?.close();
  wire?.stop();
  for (const close of closing) close();
  await server?.stop();
  await temp?.remove();
});

// What a page can try. Each resolves with what the page learns.
const attempts = {
  connect: (url) => new Promise((resolve) => {
    const ws = new WebSocket(`${url.replace('http', 'ws')}/ws`, 'gohub.v1');
    ws.onmessage = (e) => { resolve(JSON.parse(e.data).type); ws.close(); };
    ws.onclose = () => resolve('closed');
  }),
  negotiate: (url) => fetch(`${url}/ws`, { credentials: 'include' }).then((res) => res.status, () => 'nothing'),
  // As an image or a script is fetched: the browser does not say whose page it is for.
  hide: (url) => fetch(`${url}/ws`, { credentials: 'include', mode: 'no-cors' }).then((res) => res.type, () => 'nothing'),
  refresh: (url) => fetch(`${url}/refresh`, { method: 'POST', credentials: 'include' }).then((res) => res.status, () => 'nothing'),
  // What a form could send as well, without a preflight. What comes back is no page's but
  // the server's own, as it says by Cross-Origin-Resource-Policy: 'nothing', not 'opaque'.
  forge: (url) => fetch(`${url}/refresh`, { method: 'POST', credentials: 'include', mode: 'no-cors' }).then((res) => res.type, () => 'nothing'),
  login: (url) => fetch(`${url}/login`, {
    method: 'POST', credentials: 'include', mode: 'no-cors', body: new URLSearchParams({ user: 'mallory' }),
  }).then((res) => res.type, () => 'nothing'),
  logout: (url) => fetch(`${url}/logout`, { method: 'POST', credentials: 'include', mode: 'no-cors' }).then((res) => res.type, () => 'nothing'),
};

// attempt does one from a page of an origin: what the page learnt, and what
// went over the wire.
async function attempt(origin, name) {
  const page = await victim.newPage();
  await page.goto(origin);
  wire.take();
  const learnt = await page.evaluate(attempts[name], wire.url);
  await page.close();
  const sent = wire.take();
  assert.equal(sent.length, 1, `${name} from ${origin}: ${JSON.stringify(sent)}`);
  assert.equal(sent[0].origin, name === 'hide' ? '' : origin);
  return { learnt, ...sent[0] };
}

test('a page of a listed origin may connect and renew, as the one who is logged in', async () => {
  const origin = `http://127.0.0.1:${friend}`;
  for (const [name, learnt, status] of [['connect', 'welcome', 101], ['negotiate', 200, 200], ['refresh', 200, 200]]) {
    const got = await attempt(origin, name);
    assert.match(got.cookie, /gohub=/, `${name}: the cookies go along`);
    assert.deepEqual([got.learnt, got.status], [learnt, status], name);
  }
});

test('a page of another origin cannot hijack a WebSocket, nor forge requests, though the cookies go along', async () => {
  // Another port is the same site, so SameSite does not hold the cookies back.
  const origin = `http://127.0.0.1:${evil}`;
  for (const [name, learnt] of [
    ['connect', 'closed'], ['negotiate', 'nothing'], ['hide', 'nothing'], ['refresh', 'nothing'], ['forge', 'nothing'], ['login', 'nothing'], ['logout', 'nothing'],
  ]) {
    const got = await attempt(origin, name);
    assert.match(got.cookie, /gohub=.*gohub-refresh=|gohub-refresh=.*gohub=/, `${name}: the cookies go along`);
    assert.deepEqual([got.learnt, got.status], [learnt, 403], name);
  }
});

test('a page of another site has no cookies to send, and is refused all the same', async () => {
  const origin = `http://localhost:${evil}`;
  for (const name of Object.keys(attempts)) {
    const got = await attempt(origin, name);
    assert.equal(got.cookie, '', `${name}: SameSite holds them back`);
    assert.equal(got.status, 403, name);
  }
});

test('a page without an origin of its own is refused', async () => {
  const page = await victim.newPage();
  await page.goto(`http://127.0.0.1:${evil}`);
  wire.take();
  const learnt = await page.evaluate(([url, code]) => new Promise((resolve) => {
    addEventListener('message', (e) => resolve(e.data));
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = `<script>(${code})('${url}').then((x) => parent.postMessage(x, '*'))</script>`;
    document.body.append(frame);
  }), [wire.url, attempts.connect.toString()]);
  await page.close();
  const [sent] = wire.take();
  assert.equal(sent.origin, 'null');
  assert.deepEqual([learnt, sent.status], ['closed', 403]);
});

test('a page of another origin cannot put the chat into a frame', async () => {
  const page = await victim.newPage();
  const said = [];
  page.on('console', (m) => said.push(m.text()));
  await page.goto(`http://127.0.0.1:${evil}`);
  const refused = page.waitForEvent('console', (m) => /frame-ancestors/.test(m.text()));
  await page.evaluate((url) => {
    const frame = document.createElement('iframe');
    frame.src = url;
    document.body.append(frame);
  }, wire.url);
  await refused;
  await page.close();
});

test('after all that the victim is still logged in, as nobody else', async () => {
  const page = await victim.newPage();
  await page.goto(wire.url);
  await page.locator('html[data-connection=connected]').waitFor({ state: 'attached' });
  assert.equal(await page.locator('#me-name').textContent(), 'victim');
  await page.close();
  assert.equal((await attempt(`http://127.0.0.1:${friend}`, 'logout')).status, 204, 'the listed origin may');
  assert.deepEqual((await victim.cookies()).filter((c) => c.httpOnly), [], 'settings may stay');
});
