// One journey through examples/chat with the keyboard alone: no mouse, no click, no focus set by the test.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { saidBy, until, world } from './chat.mjs';

const MOST_STOPS = 60; // of the Tab key, until what is looked for must have come

let w, alice, bob, page;

before(async () => {
  w = await world();
  bob = await w.bot('bob');
  await saidBy(bob, 'general', 'good morning', 'see https://example.org/one', 'and more');
  await saidBy(bob, 'random', 'something random');
  alice = await w.person('alice');
  ({ page } = alice);
});

after(() => w?.stop());

// where is what has the focus: its id or the like, and whether one can see that it has it.
const where = () => page.evaluate(() => {
  const e = document.activeElement;
  const outlined = (e) => getComputedStyle(e).outlineStyle !== 'none' && parseFloat(getComputedStyle(e).outlineWidth) >= 1;
  const outline = outlined(e) || (e.id === 'text' && outlined(e.form)); // the message box and its buttons are framed as one
  const r = e.getBoundingClientRect();
  const covered = e.id !== 'text' && r.width > 0 && (() => {
    const x = Math.max(0, Math.min(innerWidth - 1, r.left + r.width / 2)), y = Math.max(0, Math.min(innerHeight - 1, r.top + Math.min(r.height, innerHeight) / 2));
    const top = document.elementFromPoint(x, y);
    return !!top && !e.contains(top) && !top.contains(e);
  })();
  return {
    tag: e.tagName, id: e.id, room: e.closest('.room')?.dataset.room, user: e.closest('.person')?.dataset.user, seq: e.dataset.seq,
    name: e.getAttribute('aria-label') ?? e.textContent.trim().slice(0, 40), outline, covered,
    seen: r.width > 1 && r.height > 1 && r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth,
  };
});

// stop presses a key and looks at where that leads: something that can be seen, and is seen to have the focus.
async function stop(key) {
  await page.keyboard.press(key);
  const at = await where();
  if (at.tag !== 'BODY') {
    const what = JSON.stringify(at);
    assert.ok(at.outline, `the focus is not seen: ${what}`);
    assert.ok(at.seen, `it is out of sight: ${what}`);
    assert.ok(!at.covered, `something covers it: ${what}`);
  }
  return at;
}

// tabTo presses a key until it has got to what is looked for.
async function tabTo(is, what, key = 'Tab') {
  const stops = [];
  for (let n = 0; n < MOST_STOPS; n++) {
    const at = await stop(key);
    if (is(at)) return at;
    stops.push(at.id || at.name || at.tag);
  }
  throw new Error(`${what} is not reached: ${stops.join(', ')}`);
}

test('logging in', async () => {
  await page.goto(alice.at);
  await until(async () => (await where()).id === 'user', 'the field has the focus');
  await page.keyboard.type('alice');
  await tabTo((at) => at.tag === 'BUTTON' && at.name === 'Log in', 'the button');
  await page.keyboard.press('Enter');
  await alice.connected();
});

test('the Tab key goes through everything and comes round again, both ways', async () => {
  for (const key of ['Tab', 'Shift+Tab']) {
    const ids = [];
    const first = await stop(key);
    let round = false;
    for (let n = 0; n < MOST_STOPS && !round; n++) {
      const at = await stop(key);
      ids.push(at.id || at.room || at.user || at.seq || at.name);
      round = at.tag === first.tag && at.id === first.id && at.name === first.name;
    }
    assert.ok(round, `${key} is caught: ${ids.join(', ')}`);
    for (const id of ['text', 'open-emoji', 'open-settings', 'join-name', 'general']) assert.ok(ids.includes(id), `${key} comes by ${id}: ${ids.join(', ')}`);
    // Each list is one stop, however long it is.
    assert.equal(ids.filter((id) => ['general', 'random'].includes(id)).length, 1, ids.join(', '));
  }
});

test('the first stop leads past the lists to the message box', async () => {
  await page.reload();
  await alice.connected();
  await page.evaluate(() => document.activeElement.blur()); // where a browser begins
  await tabTo((at) => at.name === 'Skip to the message box', 'the link');
  await page.keyboard.press('Enter');
  await until(async () => (await where()).id === 'text', 'the message box');
});

test('changing rooms, and reading', async () => {
  await tabTo((at) => at.room === 'general', 'the list of rooms', 'Shift+Tab');
  assert.equal((await stop('ArrowDown')).room, 'random');
  assert.equal((await stop('ArrowUp')).room, 'general');
  assert.equal((await stop('End')).room, 'random');
  await page.keyboard.press('Enter');
  await alice.titled('random');
  await alice.message('something random').waitFor();
  await tabTo((at) => at.room === 'random', 'the list of rooms', 'Shift+Tab');
  await stop('Home');
  await page.keyboard.press('Enter');
  await alice.titled('general');
  await alice.message('and more').waitFor();

  const last = await tabTo((at) => at.seq !== undefined, 'a message', 'Shift+Tab');
  const texts = await alice.messages.evaluateAll((all) => all.map((m) => m.dataset.seq));
  assert.equal(last.seq, texts.at(-1), 'the newest one first');
  assert.equal((await stop('ArrowUp')).seq, texts.at(-2));
  const link = await stop('Tab');
  assert.equal(link.name, 'https://example.org/one', 'a message that is looked at has its links within reach');
  await stop('Shift+Tab');
  assert.equal((await stop('Home')).seq, texts[0]);
  await tabTo((at) => at.id === 'text', 'the message box');
});

