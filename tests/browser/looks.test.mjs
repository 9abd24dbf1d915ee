// Every state of examples/chat's page, in every look, on a desk and on a phone: axe-core finds nothing, nothing sticks
// out, everything is large enough to be hit. With GOHUB_SCREENSHOTS=DIR a picture of each is kept there.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { audit, moving, tooSmall, tooWide } from './axe.mjs';
import { directRoom, saidBy, shot, until, world } from './chat.mjs';
import { Wire } from './wire.mjs';

const LOOKS = {
  light: { colorScheme: 'light', forcedColors: 'none', theme: 'system' },
  dark: { colorScheme: 'dark', forcedColors: 'none', theme: 'system' },
  contrast: { colorScheme: 'light', forcedColors: 'none', theme: 'contrast' },
  forced: { colorScheme: 'dark', forcedColors: 'active', theme: 'system' },
};
const MORE = { ...LOOKS, 'contrast-dark': { colorScheme: 'dark', forcedColors: 'none', theme: 'contrast' } };
const SIZES = { desk: { width: 1280, height: 800 }, phone: { width: 320, height: 640 } };

const DAY = 86_400_000; // ms
const noon = new Date().setUTCHours(12, 0, 0, 0);
const past = [
  ['bob', 'Morning everyone. The new build is on staging, please have a look when you find a minute.', -2],
  ['carol', 'Looking now 👀'],
  ['carol', 'The login page is much faster. Did you change the session store?'],
  ['bob', 'Yes, see https://example.org/changes/1482 for what and why'],
  ['alice', 'Nice, thank you!'],
  ['carol', '🎉🎉', -1],
  ['dora.the-explorer_of:long.names', `One thing I noticed: when I resize the window while a long message is being written, the box keeps its height.\n\n${'Averylongwordthatdoesnotend'.repeat(6)}`],
  ['alice', 'I will look at it.'],
].map(([sender, text, days], i) => ({ room: 'busy', sender, text, at: days ? noon + days * DAY : undefined, i }));
past.push({ room: 'busy', sender: 'bob', kind: 'me', text: 'takes a note' }, { room: 'busy', sender: 'carol', to: 'alice', text: 'Between us: it was me.' }, { room: 'busy', sender: 'carol', to: 'alice', text: 'And nobody else knows, as far as I can see.' });

let w, wire, alice, page, gate, bob;

before(async () => {
  w = await world({ past });
  wire = await new Wire().start(w.url);
  bob = await w.bot('bob');
  alice = await w.person('alice', { at: wire.url, reducedMotion: 'reduce', timezoneId: 'UTC' });
  ({ page } = alice);
  gate = await alice.gate();
});

after(async () => {
  wire?.stop();
  await w?.stop();
});

const frames = () => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));

const undecided = new Set();
let audits = 0;

// inEveryLook has a look at a state of the page. sizes: names of those that it exists in.
async function inEveryLook(name, sizes = Object.keys(SIZES), looks = LOOKS) {
  try {
    for (const size of sizes) {
      await page.setViewportSize(SIZES[size]);
      await frames();
      assert.deepEqual(await tooWide(page), [], `${name} on a ${size}`);
      assert.deepEqual(await tooSmall(page), [], `${name} on a ${size}`);
      for (const look of Object.keys(looks)) await inLook(`${name}-${size}-${look}`, looks[look]);
      await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none' }); // a page that grows while colours are forced keeps their background
    }
    assert.deepEqual(await moving(page), [], `${name}: for those who asked for less motion`);
  } finally {
    await page.setViewportSize(SIZES.desk);
  }
}

// glance is for what differs from another state in little: on a phone, in the look that most have, and where colours are forced.
const glance = (name) => inEveryLook(name, ['phone'], { light: LOOKS.light, forced: LOOKS.forced });

async function inLook(name, { theme, ...media }) {
  await page.emulateMedia(media);
  await page.evaluate((theme) => (document.documentElement.dataset.theme = theme), theme);
  await frames();
  await shot(page, name);
  const found = await audit(page);
  audits++;
  assert.deepEqual(found.wrong, [], name);
  for (const line of found.undecided) undecided.add(`${line} in ${name}`);
}

const goTo = async (room) => {
  await page.goto(`${alice.at}?room=${encodeURIComponent(room)}`);
  await alice.connected();
};

test('the login', async () => {
  await page.goto(alice.at);
  await inEveryLook('login', undefined, MORE);
  await page.locator('#user').fill('not allowed');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({ hasText: 'letters' }).waitFor();
  await inEveryLook('login-error');
});

