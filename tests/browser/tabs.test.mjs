// Several tabs and browsers of one user of examples/chat, and logins that end.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { saidBy, shot, until, world } from './chat.mjs';

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

test('notifications are for who asked for them, while nobody looks', async () => {
  const nora = await w.person('nora');
  const { page } = nora;
  await page.addInitScript(() => {
    window.asked = 0;
    window.told = [];
    window.Notification = class {
      static permission = 'default';
      static requestPermission() {
        window.asked++;
        return Promise.resolve(this.permission = 'granted');
      }
      constructor(title, { body, tag }) {
        window.told.push({ title, body, tag });
        this.close = () => {
          window.told = window.told.filter((n) => n.tag !== tag);
          this.onclose?.();
        };
      }
    };
    for (const [name, of] of [['hidden', () => !!window.away], ['visibilityState', () => (window.away ? 'hidden' : 'visible')]]) Object.defineProperty(document, name, { get: of });
  });
  await nora.logIn();
  const look = (away) => page.evaluate((away) => {
    window.away = away;
    document.dispatchEvent(new Event('visibilitychange'));
  }, away);
  const told = () => page.evaluate(() => window.told.map(({ title, body }) => `${title}: ${body}`));
  const bot = await w.bot('nick');
  // says waits until the page has what somebody says.
  const says = async (room, text) => {
    await saidBy(bot, room, text);
    await nora.entry(room).locator('.preview', { hasText: text }).waitFor();
  };
  const ask = async () => {
    await page.locator('#open-settings').click();
    await page.locator('#notify-ask').click();
    await page.locator('#notify-state').filter({ hasText: /You are notified|Notifications are off/ }).waitFor();
    await page.keyboard.press('Escape');
  };

  await look(true);
  await says('general', 'before anybody asked');
  assert.deepEqual(await told(), []);
  assert.equal(await page.evaluate(() => window.asked), 0, 'nobody is asked unasked');
  await page.evaluate(() => (Notification.permission = 'granted')); // to another user of this browser
  await says('general', 'to another user');
  assert.deepEqual(await told(), []);
  await page.evaluate(() => (Notification.permission = 'default'));
  await look(false);
  await ask();
  assert.equal(await page.evaluate(() => window.asked), 1);

  await says('general', 'while she reads');
  await says('random', 'beside what she reads');
  assert.deepEqual(await told(), []);
  await look(true);
  await says('general', 'and now');
  await says('random', 'over there, too');
  assert.deepEqual(await told(), ['nick in #general: and now', 'nick in #random: over there, too']);
  await look(false);
  await until(async () => String(await told()) === 'nick in #random: over there, too', 'what is read is gone');
  await ask();
  await look(true);
  await says('general', 'after all');
  assert.deepEqual(await told(), ['nick in #random: over there, too'], 'they are turned off');
  await nora.context.close();
});

// left is what a browser keeps of a user's words.
async function left(person, user) {
  const drafts = await person.page.evaluate((user) => Object.keys(localStorage).filter((key) => key.startsWith(`gohub-chat draft ${user} `)), user);
  const unsent = await person.unsent();
  return [...drafts, ...unsent.filter((m) => m.user === user).map(({ body }) => body.text)].sort();
}

test('a logout that fails says so, and one that does not leaves nothing behind', async () => {
  const lena = await w.person('lena');
  const { page } = lena;
  await lena.context.grantPermissions(['notifications'], { origin: new URL(lena.at).origin });
  const gate = await lena.gate();
  await lena.logIn();
  await page.locator('#open-settings').click();
  await page.locator('#notify-ask').click();
  await page.locator('#notify-state', { hasText: 'You are notified of messages while this page is in the background.' }).waitFor();
  await page.keyboard.press('Escape');
  gate.out = (frame) => frame.type !== 'publish';
  for (const text of ['never sent', 'nor this']) await lena.say(text);
  await lena.box.fill('half a secret');
  await page.evaluate(() => localStorage.setItem('gohub-chat draft lenard general', "somebody else's"));
  const all = ['gohub-chat draft lena general', 'never sent', 'nor this'];
  await until(async () => String(await left(lena, 'lena')) === String(all), 'all is kept');

  await page.route('**/logout', (route) => route.fulfill({ status: 503 }));
  lena.outage = true;
  await page.getByRole('button', { name: 'Log out' }).click();
  await lena.banner.getByText('you are still logged in').waitFor();
  await lena.connected();
  assert.deepEqual(await left(lena, 'lena'), all);
  assert.equal(await lena.box.inputValue(), 'half a secret');
  await page.unroute('**/logout');
  lena.outage = false;

  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Your name').waitFor();
  assert.deepEqual(await left(lena, 'lena'), []);
  assert.deepEqual(await left(lena, 'lenard'), ['gohub-chat draft lenard general'], 'only what is theirs');
  lena.name = 'nils'; // at the same computer
  gate.out = () => true;
  await lena.logIn();
  await page.locator('#open-settings').click();
  await page.locator('#notify-state', { hasText: 'Notifications are off.' }).waitFor(); // they are for who asked for them
  await lena.context.close();
});