test('writing, with a command and an emoji', async () => {
  await page.keyboard.type('/sh');
  await page.getByRole('listbox').waitFor();
  await page.keyboard.press('Enter');
  assert.equal(await alice.box.inputValue(), '/shrug ');
  await page.keyboard.type('fine ');
  await tabTo((at) => at.id === 'open-emoji', 'emoji', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await until(async () => /grid/.test(await page.evaluate(() => document.activeElement.closest('[role=grid]')?.role ?? '')), 'in the grid');
  await stop('ArrowRight');
  await page.keyboard.press('Enter');
  await until(async () => (await alice.box.inputValue()).length > '/shrug fine '.length, 'it is in the box');
  await page.keyboard.press('Escape');
  await page.locator('#emoji').waitFor({ state: 'hidden' });
  if ((await where()).id !== 'text') await tabTo((at) => at.id === 'text', 'the message box');
  await page.keyboard.press('Enter');
  await alice.message('¯\\_(ツ)_/¯').waitFor();

  await tabTo((at) => at.id === 'open-emoji', 'emoji', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.locator('#emoji').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('#emoji').waitFor({ state: 'hidden' });
  assert.equal((await where()).id, 'open-emoji', 'Escape gives the focus back');
});

test('settings', async () => {
  await tabTo((at) => at.id === 'open-settings', 'settings', 'Shift+Tab');
  await page.keyboard.press('Enter');
  const settings = page.getByRole('dialog', { name: 'Settings' });
  await settings.waitFor();
  await tabTo((at) => at.tag === 'INPUT', 'the colours');
  await page.keyboard.press('ArrowDown'); // light
  await page.keyboard.press('ArrowDown'); // dark
  await until(async () => await page.evaluate(() => document.documentElement.dataset.theme) === 'dark', 'it is dark');
  await page.keyboard.press('Escape');
  await settings.waitFor({ state: 'hidden' });
  assert.equal((await where()).id, 'open-settings', 'Escape gives the focus back');
  await page.reload();
  await alice.connected();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark', 'and stays so');
});

test('writing to someone out of the list of people', async () => {
  await tabTo((at) => at.user !== undefined, 'people');
  const at = await stop('End');
  const bobs = at.user === 'bob' ? at : await stop('Home');
  assert.equal(bobs.user, 'bob');
  await page.keyboard.press('Enter');
  await alice.titled('@bob');
  if ((await where()).id !== 'text') await tabTo((at) => at.id === 'text', 'the message box');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Enter');
  await alice.saved('by keyboard');
});

test('what was refused is tried again and deleted', async () => {
  await page.keyboard.type('/nothing of that name');
  await page.keyboard.press('Enter');
  await alice.page.locator('.failed .why').waitFor();
  await tabTo((at) => at.name === 'Delete', 'the button', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await alice.page.locator('.message.failed').waitFor({ state: 'detached' });
  assert.notEqual((await where()).tag, 'BODY', 'the focus is not lost');
});

test('on a phone the lists are dialogs, which keep the focus, and give it back', async () => {
  await page.setViewportSize({ width: 320, height: 640 });
  for (const [opener, panel] of [['open-side', 'side'], ['open-people', 'people']]) {
    await tabTo((at) => at.id === opener, opener);
    await page.keyboard.press('Enter');
    const inside = () => page.evaluate((id) => document.getElementById(id).contains(document.activeElement), panel);
    await until(inside, `the focus is in #${panel}`);
    assert.equal(await page.locator(`#${panel}`).getAttribute('aria-modal'), 'true');
    for (let n = 0; n < 12; n++) {
      const at = await stop('Tab');
      assert.ok(at.tag === 'BODY' || await inside(), `Tab leaves the dialog for ${JSON.stringify(at)}`);
    }
    await page.keyboard.press('Escape');
    await page.locator(`#${panel}.open`).waitFor({ state: 'detached' });
    await until(async () => (await where()).id === opener, 'Escape gives the focus back');
    assert.equal(await page.locator(`#${opener}`).getAttribute('aria-expanded'), 'false');
  }
  await page.setViewportSize({ width: 1280, height: 800 });
});

test('logging out', async () => {
  await tabTo((at) => at.name === 'Log out', 'the button', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.locator('#user').waitFor();
});