test('an empty room', async () => {
  await alice.logIn('?room=empty');
  await alice.titled('empty');
  await page.locator('#beginning', { hasText: 'Nothing' }).waitFor();
  await inEveryLook('empty');

  const field = page.getByLabel('Join or start a room');
  const alert = page.locator('#join').getByRole('alert');
  await field.fill('my room');
  await field.press('Enter');
  await alert.filter({ hasText: 'letters' }).waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  await alice.titled('empty');
  await inEveryLook('join-refused', ['desk']);
  await field.fill('');
  await alert.filter({ hasNotText: /./ }).waitFor({ state: 'attached' });
  assert.equal(await field.getAttribute('aria-invalid'), null);
});

test('a busy room: days, people, a divider, a whisper, a notice, a refused message, unread elsewhere', async () => {
  await goTo('busy');
  await alice.say('/who');
  await page.locator('.notice').waitFor();
  await alice.say('/shurg');
  await page.locator('.failed .why').waitFor();
  await alice.open('general');
  await saidBy(bob, 'busy', 'And here is something new.', 'Twice.');
  await saidBy(bob, 'random', ...Array.from({ length: 12 }, (_, i) => `random ${i}`));
  await bob.room((await bob.direct('alice')).name).send({ text: 'Do you have a minute?' }).sent;
  await alice.unread('busy', 2);
  await alice.open('busy');
  await page.locator('#divider').waitFor();
  bob.room('busy').typing();
  await page.locator('#typing', { hasText: 'bob' }).waitFor();
  await until(async () => await page.locator('#messages .day').count() >= 3, 'three days');
  await inEveryLook('busy', undefined, MORE);
  // The time of a message that follows is seen under the pointer, and with the focus of the keyboard.
  const timeOf = (message) => message.locator('time').evaluate((e) => {
    const { left, right } = e.getBoundingClientRect(), bubble = e.closest('.message').querySelector('.bubble').getBoundingClientRect();
    return { color: getComputedStyle(e).color, beside: right <= bubble.left + 1 && left >= 0 };
  });
  const second = page.locator('.message.follows', { hasText: 'And nobody else knows' });
  for (const look of Object.keys(LOOKS)) {
    await second.hover();
    await inLook(`hovered-${look}`, LOOKS[look]);
    assert.notEqual((await timeOf(second)).color, 'rgba(0, 0, 0, 0)');
  }
  await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
  await page.mouse.move(0, 0);
  await alice.say('I have seen it.');
  const long = `Somebody has to say what there is to be said, and that takes a while. ${'And so on. '.repeat(20)}`;
  await alice.say(long);
  await alice.saved(long);
  const own = alice.message(long);
  assert.ok(await own.evaluate((e) => e.matches('.mine.follows')));
  for (const size of Object.values(SIZES)) {
    await page.setViewportSize(size);
    await alice.box.focus();
    assert.equal((await timeOf(own)).color, 'rgba(0, 0, 0, 0)');
    await page.keyboard.press('Shift+Tab'); // by keyboard, then the focus is seen
    await own.focus();
    const { color, beside } = await timeOf(own);
    assert.notEqual(color, 'rgba(0, 0, 0, 0)');
    assert.ok(beside, 'it covers nothing');
  }
  await inLook('focused', LOOKS.light);
  await page.setViewportSize(SIZES.desk);
  await page.locator('.failed .drop').click();
});

test('a direct room, with all the ticks', async () => {
  const name = directRoom('alice', 'bob');
  await alice.open('@bob');
  const room = bob.room(name);
  const steps = [['Sure, what is it?', () => room.seen(), 'seen'], ['I am at my desk until noon.', () => room.delivered(), 'delivered'], ['Then call me.', () => {}, 'saved']];
  const is = (text, state) => alice.message(text).and(page.locator(`[data-state=${state}]`)).waitFor();
  for (const [text, then, state] of steps) {
    const before = room.last ?? 0;
    await alice.say(text);
    await alice.saved(text);
    await until(() => room.last > before && room.joined, 'bob has it');
    then();
    await is(text, state);
  }
  gate.out = (frame) => {
    if (frame.type !== 'publish' || frame.body.text !== 'Are you there?') return true;
    gate.say({ type: 'error', ref: frame.ref, id: frame.id, room: frame.room, code: 'forbidden', message: 'no' });
    return false;
  };
  gate.back = (frame) => frame.type !== 'ack';
  for (const [text, state] of [['Are you there?', 'failed'], ['Hello?', 'sent'], ['Well then', 'sending']]) {
    await alice.say(text);
    await is(text, state);
  }
  await inEveryLook('ticks');
  gate.out = gate.back = () => true;
  await page.locator('.failed .drop').click();
  alice.outage = true;
  wire.cut(); // and what waits goes out with the next connection
  await alice.saved('Well then');
  alice.outage = false;
});

