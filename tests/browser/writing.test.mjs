// Writing on the page of examples/chat: drafts, what was sent before, commands, emoji, and messages that are refused.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { until, world } from './chat.mjs';

let w, alice, bob, gate;

before(async () => {
  w = await world();
  alice = await w.person('alice');
  gate = await alice.gate();
  await alice.logIn();
  [bob] = await w.here('bob');
});

after(() => w?.stop());

const value = () => alice.box.inputValue();
const state = (text, state) => alice.message(text).and(alice.page.locator(`[data-state=${state}]`)).waitFor();

test('each room keeps its draft, also over a reload', async () => {
  await alice.box.fill('half a thought');
  await alice.open('random');
  assert.equal(await value(), '');
  await alice.box.fill('another\nwith two lines');
  await alice.open('general');
  assert.equal(await value(), 'half a thought');
  await alice.reload();
  assert.equal(await value(), 'half a thought');
  await alice.open('random');
  assert.equal(await value(), 'another\nwith two lines');
  await alice.box.press('Enter');
  await alice.saved('with two lines');
  await alice.reload();
  assert.equal(await value(), '', 'what is sent is no draft any more');
  await alice.open('general');
  await alice.box.fill('');
});

test('arrow up in an empty box brings back what was sent', async () => {
  for (const text of ['the first', 'the second']) await alice.say(text);
  await alice.saved('the second');
  await alice.box.press('ArrowUp');
  assert.equal(await value(), 'the second');
  await alice.box.press('ArrowUp');
  assert.equal(await value(), 'the first');
  await alice.box.press('ArrowDown');
  await alice.box.press('ArrowDown');
  assert.equal(await value(), '');
  await alice.box.fill('something else');
  await alice.box.press('ArrowUp');
  assert.equal(await value(), 'something else', 'a text is not lost');
  await alice.box.fill('');
  await alice.reload();
  await alice.box.press('ArrowUp');
  assert.equal(await value(), 'the second', 'out of the room, after a reload');
  await alice.box.press('Enter');
  await until(async () => await alice.message('the second').count() === 2, 'sent again, as a message of its own');
});

test('Shift and Enter begins a line', async () => {
  await alice.box.pressSequentially('above');
  await alice.box.press('Shift+Enter');
  await alice.box.pressSequentially('below');
  await alice.box.press('Enter');
  await bob.message('below').waitFor();
  assert.equal(await bob.messages.last().locator('.bubble').textContent(), 'above\nbelow');
});

test('a slash offers commands, by keyboard', async () => {
  const list = alice.page.getByRole('listbox', { name: 'Commands' });
  const chosen = () => alice.page.evaluate(() => {
    const box = document.getElementById('text');
    const option = document.getElementById(box.getAttribute('aria-activedescendant'));
    return `${box.getAttribute('role')} ${box.getAttribute('aria-expanded')} ${option.querySelector('.name').textContent} ${option.getAttribute('aria-selected')}`;
  });
  await alice.box.pressSequentially('/');
  await list.waitFor();
  const names = await list.getByRole('option').locator('.name').allTextContents();
  assert.deepEqual([...names].sort(), ['/help', '/me', '/msg', '/shrug', '/who']);
  await alice.box.press('ArrowDown');
  assert.equal(await chosen(), `combobox true ${names[1]} true`);
  await alice.box.press('ArrowUp');
  await alice.box.press('ArrowUp');
  assert.equal(await chosen(), `combobox true ${names[4]} true`, 'round and round');
  await alice.box.press('Escape');
  await list.waitFor({ state: 'hidden' });
  assert.equal(await value(), '/');
  assert.equal(await alice.box.getAttribute('role'), null);
  await alice.box.pressSequentially('sh');
  await list.waitFor();
  await alice.box.press('Tab');
  assert.equal(await value(), '/shrug ');
  assert.equal(await alice.box.evaluate((e) => e === document.activeElement), true);
  await list.waitFor({ state: 'hidden' });
  await alice.box.pressSequentially('who knows');
  await alice.box.press('Enter');
  await bob.message('who knows ¯\\_(ツ)_/¯').waitFor();
  await alice.box.pressSequentially('/me');
  await list.waitFor();
  await alice.box.press('Escape');
  await alice.box.fill('');
});

test('emoji go in where the caret is, by keyboard', async () => {
  const { page } = alice;
  await alice.box.fill('ab');
  await alice.box.press('ArrowLeft');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'open-emoji');
  await page.keyboard.press('Enter');
  const grid = page.getByRole('grid', { name: 'Emoji' });
  await grid.waitFor();
  const focused = () => page.evaluate(() => document.activeElement.dataset.emoji);
  await until(async () => await focused() !== undefined, 'the focus is in the grid');
  const all = await grid.getByRole('gridcell').getByRole('button').evaluateAll((buttons) => buttons.map((b) => b.dataset.emoji));
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(), all[9]);
  await page.keyboard.press('End');
  await page.keyboard.press('Home');
  const picked = await focused();
  assert.ok(all.includes(picked));
  await page.keyboard.press('Enter');
  await until(async () => await value() === `a${picked}b`, 'where the caret was');
  await page.keyboard.press('Escape');
  await grid.waitFor({ state: 'hidden' });
  await alice.box.fill('');
});