test('a tab that comes back while another one logs out does not undo that', async () => {
  const lars = await (await w.person('lars')).logIn();
  const { page } = await w.tab(lars);
  await page.routeWebSocket(/\/ws\b/, (ws) => {
    ws.connectToServer().onClose(() => ws.close({ code: 4001 })); // of all that ends it: the time of its login
  });
  await page.goto(lars.at);
  await page.locator('html[data-connection=connected]').waitFor({ state: 'attached' });
  const asked = [];
  page.on('request', (r) => r.method() === 'POST' && asked.push(new URL(r.url()).pathname));
  lars.outage = true;
  w.people.at(-1).outage = true; // the 401 of /refresh
  let answer;
  const hold = new Promise((resolve) => (answer = resolve));
  await lars.page.route('**/logout', async (route) => { // it is done, and the first tab not yet told
    const response = await route.fetch();
    await hold;
    await route.fulfill({ response });
  });
  await lars.page.getByRole('button', { name: 'Log out' }).click();
  await until(() => asked.includes('/refresh'), 'the other tab comes back');
  await page.getByLabel('Your name').waitFor();
  answer();
  await lars.page.getByLabel('Your name').waitFor();
  assert.deepEqual(asked.filter((path) => path === '/login'), []);
  assert.deepEqual((await lars.context.cookies()).map((c) => c.name).filter((name) => /gohub/.test(name)), []);
  await lars.context.close();
});

// refreshed exchanges a refresh token, as whoever has a copy of it can, and gives the next one, or the code of the refusal.
async function refreshed(token) {
  const res = await fetch(new URL('/refresh', w.url), { method: 'POST', headers: { Cookie: `gohub-refresh=${token}` } });
  if (!res.ok) return (await res.json()).code;
  return res.headers.getSetCookie().find((c) => c.startsWith('gohub-refresh=')).split(/[=;]/)[1];
}

const tokenOf = async ({ context }) => (await context.cookies()).find(({ name }) => name === 'gohub-refresh').value;

for (const lang of ['en', 'de']) {
  const [title, text, again, name] = lang === 'en'
    ? ['Your login was ended', 'somebody may have copied it', 'Log in again', 'Your name']
    : ['Deine Anmeldung wurde beendet', 'Vielleicht hat jemand sie kopiert', 'Neu anmelden', 'Dein Name'];

  test(`${lang}: a login that somebody else has used first is not renewed in silence: the page says what happened`, async () => {
    const theo = await (await w.person('theo', { locale: lang })).logIn();
    const tab = await w.tab(theo);
    const asked = [];
    for (const { page } of [theo, tab]) page.on('request', (r) => r.method() === 'POST' && asked.push(new URL(r.url()).pathname));
    for (const p of [theo, tab]) p.outage = true; // the browser reports the 401
    await refreshed(await refreshed(await tokenOf(theo)));
    await theo.context.clearCookies({ name: 'gohub' });
    await tab.page.goto(tab.at);
    for (const { page } of [tab, theo]) {
      const alarm = page.getByRole('dialog', { name: title });
      await alarm.getByText(text).waitFor();
      await page.locator('html[data-connection=closed]').waitFor({ state: 'attached' });
    }
    if (lang === 'en') await shot(tab.page, 'token-reused');
    await tab.page.keyboard.press('Escape'); // to read or copy what is there
    await tab.page.getByRole('dialog').waitFor({ state: 'hidden' });
    await tab.banner.getByText(text).waitFor();
    await tab.banner.getByRole('button', { name: again }).click();
    await tab.page.getByLabel(name).waitFor();
    assert.deepEqual(asked.filter((path) => path === '/login'), []);
    await theo.page.getByRole('dialog').getByRole('button', { name: again }).click();
    await theo.page.getByLabel(name).waitFor();
    await theo.logIn();
    await theo.say('in again');
    await theo.saved('in again');
    await theo.context.close();
  });

  test(`${lang}: when somebody else comes with an old token, the page says so, and is logged out`, async () => {
    const tina = await (await w.person('tina', { locale: lang })).logIn();
    const old = await tokenOf(tina);
    for (let i = 0; i < 2; i++) assert.equal(await tina.page.evaluate(async () => (await fetch('/refresh', { method: 'POST' })).status), 200);
    const out = tina.page.waitForResponse((res) => res.url().endsWith('/refresh') && res.status() === 401);
    tina.outage = true; // the browser reports the 401
    assert.equal(await refreshed(old), 'token_reused');
    const alarm = tina.page.getByRole('dialog', { name: title });
    await alarm.getByText(text).waitFor();
    await out;
    assert.deepEqual((await tina.context.cookies()).filter(({ name }) => name.startsWith('gohub')), []);
    await alarm.getByRole('button', { name: again }).click();
    await tina.page.getByLabel(name).waitFor();
    await tina.context.close();
  });
}

test('a tab that hears late of a stolen login leaves the new one alone', async () => {
  const tom = await (await w.person('tom')).logIn();
  const late = await w.tab(tom);
  let hear;
  const closes = new Promise((resolve) => (hear = resolve));
  await late.page.routeWebSocket(/\/ws\b/, (ws) => {
    ws.connectToServer().onClose((code, reason) => hear(() => ws.close({ code, reason })));
  });
  await late.page.goto(late.at);
  await late.connected();
  const old = await tokenOf(tom);
  for (let i = 0; i < 2; i++) assert.equal(await tom.page.evaluate(async () => (await fetch('/refresh', { method: 'POST' })).status), 200);
  tom.outage = true; // the browser reports the 401
  assert.equal(await refreshed(old), 'token_reused');
  await tom.page.getByRole('dialog', { name: 'Your login was ended' }).getByRole('button', { name: 'Log in again' }).click();
  await tom.page.getByLabel('Your name').waitFor();
  await tom.logIn();
  const told = late.page.waitForResponse((res) => new URL(res.url()).pathname === '/refresh');
  (await closes)();
  const alarm = late.page.getByRole('dialog', { name: 'Your login was ended' });
  await alarm.waitFor();
  assert.equal((await told).status(), 200);
  await tom.reload();
  await tom.say('still in');
  await tom.saved('still in');
  await alarm.getByRole('button', { name: 'Log in again' }).click();
  await late.connected();
  await tom.context.close();
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