test('at 400 % of a small window what one writes with stays in view, however long the draft is', async () => {
  await alice.open('busy');
  await alice.box.fill(Array.from({ length: 20 }, (_, i) => `line ${i}`).join('\n'));
  await page.setViewportSize({ width: 320, height: 256 });
  const seen = () => page.evaluate(() => {
    const at = (id) => document.getElementById(id).getBoundingClientRect();
    return { bottom: Math.max(at('send').bottom, at('text').bottom), height: innerHeight, log: at('log').height, title: at('title').top };
  });
  for (const banner of [false, true]) {
    await page.evaluate((on) => {
      document.getElementById('banner').classList.toggle('on', on);
      document.getElementById('banner-text').textContent = on ? 'No connection. Messages are sent once it is back.' : '';
    }, banner);
    await frames();
    const { bottom, height, log, title } = await seen();
    assert.ok(bottom <= height && title >= 0, JSON.stringify(await seen()));
    assert.ok(log >= (banner ? 0 : 64), `${log} px of the log`);
    await shot(page, `tiny-${banner}`);
  }
  assert.deepEqual(await tooWide(page), []);
  await page.evaluate(() => document.getElementById('banner').classList.remove('on'));
  await alice.box.fill('/');
  await page.getByRole('listbox').waitFor();
  assert.ok(await page.getByRole('listbox').evaluate((e) => e.getBoundingClientRect().top >= 0), 'all commands are within reach');
  await alice.box.press('Escape');
  await alice.box.fill('');
  await page.setViewportSize(SIZES.desk);
});

test('commands, emoji, settings', async () => {
  await alice.open('busy');
  await alice.box.pressSequentially('/');
  await page.getByRole('listbox').waitFor();
  await inEveryLook('commands');
  await alice.box.press('Escape');
  await alice.box.fill('');
  for (const [name, opener] of [['emoji', '#open-emoji'], ['settings', '#open-settings']]) {
    await page.locator(opener).click();
    await page.locator(`#${name}`).waitFor();
    await inEveryLook(name);
    await page.keyboard.press('Escape');
    await page.locator(`#${name}`).waitFor({ state: 'hidden' });
  }
  await alice.context.grantPermissions(['notifications'], { origin: new URL(alice.at).origin });
  await page.reload();
  await alice.connected();
  await page.locator('#open-settings').click();
  await page.locator('#notify-ask').click();
  await page.locator('#notify-state', { hasText: 'You are notified' }).waitFor();
  await glance('notified');
  await page.locator('#notify-ask').click();
  await page.evaluate(() => Object.defineProperty(Notification, 'permission', { get: () => 'denied' }));
  await page.locator('#notify-ask').click();
  await page.locator('#notify-state', { hasText: 'does not allow' }).waitFor();
  await glance('not-notified');
  await page.keyboard.press('Escape');
});

test('the nodes of a cluster', async () => {
  await page.goto(`${alice.at}cluster`);
  await page.locator('#view').waitFor();
  await inEveryLook('cluster', undefined, { light: LOOKS.light, dark: LOOKS.dark, forced: LOOKS.forced });
  await goTo('busy');
});

test('the lists, as dialogs on a phone', async () => {
  await page.setViewportSize(SIZES.phone);
  for (const [name, opener] of [['side', '#open-side'], ['people', '#open-people']]) {
    await page.setViewportSize(SIZES.phone);
    await page.locator(opener).click();
    await page.locator(`#${name}.open`).waitFor();
    await inEveryLookOfPhone(name);
  }
});

async function inEveryLookOfPhone(name) {
  await inEveryLook(name, ['phone']); // which closes it: there is room for it on a desk
  await page.locator(`#${name}.open`).waitFor({ state: 'detached' });
}

test('further up, with new messages below', async () => {
  await goTo('random');
  await saidBy(bob, 'random', ...Array.from({ length: 60 }, (_, i) => `more ${i}`));
  await alice.message('more 59').waitFor();
  await alice.scroll(-2_000);
  await until(async () => await alice.log.getAttribute('aria-live') === 'off', 'scrolled up');
  await page.locator('#newer', { hasText: 'To the end' }).waitFor();
  await glance('to-the-end');
  await saidBy(bob, 'random', 'news');
  await page.locator('#newer', { hasText: '1 new' }).waitFor();
  await inEveryLook('newer');
});

