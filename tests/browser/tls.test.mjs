// The example chat with -tls, at https://localhost, in a Chromium whose user
// has trusted the local CA, and in one whose user has not.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

import { until } from './chat.mjs';
import { browserOptions, build, environment, Server, tempDir } from './server.mjs';

let temp, binary, server, home, elsewhere;

before(async () => {
  temp = await tempDir();
  binary = await build(temp.dir);
  const dir = path.join(temp.dir, 'home');
  await mkdir(dir);
  home = { HOME: dir, XDG_CONFIG_HOME: path.join(dir, 'config'), XDG_DATA_HOME: '', CAROOT: '' };
  server = new Server(binary, ['-tls'], home);
  server.addr = 'localhost:0';
  await server.start();
  assert.match(server.url, /^https:\/\/localhost:/);
  elsewhere = http.createServer((_, res) => res.setHeader('Content-Type', 'text/html').end('<!doctype html><title>another origin</title>'));
  elsewhere.listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
});

after(async () => {
  elsewhere?.closeAllConnections();
  elsewhere?.close();
  await server?.stop();
  await temp?.remove();
});

// trust runs `chat trust` for the browsers of the test's user alone: the
// system's store is the machine's.
async function trust(...flags) {
  const { stdout } = await promisify(execFile)(binary, ['trust', '-in', 'browsers', ...flags], { env: environment(home) });
  return stdout;
}

// inBrowser gives use a page of a browser that is the test's user's, and has
// read what that user trusts.
async function inBrowser(use) {
  const browser = await chromium.launch({ ...browserOptions, env: environment(home) });
  try {
    await use(await (await browser.newContext()).newPage());
  } finally {
    await browser.close();
  }
}

test('a browser that has not been told to trust the CA refuses the page', async () => {
  assert.match(await trust('-n'), /certutil .*\n.*\n*.*Nothing was changed/s);
  assert.deepEqual((await readdir(home.HOME)).filter((name) => name === '.pki'), [], 'serving and -n change no trust');
  await inBrowser((page) => assert.rejects(page.goto(server.url), /ERR_CERT_AUTHORITY_INVALID/));
});

test('with the CA trusted: secure, __Host- cookies that no script sees, wss', async () => {
  assert.match(await trust(), /certutil .* -A -t C,, .*Done/s);
  await inBrowser(async (page) => {
    const cdp = await page.context().newCDPSession(page);
    let state;
    cdp.on('Security.visibleSecurityStateChanged', (e) => (state = e.visibleSecurityState));
    await cdp.send('Security.enable');
    const errors = [];
    page.on('console', (m) => m.type() === 'error' && errors.push(m.text()));
    const socket = page.waitForEvent('websocket');

    const res = await page.goto(server.url);
    assert.equal(res.headers()['strict-transport-security'], undefined);
    assert.match((await res.securityDetails()).issuer, /^gohub chat on /);
    assert.equal(await page.evaluate(() => isSecureContext), true);
    await until(() => state?.securityState === 'secure', 'the browser says that it is secure');
    assert.equal(state.certificateSecurityState.certificateNetworkError, undefined);

    await page.getByLabel('Your name').fill('alice');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('html[data-connection=connected]').waitFor({ state: 'attached' });
    assert.match((await socket).url(), /^wss:\/\/localhost:\d+\/ws\?ticket=/);
    const all = await page.context().cookies();
    assert.ok(all.every((c) => c.secure), 'the settings, too');
    const cookies = all.filter((c) => c.httpOnly);
    assert.deepEqual(cookies.map((c) => c.name).sort(), ['__Host-gohub', '__Host-gohub-refresh']);
    for (const c of cookies) {
      assert.deepEqual([c.secure, c.httpOnly, c.sameSite, c.path], [true, true, 'Lax', '/'], c.name);
    }
    assert.doesNotMatch(await page.evaluate(() => document.cookie), /gohub/, 'scripts cannot read them');

    await page.getByLabel('Message', { exact: true }).fill('over TLS');
    await page.keyboard.press('Enter');
    await page.locator('.message[data-state=saved]').filter({ hasText: 'over TLS' }).waitFor();
    assert.deepEqual(errors, []);

    // A page of another origin, in the same browser.
    const evil = await page.context().newPage();
    const refused = evil.waitForEvent('console', (m) => /WebSocket connection to .* failed/.test(m.text()));
    await evil.goto(`http://localhost:${elsewhere.address().port}`);
    await evil.evaluate((url) => new WebSocket(`${url.replace('https', 'wss')}ws`, 'gohub.v1'), server.url);
    assert.match((await refused).text(), /Unexpected response code: 403/);
  });
});

test('trust can be taken back', async () => {
  assert.match(await trust('-remove'), /certutil .* -D .*Done/s);
  await inBrowser((page) => assert.rejects(page.goto(server.url), /ERR_CERT_AUTHORITY_INVALID/));
});
