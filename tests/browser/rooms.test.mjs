// Somebody who is in many rooms, at the limit of frames that examples/chat has when nothing is said: 50 a second, 100 at once.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { directRoom, until, world } from './chat.mjs';
import { Wire } from './wire.mjs';

const names = (what, n) => Array.from({ length: n }, (_, i) => `${what}${i + 10}`);
const rooms = names('room', 60), others = names('friend', 28);
const past = [...rooms, ...others.map((other) => directRoom('alice', other))].flatMap((room, i) => [
  { room, sender: 'alice', text: `here is ${room}`, listed: true },
  { room, sender: others[i % others.length], text: `and an answer in ${room}` },
]);

let w, wire, alice, errors;

before(async () => {
  w = await world({ args: [], past });
  wire = await new Wire().start(w.url);
  alice = await w.person('alice', { at: wire.url });
  const gate = await alice.gate();
  gate.back = (frame) => {
    if (frame.type === 'error') errors.push(frame);
    return true;
  };
  errors = [];
  await w.bot(others[3]);
});

after(async () => {
  wire?.stop();
  await w?.stop();
});

// whole waits until the page is in all the rooms.
const whole = async () => {
  await until(() => alice.page.evaluate(async (n) => {
    const { all } = await import(document.querySelector('script[src$="/app.js"]').src.replace('app.js', 'rooms.js'));
    return all.size === n && [...all.values()].every((c) => c.room.joined);
  }, 2 + rooms.length + others.length), 'in all rooms');
  await alice.page.locator('#subtitle', { hasText: '1 person here' }).waitFor();
};

test('a page in 90 rooms opens within the limit, comes back, and goes from room to room', async () => {
  const { page } = alice;
  await alice.logIn();
  await whole();
  for (const name of [rooms[0], rooms.at(-1), '@' + others[0]]) await alice.entry(name).locator('.preview', { hasText: 'and an answer' }).waitFor();
  assert.deepEqual(await page.locator('#rooms .room').evaluateAll((all) => all.map((e) => e.dataset.room)), ['general', 'random', ...rooms]);
  await alice.say('through all the same');
  await alice.saved('through all the same');
  assert.deepEqual(errors, [], 'what the server refuses');

  alice.outage = true;
  await alice.losing(() => wire.cut());
  await alice.connected();
  alice.outage = false;
  await whole();
  await alice.say('and after a cut');
  await alice.saved('and after a cut');
  for (const name of [rooms[7], '@' + others[5], rooms[8]]) {
    await alice.open(name);
    await alice.message('and an answer').waitFor();
  }
  await page.locator('#subtitle', { hasText: '1 person here' }).waitFor();
  await until(async () => await page.locator('#banner.on').count() === 0, 'no word of it');
});

test('who is there shows beside direct rooms, without asking for each', async () => {
  const dot = alice.entry('@' + others[3]).locator('.avatar');
  const friend = await w.bot(others[4]);
  await friend.room(directRoom('alice', others[4])).join();
  await alice.entry('@' + others[4]).locator('.avatar.online').waitFor();
  assert.equal(await dot.evaluate((e) => e.classList.contains('online')), false, 'connected, and not in the room');
});

test('what is refused for a moment is asked for again', async () => {
  const gate = await alice.gate();
  const refused = [];
  gate.out = (frame) => {
    if (!['presence', 'history'].includes(frame.type) || refused.includes(`${frame.type} ${frame.room}`)) return true;
    refused.push(`${frame.type} ${frame.room}`);
    gate.say({ type: 'error', ref: frame.ref, room: frame.room, code: 'rate_limited', message: 'later', retry_ms: 50 });
    return false;
  };
  await alice.reload();
  await alice.open(rooms[20]);
  await alice.page.locator('#subtitle', { hasText: '1 person here' }).waitFor();
  await alice.message('and an answer').waitFor();
  await until(() => alice.page.evaluate(async (name) => {
    const { all } = await import(document.querySelector('script[src$="/app.js"]').src.replace('app.js', 'rooms.js'));
    return all.get(name).complete && !all.get(name).timeline.more;
  }, rooms[20]), 'all of it is known');
  assert.ok(refused.includes(`presence ${rooms[20]}`) && refused.includes(`history ${rooms[20]}`), `${refused}`);
});