test('a room that is not open, and no connection', async () => {
  alice.outage = true; // the browser reports the 403
  await Promise.all([alice.banner.getByText('not open to you').waitFor(), goTo(directRoom('bob', 'carol'))]); // it is told for a while only
  await inEveryLook('closed');
  wire.refuse = true;
  wire.cut();
  await alice.is('waiting');
  await alice.banner.getByText('No connection.').waitFor();
  for (const text of ['Can anybody read this?', 'A longer one, that waits until there is a connection again, whenever that may be.']) await alice.say(text);
  await alice.message('A longer one').and(page.locator('[data-state=waiting]')).waitFor();
  await inEveryLook('disconnected');
  await alice.context.setOffline(true);
  await alice.is('offline');
  await glance('offline');
  wire.refuse = false;
  await alice.context.setOffline(false);
  await alice.reconnects();
  gate.close(4503);
  await alice.banner.getByText('removed').waitFor();
  await glance('kicked');
  gate.back = () => false; // nobody answers
  await page.goto(alice.at);
  await alice.banner.getByText('Connecting').waitFor({ timeout: 20_000 });
  await glance('connecting');
  gate.back = () => true;
  await page.reload();
  await alice.connected();
  alice.outage = false;
});

test('in German, whose words are longer, nothing sticks out of a phone', async () => {
  const dora = await w.person('dora', { at: wire.url, reducedMotion: 'reduce', locale: 'de-DE', viewport: SIZES.phone });
  const german = dora.page;
  const fits = async (what) => {
    await shot(german, `german-${what}`);
    assert.deepEqual(await tooWide(german), [], what);
    assert.deepEqual(await tooSmall(german), [], what);
  };
  await german.goto(dora.at);
  await fits('login');
  await dora.logIn('?room=busy');
  await dora.message('resize the window').waitFor();
  await dora.say('/shurg');
  await german.locator('.failed .why').waitFor();
  await fits('busy');
  await german.locator('.failed .drop').click();
  for (const [opener, panel] of [['#open-side', '#side.open'], ['#open-people', '#people.open']]) {
    await german.locator(opener).click();
    await german.locator(panel).waitFor();
    await fits(panel);
    if (panel === '#side.open') {
      await german.locator('#open-settings').click();
      await german.locator('#settings').waitFor();
      await fits('settings');
      await german.keyboard.press('Escape');
    }
    await german.keyboard.press('Escape');
    await german.locator(panel).waitFor({ state: 'detached' });
  }
  alice.outage = dora.outage = true; // the wire is hers, too
  wire.refuse = true;
  wire.cut();
  await dora.banner.getByText('Keine Verbindung.').waitFor();
  await fits('banner');
  wire.refuse = false;
  await dora.context.close();
  await alice.reconnects();
  alice.outage = false;
});

test('replaced by another tab', async () => {
  const kept = await page.evaluate(() => ({ ...sessionStorage }));
  const copy = await w.tab(alice);
  await copy.page.addInitScript((kept) => Object.assign(sessionStorage, kept), kept);
  await copy.page.goto(alice.at);
  await page.getByRole('dialog').waitFor();
  await inEveryLook('replaced');
  await copy.page.close();
  await page.getByRole('dialog').getByRole('button', { name: 'Use here' }).click();
  await alice.connected();
});

test('a login that somebody else has used', async () => {
  await page.evaluate(() => new BroadcastChannel('gohub-chat').postMessage('token_reused'));
  await page.getByRole('dialog', { name: 'Your login was ended' }).waitFor();
  await glance('reused');
});

test('as the server sends it: a page, and the frame before the login is renewed', async () => {
  // axe needs scripts, which a page without them has none of: those of the page do not come, and what is in <noscript> is only measured.
  for (const javaScriptEnabled of [true, false]) {
    const nell = await w.person('nell', { javaScriptEnabled, reducedMotion: 'reduce', viewport: SIZES.phone });
    nell.outage = true; // the browser reports what does not come
    const look = async (name) => {
      if (javaScriptEnabled) return glance(name);
      await shot(page, `${name}-noscript`);
      assert.deepEqual(await tooWide(page), [], name);
      assert.deepEqual(await tooSmall(page), [], name);
    };
    ({ page } = nell);
    await page.route(/\.js$/, (route) => route.abort());
    await page.goto(nell.at);
    await page.getByLabel('Your name').fill('nell');
    await page.getByRole('button', { name: 'Log in' }).click();
    await nell.titled('general');
    await look('sent');
    const access = (await nell.context.cookies()).find(({ name, httpOnly }) => httpOnly && !name.endsWith('-refresh'));
    await nell.context.clearCookies({ name: access.name });
    await page.reload();
    await page.locator('#subtitle', { hasText: '…' }).waitFor();
    await look('frame');
    await nell.context.close();
  }
  ({ page } = alice);
});

test('nothing was left undecided', () => {
  assert.ok(audits >= 100, `${audits}`);
  assert.deepEqual([...undecided], []);
});
