// Several tabs and browsers of one user of examples/chat, and logins that end.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { shot, until, world } from './chat.mjs';

let w, alice, bob;

before(async () => {
  w = await world();
  [alice, bob] = await w.here('alice', 'bob');
});

after(() => w?.stop());

const sockets = (page) => {
  const all = [];
  page.on('websocket', (ws) => all.push(ws.url()));
  return all;
};

// duplicate is what a browser's "Duplicate tab" does: the same address, with a copy of the session's storage.
async function duplicate({ page, ...of }) {
  const kept = await page.evaluate(() => ({ ...sessionStorage }));
  const copy = await w.tab({ ...of, page });
  await copy.page.addInitScript((kept) => Object.assign(sessionStorage, kept), kept);
  await copy.page.goto(page.url());
  return copy;
}

test('a duplicated tab replaces the first one, which says so, and does not fight back', async () => {
  const again = sockets(alice.page);
  const copy = await duplicate(alice);
  await copy.connected();
  const notice = alice.page.getByRole('dialog', { name: 'Open in another tab' });
  await notice.waitFor();
  await notice.getByText('This chat goes on in another tab or window.').waitFor();
  await alice.is('closed');
  await shot(alice.page, 'replaced');

  // It stays away: also when its network comes and goes, and when it is looked at again.
  await alice.page.evaluate(() => {
    for (const name of ['offline', 'online', 'pageshow', 'focus']) dispatchEvent(new Event(name));
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await copy.say('from the copy');
  await copy.saved('from the copy');
  await bob.message('from the copy').waitFor();
  assert.deepEqual(again, [], 'the first tab has not tried');
  await copy.is('connected');
  assert.equal(await alice.page.evaluate(() => document.documentElement.dataset.connection), 'closed');

  // "Use here" takes it again, and the copy gives way the same way.
  const others = sockets(copy.page);
  await notice.getByRole('button', { name: 'Use here' }).click();
  await alice.connected();
  await notice.waitFor({ state: 'hidden' });
  await alice.message('from the copy').waitFor();
  await copy.page.getByRole('dialog', { name: 'Open in another tab' }).waitFor();
  await alice.say('from the first one');
  await bob.message('from the first one').waitFor();
  assert.deepEqual(others, []);

  // The notice can be closed, to read what is there; the banner stays, with the way back.
  await copy.page.keyboard.press('Escape');
  await copy.page.getByRole('dialog').waitFor({ state: 'hidden' });
  await copy.banner.getByText('This chat goes on in another tab or window.').waitFor();
  await copy.banner.getByRole('button', { name: 'Use here' }).click();
  await copy.connected();
  await alice.page.getByRole('dialog', { name: 'Open in another tab' }).waitFor();
  await copy.page.close();
  await notice.getByRole('button', { name: 'Use here' }).click();
  await alice.connected();
});

test('a tab that was opened anew is a session of its own, and a reload is not a second one', async () => {
  const tab = await w.tab(alice);
  await tab.page.goto(tab.at);
  await tab.connected();
  await tab.say('from a second tab');
  await alice.message('from a second tab').waitFor();
  await alice.is('connected');
  await alice.say('from the first tab');
  await tab.message('from the first tab').waitFor();
  await tab.reload();
  await alice.is('connected');
  await tab.page.close();
});

test('what is read in one tab is read in the other', async () => {
  const tab = await w.tab(alice);
  await tab.page.goto(tab.at + '?room=random');
  await tab.connected();
  await alice.open('general');
  await bob.open('random');
  await tab.open('general');
  await bob.say('news in random');
  await alice.unread('random', 1);
  await tab.open('random');
  await alice.entry('random').locator('.badge').waitFor({ state: 'hidden' });
  await tab.page.close();
});

test('the page renews its login and its connection before they end, without a reconnect', async () => {
  const patient = await w.person('patient');
  const { page, context } = patient;
  await page.clock.install();
  const opened = sockets(page);
  let refreshed;
  const told = new Promise((resolve) => (refreshed = resolve));
  page.on('websocket', (ws) => ws.on('framereceived', ({ payload }) => {
    const frame = JSON.parse(payload);
    if (frame.type === 'refreshed') refreshed(frame);
  }));
  await patient.logIn();
  const cookie = async () => (await context.cookies()).find((c) => c.name === 'gohub-refresh').value;
  const first = await cookie();
  const renewed = page.waitForResponse((res) => res.url().endsWith('/refresh'));
  await page.clock.fastForward('04:10'); // an access token lasts 5 min
  assert.equal((await renewed).status(), 200);
  const { expires } = await told;
  assert.ok(expires > Date.now() + 4 * 60_000, `${expires}`);
  assert.notEqual(await cookie(), first);
  assert.equal(opened.length, 1);
  await context.close();
});

test('with the refresh cookie alone the page is there at once, without a word of anybody, and the script renews and fills it', async () => {
  const late = await w.person('late');
  await late.logIn();
  await late.say('seen before');
  await late.saved('seen before');
  await late.context.clearCookies({ name: 'gohub' });
  const html = await (await late.context.request.get(late.at)).text();
  assert.match(html, /"user":"late"/);
  assert.doesNotMatch(html, /seen before/);
  const renewed = late.page.waitForResponse((res) => res.url().endsWith('/refresh'));
  await late.reload();
  assert.equal((await renewed).status(), 200);
  await late.message('seen before').waitFor();
  await late.say('and after');
  await late.saved('and after');
  await late.context.close();
});

test('two tabs log out together; another browser of the same user stays', async () => {
  const elsewhere = await (await w.person('bob')).logIn();
  const tab = await w.tab(bob);
  await tab.page.goto(tab.at);
  await tab.connected();
  await bob.page.getByRole('button', { name: 'Log out' }).click();
  await bob.page.getByLabel('Your name').waitFor();
  await tab.page.getByLabel('Your name').waitFor();
  const cookies = (await bob.context.cookies()).map((c) => c.name).filter((name) => /gohub/.test(name));
  assert.deepEqual(cookies, []);
  await elsewhere.say('still here');
  await elsewhere.saved('still here');
  await elsewhere.context.close();
});

test('another tab that logs in as someone else takes this one along', async () => {
  const tab = await w.tab(alice);
  await tab.page.goto(tab.at);
  await tab.connected();
  await tab.page.evaluate(() => fetch('/login', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"user":"mallory"}' }));
  await tab.page.reload();
  await tab.connected();
  for (const { page } of [tab, alice]) {
    await until(async () => await page.locator('#me-name').textContent() === 'mallory', 'both are mallory');
  }
});
