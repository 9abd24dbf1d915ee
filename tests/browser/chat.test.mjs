// Two people use the example chat in Chromium. Steps build on each other.

import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { browserOptions, build, Server, tempDir } from './server.mjs';

const WAIT = 15_000;

let temp, server, browser, alice, bob;

before(async () => {
  temp = await tempDir();
  server = new Server(await build(temp.dir));
  await server.start();
  browser = await chromium.launch(browserOptions);
  alice = await person('alice');
  bob = await person('bob');
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await temp?.remove();
});

// A person has a browser context, so cookies, of their own.
async function person(name) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) => console.error(`against the policy: ${e.violatedDirective} ${e.blockedURI}`));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  const p = { name, page, errors: [], outage: false };
  const note = (text) => {
    // The browser itself reports requests that find no server, or one that
    // has forgotten who is asking.
    if (!(p.outage && /Failed to load resource|WebSocket connection/.test(text))) p.errors.push(text);
  };
  page.on('console', (m) => m.type() === 'error' && note(m.text()));
  page.on('pageerror', (error) => note(String(error)));
  return p;
}

async function logIn({ page, name }) {
  await page.goto(server.url);
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Log in' }).click();
  await connected({ page });
}

const connected = ({ page }) => page.locator('html[data-connection=connected]').waitFor({ state: 'attached' });
const room = ({ page }, name) => page.getByRole('navigation').getByRole('button', { name });
const message = ({ page }, text) => page.getByRole('log').locator('.message').filter({ hasText: text });
const title = ({ page }) => page.locator('h1#title');

async function say({ page }, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.keyboard.press('Enter');
}

const saved = (who, text) => message(who, text).and(who.page.locator('[data-state=saved]')).waitFor();

async function screenshot({ page }, name) {
  const file = path.join(process.env.SCREENSHOT_DIR || temp.dir, name);
  await page.screenshot({ path: file });
  assert.ok((await stat(file)).size > 5_000, `${file} shows something`);
}

test('a name that is not allowed is refused with a reason', async () => {
  const { page } = alice;
  await page.goto(server.url);
  await page.locator('#login form').evaluate((form) => (form.noValidate = true));
  await page.getByLabel('Your name').fill('not allowed');
  alice.outage = true; // Chromium reports the 400 as an error
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').filter({ hasText: 'letters' }).waitFor();
  alice.outage = false;
});

test('two log in and meet in general', async () => {
  await logIn(alice);
  await logIn(bob);
  assert.equal(await title(alice).textContent(), '#general');
  for (const p of [alice, bob]) {
    const people = p.page.getByRole('complementary', { name: 'People' });
    await people.getByRole('button', { name: /^alice.*online/ }).waitFor();
    await people.getByRole('button', { name: /^bob.*online/ }).waitFor();
  }
  assert.equal(await alice.page.evaluate(() => document.cookie), '', 'scripts cannot read the cookie');
});

test('they talk both ways, and ticks reach saved', async () => {
  await say(alice, 'hello bob');
  await message(bob, 'hello bob').waitFor();
  await saved(alice, 'hello bob');
  await say(bob, 'hello alice');
  await message(alice, 'hello alice').waitFor();
  await saved(bob, 'hello alice');
  await message(bob, 'saved').first().waitFor();
});

test('what others send is shown as text', async () => {
  const attack = '<img src=x onerror="document.title=1"><script>document.title=1</script>';
  await say(bob, attack);
  await message(alice, attack).waitFor();
  assert.equal(await alice.page.locator('#messages img, #messages script').count(), 0);
  assert.match(await alice.page.title(), /general/);
});

test('typing shows, and ends with the message', async () => {
  await alice.page.getByLabel('Message', { exact: true }).pressSequentially('I am wri');
  const line = bob.page.getByText('alice is typing…');
  await line.waitFor();
  await say(alice, 'I am writing');
  await message(bob, 'I am writing').waitFor();
  await line.waitFor({ state: 'detached' }).catch(() => line.waitFor({ state: 'hidden' }));
});

test('a direct message arrives through an invite, counted as unread', async () => {
  await alice.page.getByRole('complementary').getByRole('button', { name: /^bob/ }).click();
  assert.equal(await title(alice).textContent(), 'bob');
  await say(alice, 'between us');
  await saved(alice, 'between us');
  await room(bob, 'alice, 1 unread').waitFor();
  assert.match(await bob.page.title(), /^\(1\)/);
  await room(bob, 'alice, 1 unread').click();
  await message(bob, 'between us').waitFor();
  await room(bob, /^alice$/).waitFor();
  await say(bob, 'and nobody else');
  await message(alice, 'and nobody else').waitFor();
  await saved(bob, 'and nobody else');
});

test('a room of their own, left again', async () => {
  await alice.page.getByLabel('Join or start a room').fill('garden');
  await alice.page.keyboard.press('Enter');
  await say(alice, 'first in the garden');
  await saved(alice, 'first in the garden');
  await bob.page.getByLabel('Join or start a room').fill('garden');
  await bob.page.keyboard.press('Enter');
  await message(bob, 'first in the garden').waitFor();
  await alice.page.getByRole('button', { name: 'Leave #garden' }).click();
  await room(alice, '#garden').waitFor({ state: 'detached' });
  assert.equal(await title(alice).textContent(), '#general');
});