test('what the server refuses says why, and can be tried again or deleted', async () => {
  await alice.say('/shurg');
  const failed = alice.message('/shurg');
  await failed.locator('.failed .why', { hasText: 'did you mean /shrug?' }).waitFor();
  await alice.say('goes on');
  await alice.saved('goes on');
  await failed.getByRole('button', { name: 'Delete' }).click();
  await failed.waitFor({ state: 'detached' });

  // The server refuses what it would take the second time.
  const tries = [];
  gate.out = (frame) => {
    if (frame.type !== 'publish' || frame.body?.text !== 'second try') return true;
    tries.push(frame.id);
    if (tries.length > 1) return true;
    gate.say({ type: 'error', ref: frame.ref, id: frame.id, room: frame.room, code: 'forbidden', message: 'not now' });
    return false;
  };
  await alice.listens();
  await alice.say('second try');
  const again = alice.message('second try');
  await again.locator('.why', { hasText: 'not sent: this is not open to you' }).waitFor();
  assert.equal(await bob.message('second try').count(), 0);
  await alice.heard('not sent: this is not open to you');
  await alice.say('meanwhile');
  await alice.saved('meanwhile');
  await again.getByRole('button', { name: 'Retry' }).click();
  await alice.saved('second try');
  await bob.message('second try').waitFor();
  assert.deepEqual(tries, [tries[0], tries[0]], 'under the same id');
  assert.equal(await again.locator('.failed').count(), 0);
  await bob.shows('goes on', 'meanwhile', 'second try');
});

test('what was not sent is still there after a reload, with its reason, to be tried again or deleted', async () => {
  let closed = true;
  gate.out = (frame) => {
    if (!closed || frame.type !== 'publish' || !/^kept/.test(frame.body?.text)) return true;
    gate.say({ type: 'error', ref: frame.ref, id: frame.id, room: frame.room, code: 'forbidden', message: 'not now' });
    return false;
  };
  await alice.listens();
  for (const text of ['kept and sent', 'kept and deleted', 'kept in silence']) await alice.say(text);
  const why = (text) => alice.message(text).locator('.why', { hasText: 'not sent: this is not open to you' });
  const all = ['kept and sent', 'kept and deleted', 'kept in silence'];
  const told = alice.page.locator('#status', { hasText: 'not sent' });
  const written = () => alice.message('kept in silence').locator('time').getAttribute('datetime');
  for (const text of all) await why(text).waitFor();
  await alice.heard('not sent: this is not open to you');
  const at = await written();
  const kept = (...texts) => until(async () => {
    const failed = (await alice.unsent()).filter(({ error }) => error).map(({ body }) => body.text);
    return String(failed.sort()) === String(texts.sort());
  }, `${texts} are kept, and why they were not sent`);
  await kept(...all);
  for (let round = 0; round < 2; round++) {
    await alice.shows(...all);
    await alice.reload();
    await why(all[0]).waitFor();
    assert.equal(await told.count(), 0, 'it is no news');
    for (const text of all) await why(text).waitFor();
    assert.equal(await written(), at, 'when it was written');
  }
  await alice.say('something else');
  await alice.saved('something else');
  await alice.page.locator('.message.last-own', { hasText: 'something else' }).waitFor(); // though what failed stands below
  assert.equal(await alice.page.locator('.message.last-own').count(), 1);
  closed = false;
  await alice.message('kept and sent').getByRole('button', { name: 'Retry' }).click();
  await alice.saved('kept and sent');
  await bob.message('kept and sent').waitFor();
  await alice.message('kept and deleted').getByRole('button', { name: 'Delete' }).click();
  await alice.message('kept and deleted').waitFor({ state: 'detached' });
  await kept('kept in silence');
  await alice.reload();
  await why('kept in silence').waitFor();
  assert.equal(await alice.message('kept and deleted').count(), 0);
  assert.equal(await alice.message('kept and sent').count(), 1);
  assert.equal(await bob.message('kept in silence').count(), 0);
  await alice.message('kept in silence').getByRole('button', { name: 'Delete' }).click();
  await alice.message('kept in silence').waitFor({ state: 'detached' });
});

test('what is too long is refused before it is sent, and the draft is not lost', async () => {
  const long = 'x'.repeat(65_000);
  await alice.say(long);
  const failed = alice.page.locator('.message[data-state=failed]');
  await failed.locator('.why', { hasText: 'it is too long' }).waitFor();
  await alice.box.press('ArrowUp');
  assert.equal((await value()).length, long.length);
  await alice.box.fill('');
  await failed.getByRole('button', { name: 'Retry' }).click();
  await failed.locator('.why').waitFor();
  await failed.getByRole('button', { name: 'Delete' }).click();
  await failed.waitFor({ state: 'detached' });
  await alice.say('shorter');
  await state('shorter', 'seen');
});

test('what is typed before the script has come stays, and so does the focus', async () => {
  const early = await (await w.person('early')).logIn();
  const { page } = early;
  let come;
  const hold = new Promise((resolve) => (come = resolve));
  await page.route(/\/app\.js$/, async (route) => {
    await hold;
    await route.continue();
  });
  await page.reload({ waitUntil: 'commit' });
  await early.box.fill('typed early');
  await page.locator('#join-name').fill('gar');
  come();
  await early.connected();
  assert.equal(await early.box.inputValue(), 'typed early');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'join-name');
  await page.unroute(/\/app\.js$/);
  await early.reload();
  assert.equal(await early.box.inputValue(), 'typed early', 'it is the draft');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'text', 'where nothing has the focus, the box gets it');
  await early.box.press('Enter');
  await early.saved('typed early');
  await early.context.close();
});
