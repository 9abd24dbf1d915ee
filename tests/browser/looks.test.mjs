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
async function inEveryLook(name, sizes = Object.keys(SIZES)) {
  try {
    for (const size of sizes) {
      await page.setViewportSize(SIZES[size]);
      await frames();
      assert.deepEqual(await tooWide(page), [], `${name} on a ${size}`);
      assert.deepEqual(await tooSmall(page), [], `${name} on a ${size}`);
      for (const look of Object.keys(LOOKS)) await inLook(`${name}-${size}-${look}`, LOOKS[look]);
      await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none' }); // a page that grows while colours are forced keeps their background
    }
    assert.deepEqual(await moving(page), [], `${name}: for those who asked for less motion`);
  } finally {
    await page.setViewportSize(SIZES.desk);
  }
}

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
  await inEveryLook('login');
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
  assert.ok(await page.locator('#messages .day').count() >= 3);
  await inEveryLook('busy');
  const second = page.locator('.message.follows', { hasText: 'And nobody else knows' });
  for (const look of Object.keys(LOOKS)) { // the time of a message that follows is seen under the pointer
    await second.hover();
    await inLook(`hovered-${look}`, LOOKS[look]);
    assert.notEqual(await second.locator('time').evaluate((e) => getComputedStyle(e).color), 'rgba(0, 0, 0, 0)');
  }
  await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
  await page.mouse.move(0, 0);
  await page.locator('.failed .drop').click();
});

test('a direct room, with all the ticks', async () => {
  const name = directRoom('alice', 'bob');
  await alice.open('@bob');
  const room = bob.room(name);
  const steps = [['Sure, what is it?', () => room.seen(), 'seen'], ['I am at my desk until noon.', () => room.delivered(), 'delivered'], ['Then call me.', () => {}, 'saved']];
  const is = (text, state) => alice.message(text).and(page.locator(`[data-state=${state}]`)).waitFor();
  for (const [text, then, state] of steps) {
    await alice.say(text);
    await alice.saved(text);
    await until(() => room.last > 0 && room.joined, 'bob has it');
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
  await saidBy(bob, 'random', ...Array.from({ length: 30 }, (_, i) => `more ${i}`));
  await alice.message('more 29').waitFor();
  await alice.scroll(-2_000);
  await until(async () => await alice.log.getAttribute('aria-live') === 'off', 'scrolled up');
  await saidBy(bob, 'random', 'news');
  await page.locator('#newer', { hasText: '1 new' }).waitFor();
  await inEveryLook('newer');
});

test('a room that is not open, and no connection', async () => {
  alice.outage = true; // the browser reports the 403
  await goTo(directRoom('bob', 'carol'));
  await alice.banner.getByText('not open to you').waitFor();
  await inEveryLook('closed');
  wire.refuse = true;
  wire.cut();
  await alice.is('waiting');
  await alice.banner.getByText('No connection.').waitFor();
  for (const text of ['Can anybody read this?', 'A longer one, that waits until there is a connection again, whenever that may be.']) await alice.say(text);
  await alice.message('A longer one').and(page.locator('[data-state=waiting]')).waitFor();
  await inEveryLook('disconnected');
  wire.refuse = false;
  await page.locator('#banner-try').click({ timeout: 1_000 }).catch(() => {});
  await alice.connected();
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
});

test('nothing was left undecided', () => {
  assert.ok(audits >= 100, `${audits}`);
  assert.deepEqual([...undecided], []);
});