test('slash commands: rewritten, answered, refused, taken elsewhere', async () => {
  await room(bob, '#general').click();
  await say(alice, '/me waves');
  await message(bob, '* alice waves').waitFor();
  await saved(alice, '* alice waves');
  await say(alice, '/shrug why');
  await saved(alice, 'why ¯\\_(ツ)_/¯');
  assert.equal(await message(alice, '/shrug').count(), 0, 'what the server made of it stands in its place');

  await say(alice, '/who');
  await message(alice, '2 here: alice, bob').and(alice.page.locator('.notice')).waitFor();
  await say(alice, '/shurg');
  const failed = alice.page.locator('.message[data-state=failed] .ticks');
  await failed.filter({ hasText: 'did you mean /shrug?' }).waitFor();
  await failed.getByRole('button', { name: 'Delete' }).click();

  await say(alice, '/msg carol for your eyes');
  await alice.page.locator('h1#title', { hasText: 'carol' }).waitFor();
  await message(alice, 'for your eyes').waitFor();
  await room(alice, '#general').click();
  assert.equal(await message(alice, 'for your eyes').count(), 0, 'it has left the room it was written in');
  await say(alice, 'enough');
  await message(bob, 'enough').waitFor();
  assert.equal(await message(bob, '2 here').count(), 0, 'the answer was for alice alone');
  await alice.page.reload();
  await connected(alice);
  await message(alice, '2 here: alice, bob').and(alice.page.locator('.notice')).waitFor();
  await message(alice, '* alice waves').and(alice.page.locator('.action')).waitFor();
});

test('earlier messages come when scrolling up', async () => {
  await room(bob, '#random').click();
  for (let i = 1; i <= 45; i++) await say(bob, `line ${i} of many`);
  await saved(bob, 'line 45 of many');
  const late = await person('carol');
  await logIn(late);
  await room(late, '#random').click();
  await message(late, 'line 45 of many').waitFor();
  assert.equal(await message(late, 'line 1 of many').count(), 0, 'only the newest at first');
  await late.page.getByRole('log').hover();
  await late.page.mouse.wheel(0, -5_000);
  await message(late, /line 1 of many/).waitFor();
  const order = await late.page.locator('#messages .bubble').allTextContents();
  assert.deepEqual(order, Array.from({ length: 45 }, (_, i) => `line ${i + 1} of many`));
  await late.page.close();
  assert.deepEqual(late.errors, []);
});

for (const signal of ['SIGKILL', 'SIGTERM']) {
  test(`the server ends by ${signal} and comes back: both see it and talk on`, async () => {
    for (const p of [alice, bob]) {
      await room(p, '#general').click();
      p.outage = true;
    }
    await server.stop(signal);
    for (const p of [alice, bob]) await p.page.getByText('No connection.').waitFor();
    const unheard = `written after ${signal}`;
    await say(alice, unheard);
    await message(alice, unheard).and(alice.page.locator('[data-state=sending]')).waitFor();
    await screenshot(alice, 'disconnected.png');
    await server.start();
    // The first time both come back by themselves. The second time so soon
    // they would wait longer, and do not want to.
    for (const { page } of signal === 'SIGTERM' ? [alice, bob] : []) {
      await page.getByRole('button', { name: 'Try now' }).click({ timeout: 2_000 }).catch(() => {});
    }
    for (const p of [alice, bob]) {
      await connected(p);
      await p.page.getByText('No connection.').waitFor({ state: 'hidden' });
      p.outage = false;
    }
    await message(bob, unheard).waitFor();
    await saved(alice, unheard);
    const answer = `heard after ${signal}`;
    await say(bob, answer);
    await message(alice, answer).waitFor();
    await saved(bob, answer);
    assert.equal(await message(bob, 'hello bob').count(), 1, 'what was on screen stays');
  });
}

test('a message that is refused says why, and can be tried again or dropped', async () => {
  const box = alice.page.getByLabel('Message', { exact: true });
  await box.evaluate((text) => text.removeAttribute('maxlength'));
  await say(alice, 'x'.repeat(65_000));
  const failed = alice.page.locator('.message[data-state=failed] .ticks');
  await failed.filter({ hasText: /not sent: .*bytes/ }).waitFor();
  await failed.getByRole('button', { name: 'Retry' }).click();
  await failed.getByRole('button', { name: 'Delete' }).click();
  await failed.waitFor({ state: 'detached' });
  await say(alice, 'shorter');
  await saved(alice, 'shorter');
});

test('it fits a small phone and both colour schemes', async () => {
  await screenshot(alice, 'desktop-light.png');
  await alice.page.emulateMedia({ colorScheme: 'dark' });
  await screenshot(alice, 'desktop-dark.png');
  await alice.page.setViewportSize({ width: 320, height: 640 });
  const width = await alice.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 320, `the page is ${width} px wide`);
  await screenshot(alice, 'phone-dark.png');
  await alice.page.getByRole('button', { name: /^Rooms/ }).click();
  await room(alice, '#random').waitFor();
  await screenshot(alice, 'phone-rooms-dark.png');
  await alice.page.keyboard.press('Escape');
  await room(alice, '#random').waitFor({ state: 'hidden' });
});

test('two tabs are two sessions, and log out together; another browser of the same user stays', async () => {
  const elsewhere = await person('bob');
  await logIn(elsewhere);
  const tab = await bob.page.context().newPage();
  await tab.goto(server.url);
  await connected({ page: tab });
  await connected(bob);
  await bob.page.getByRole('button', { name: 'Log out' }).click();
  await bob.page.getByLabel('Your name').waitFor();
  await tab.getByLabel('Your name').waitFor();
  assert.deepEqual(await bob.page.context().cookies(), []);
  await say(elsewhere, 'still here');
  await saved(elsewhere, 'still here');
  await elsewhere.page.close();
  assert.deepEqual(elsewhere.errors, []);
});

test('SIGTERM ends the server cleanly, and no page met an error', async () => {
  alice.outage = true;
  assert.equal(await server.stop('SIGTERM'), 0, server.log);
  await alice.page.getByText('No connection.').waitFor();
  assert.deepEqual(alice.errors, []);
  assert.deepEqual(bob.errors, []);
});
