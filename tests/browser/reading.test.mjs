// Reading on the page of examples/chat: what is unread, where the new messages begin, and going up through a long room.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { directRoom, lines, saidBy, until, world } from './chat.mjs';

const DAY = 86_400_000; // ms
// It is noon wherever these people are: no day ends while they read.
const noon = new Date().setUTCMinutes(0, 0, 0);
const hours = 12 - new Date(noon).getUTCHours();
const timezoneId = `Etc/GMT${hours > 0 ? '-' : '+'}${Math.abs(hours)}`;
const LONG = 700; // messages: more than are on screen, and remembered of the end, together
const past = [
  ...[200, 3, 2, 1].flatMap((days) => [1, 2].map((n) => ({ room: 'days', sender: 'bob', text: `${days} days ago, ${n}`, at: noon - days * DAY + n * 1_000 }))),
  ...lines(1, LONG).map((text, i) => ({ room: 'long', sender: i % 3 ? 'bob' : 'carol', text })),
  ...lines(1, 60).map((text) => ({ room: 'sixty', sender: 'bob', text })),
];

let w, alice, bob, gate;

before(async () => {
  w = await world({ past });
  alice = await w.person('alice', { timezoneId });
  gate = await alice.gate();
  await alice.logIn();
  bob = await w.bot('bob');
});

after(() => w?.stop());

// bottom tells how many px are between what is seen and the end.
const bottom = ({ log }) => log.evaluate((log) => Math.round(Math.abs(log.scrollTop)));

// top is the message at the top of what is seen, and where it is.
const top = ({ page }) => page.evaluate(() => {
  const edge = document.getElementById('log').getBoundingClientRect().top;
  const m = [...document.querySelectorAll('#messages .message')].find((m) => m.getBoundingClientRect().top >= edge);
  return { seq: m.dataset.seq, y: m.getBoundingClientRect().top };
});

// frames waits until the page has drawn what it has to, and what came of that.
const frames = ({ page }) => page.evaluate(() => new Promise((resolve) => {
  let n = 4;
  const next = () => (n-- ? requestAnimationFrame(next) : resolve());
  next();
}));

// yOf is where a message is now.
const yOf = ({ page }, seq) => page.evaluate((seq) => document.querySelector(`#messages .message[data-seq="${seq}"]`).getBoundingClientRect().top, seq);

test('what comes elsewhere is counted, previewed, and in the title', async () => {
  await saidBy(bob, 'random', 'first of many', 'second\nof   many');
  await alice.unread('random', 2);
  await alice.entry('random').locator('.preview', { hasText: /^bob: second of many$/ }).waitFor();
  await alice.page.waitForFunction(() => document.title.startsWith('(2) #general'));
  const direct = bob.room((await bob.direct('alice')).name);
  await direct.send({ text: 'psst' }).sent;
  await alice.unread('@bob', 1);
  await alice.entry('@bob').locator('.preview', { hasText: /^psst$/ }).waitFor();
  await alice.page.waitForFunction(() => document.title.startsWith('(3) '));
  await alice.reload();
  await alice.unread('random', 2);
  await alice.unread('@bob', 1);
  await alice.page.waitForFunction(() => document.title.startsWith('(3) '));
});

test('a room with unread messages opens where they begin, and they are read then', async () => {
  await alice.open('random');
  await alice.message('second').waitFor();
  await alice.entry('random').locator('.badge').waitFor({ state: 'hidden' });
  await alice.open('general');
  await saidBy(bob, 'random', ...lines(1, 3));
  await alice.unread('random', 3);
  await alice.open('random');
  await alice.message('line 3 of many').waitFor();
  await alice.page.locator('#divider', { hasText: 'New' }).waitFor();
  assert.equal(await alice.page.locator('#divider + .message .bubble').textContent(), 'line 1 of many');
  await alice.entry('random').locator('.badge').waitFor({ state: 'hidden' });
  await alice.page.waitForFunction(() => document.title.startsWith('(1) #random'));
  await alice.open('general');
  await alice.open('random');
  await alice.message('line 3 of many').waitFor();
  assert.equal(await alice.page.locator('#divider').count(), 0, 'nothing is new any more');
  const told = new Promise((resolve) => { bob.room(directRoom('alice', 'bob')).on('receipt', ({ seen }) => seen && resolve()); });
  await alice.open('@bob');
  await alice.page.waitForFunction(() => !/^\(/.test(document.title));
  await told; // the page gathers such news for half a second, and the next test leaves it
});

for (const leave of ['goes elsewhere', 'is closed']) {
  test(`what was read in the last moment before a page ${leave} is read`, async () => {
    const name = leave.replace(' ', '-');
    const nick = await w.person(name);
    const { page } = nick;
    await nick.logIn();
    await page.clock.install(); // from here on no time passes by itself: what the client gathers waits
    await page.reload();
    await page.clock.runFor(5_000);
    await nick.connected();
    await page.clock.runFor(2_000);
    await page.clock.pauseAt(Date.now() + 60_000);
    const room = bob.room('general');
    const { seq } = await room.send({ text: `read by ${name}` }).sent;
    await until(async () => {
      await page.clock.runFor(20);
      return page.evaluate(async (seq) => {
        const { all } = await import(document.querySelector('script[src$="/app.js"]').src.replace('app.js', 'rooms.js'));
        return all.get('general').seen >= seq;
      }, seq);
    }, 'it is read');
    const told = async () => (await room.history({ limit: 1 })).watermarks[name]?.seen >= seq;
    assert.equal(await told(), false, 'nobody has been told yet');
    if (leave === 'is closed') await page.close({ runBeforeUnload: true });
    else await page.goto('about:blank');
    await until(told, 'it is known to have been read');
    await nick.context.close();
  });
}

test('each day has a heading, in the same words from server and script, and messages close together have one head', async () => {
  const dora = await w.person('dora', { locale: 'de-DE', timezoneId });
  await dora.logIn();
  for (const [reader, yesterday] of [[alice, 'Yesterday'], [dora, 'Gestern']]) {
    const address = reader.at + '?room=days';
    await reader.page.goto(address);
    await reader.connected();
    const heads = async () => {
      await reader.message('1 days ago, 2').waitFor();
      assert.equal(await reader.page.locator('#messages .message:not(.follows)').count(), 4);
      return reader.page.locator('#messages .day').allTextContents();
    };
    const list = await heads();
    assert.equal(list.length, 4);
    assert.equal(list[3], yesterday);
    // The server's words, as no script has touched them.
    const html = await (await reader.context.request.get(address, { headers: { 'accept-language': await reader.page.evaluate(() => navigator.language) } })).text();
    assert.deepEqual([...html.matchAll(/<li class="day"><time datetime="\d[^>]*>([^<]*)</g)].map(([, words]) => words), list);
    await reader.open('general');
    await reader.page.goBack();
    await reader.titled('days');
    assert.deepEqual(await heads(), list);
  }
  await dora.context.close();
  await alice.say('and today');
  await alice.saved('and today');
  await alice.page.locator('#messages .day', { hasText: 'Today' }).waitFor();
});

test('at midnight today becomes yesterday, in a page that nobody touches', async () => {
  const mia = await w.person('mia', { timezoneId });
  const { page } = mia;
  await page.clock.install();
  await mia.logIn('?room=days');
  await mia.message('and today').waitFor();
  const last = page.locator('#messages .day').last();
  assert.equal(await last.textContent(), 'Today');
  assert.match(await mia.entry('days').locator('.when').textContent(), /^\d\d:\d\d$/);
  mia.outage = true; // for the page's clock nobody has said anything for a long time
  await page.clock.fastForward(noon + DAY / 2 - Date.now() + 61_000);
  await last.filter({ hasText: 'Yesterday' }).waitFor();
  await mia.entry('days').locator('.when', { hasText: /[A-Z]/ }).waitFor();
  await mia.context.close();
});

test('scrolling up goes through the whole room, and nothing moves under the eyes', async () => {
  await alice.page.goto(alice.at + '?room=long');
  await alice.connected();
  await alice.message(`line ${LONG} of many`).waitFor();
  assert.ok(await alice.messages.count() <= 50, 'only the newest at first');
  assert.equal(await bottom(alice), 0);
  const seen = new Set(await alice.texts());
  let moved = 0;
  for (let round = 0; round < 200 && !seen.has('line 1 of many'); round++) {
    // What comes is held back until the scrolling is over and what it has brought into view is laid out.
    const held = [];
    gate.back = (frame) => !held.push(frame);
    await alice.log.evaluate((log) => (log.scrollTop -= log.scrollHeight - log.clientHeight + log.scrollTop - log.clientHeight / 2));
    await frames(alice);
    const [before, first] = [await top(alice), await alice.messages.first().getAttribute('data-seq')];
    gate.back = () => true;
    for (const frame of held) gate.say(frame);
    // Unless the beginning was drawn between the two looks at the log.
    await alice.page.waitForFunction((first) => document.querySelector('#messages .message').dataset.seq !== first || !document.getElementById('beginning').hidden, first);
    await frames(alice);
    const y = await yOf(alice, before.seq);
    assert.ok(Math.abs(y - before.y) <= 2, `the message at the top moved by ${y - before.y} px`);
    moved++;
    for (const text of await alice.texts()) seen.add(text);
  }
  assert.ok(moved >= 3, `${moved} pages`);
  assert.equal(seen.size, LONG);
  assert.deepEqual((await alice.texts()).slice(0, 100), lines(1, 100), 'in order, without a hole');
  await alice.page.locator('#beginning', { hasText: 'This is the beginning of #long.' }).waitFor();
  assert.equal(await alice.page.locator('#earlier').isVisible(), false);
});

test('on a tall screen, too, history comes for who scrolls, and stops with them', async () => {
  const tall = await w.person('tall', { viewport: { width: 1280, height: 2_000 } });
  const way = await tall.gate();
  await tall.logIn('?room=long');
  await tall.message(`line ${LONG} of many`).waitFor();
  let asked = 0;
  let open = 0;
  way.out = (frame) => {
    if (frame.type === 'history') open = ++asked;
    return true;
  };
  way.back = (frame) => {
    if (frame.type === 'history') open = 0;
    return true;
  };
  const partial = () => tall.page.evaluate(async () => (await import(document.querySelector('script[src$="/app.js"]').src.replace('app.js', 'log.js'))).isPartial());
  for (let round = 0; round < 4; round++) {
    const before = asked;
    await tall.log.evaluate((log) => (log.scrollTop -= log.scrollHeight - log.clientHeight + log.scrollTop - log.clientHeight / 2));
    for (let still = 0, was; still < 5; was = asked) {
      await frames(tall);
      still = open || was !== asked || await partial() ? 0 : still + 1;
      assert.ok(asked - before <= 4, `${asked - before} pages for one turn`);
    }
    assert.ok(asked > before, 'more comes');
    const missing = await tall.messages.last().evaluate((m) => document.getElementById('log').getBoundingClientRect().bottom - m.getBoundingClientRect().bottom);
    assert.ok(missing < 20, `${missing} px of what is in view have been let go`);
  }
  assert.ok(await tall.messages.count() < 400, `${await tall.messages.count()}`);
  await tall.context.close();
});

// rest waits until the wheel has come to rest, and gives what is at the top then. On a busy machine it may stand still
// for a frame or two on its way.
async function rest() {
  for (let was, now, same = 0; ; was = now) {
    await frames(alice);
    now = await top(alice);
    same = was?.y === now.y && was.seq === now.seq ? same + 1 : 0;
    if (same === 8) return now;
  }
}

test('and down again, to the end', async () => {
  await alice.page.locator('#newer', { hasText: 'To the end' }).click();
  await alice.shows(...lines(LONG - 39, LONG));
  await until(async () => await bottom(alice) === 0, 'at the end');
  const texts = await alice.texts();
  assert.deepEqual(texts, lines(LONG + 1 - texts.length, LONG), 'without a hole');
});

test('who reads further up is told of new messages, and not moved', async () => {
  const { page, log } = alice;
  await alice.scroll(-900);
  await until(async () => await bottom(alice) > 500, 'scrolled up');
  await until(async () => await log.getAttribute('aria-live') === 'off', 'what comes is not read out');
  const before = await rest();
  await alice.listens();
  await saidBy(bob, 'long', 'one more', 'two more');
  const pill = page.getByRole('button', { name: '2 new messages, go to the end' });
  await pill.waitFor();
  assert.equal(await pill.textContent(), '2 new ↓');
  await alice.heard('^[12] new messages? below$'); // 2, or 1 and nothing more for a while
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 700))); // for half a second it is quiet anyhow
  assert.equal(await log.getAttribute('aria-live'), 'off', 'what comes below is not read out');
  const y = await yOf(alice, before.seq);
  assert.ok(Math.abs(y - before.y) <= 2, `moved by ${y - before.y} px`);
  await alice.unread('long', 2);
  await pill.click();
  await alice.shows('one more', 'two more');
  await until(async () => await bottom(alice) === 0, 'at the end');
  await pill.waitFor({ state: 'hidden' });
  await alice.entry('long').locator('.badge').waitFor({ state: 'hidden' });
});

test('who is at the end stays there, and what comes is read out politely', async () => {
  await until(async () => await alice.log.getAttribute('aria-live') === 'polite', 'polite at the end');
  await saidBy(bob, 'long', 'a last one');
  await alice.message('a last one').waitFor();
  await until(async () => await bottom(alice) === 0, 'at the end');
  await alice.entry('long').locator('.badge').waitFor({ state: 'hidden' });
  for (const id of ['typing', 'status', 'commands']) assert.equal(await alice.page.locator(`#log #${id}`).count(), 0, `${id} is outside the log`);
  assert.ok(await alice.page.locator('.ticks').evaluateAll((all) => all.every((e) => e.getAttribute('aria-live') === 'off')));
});

test('the focus is not lost with the button for earlier messages', async () => {
  const { page } = alice;
  await page.goto(alice.at + '?room=sixty');
  await alice.connected();
  await alice.message('line 60 of many').waitFor();
  assert.equal(await alice.message('line 10 of many').count(), 0);
  await page.locator('#earlier button').focus();
  await page.keyboard.press('Enter');
  await page.locator('#earlier').waitFor({ state: 'hidden' });
  const focused = await page.evaluate(() => document.activeElement.matches('.message') ? document.activeElement.querySelector('.bubble').textContent : document.activeElement.tagName);
  assert.equal(focused, 'line 11 of many', 'the message that was below it');
});

// inPage gives how many messages of a room the page keeps.
const inPage = ({ page }, room) => page.evaluate(async (room) => {
  const { all } = await import(document.querySelector('script[src$="/app.js"]').src.replace('app.js', 'rooms.js'));
  return all.get(room).timeline.messages.length;
}, room);

test('what nobody looks at does not pile up, and nothing of it is missed', async () => {
  const { page } = alice;
  await page.goto(alice.at + '?room=days');
  await alice.connected();
  const many = lines(1, 600).map((text) => text.replace('many', 'lots'));
  await saidBy(bob, 'random', ...many); // a room that is not open
  await alice.entry('random').locator('.preview', { hasText: 'line 600 of lots' }).waitFor();
  assert.ok(await inPage(alice, 'random') <= 400, `${await inPage(alice, 'random')} messages of a room that is not open`);

  // A tab that is not drawn.
  await alice.open('random');
  await alice.shows(...many.slice(-40));
  await alice.log.evaluate((log) => (log.scrollTop = 0));
  await until(async () => await bottom(alice) === 0, 'at the end');
  const undrawn = () => page.evaluate(() => {
    window.frames = [];
    window.drawn = window.requestAnimationFrame;
    window.requestAnimationFrame = (f) => window.frames.push(f);
  });
  const draw = () => page.evaluate(() => {
    window.requestAnimationFrame = window.drawn;
    for (const f of window.frames) requestAnimationFrame(f);
  });
  await undrawn();
  const more = lines(601, 1_200).map((text) => text.replace('many', 'lots'));
  await saidBy(bob, 'random', ...more);
  await alice.entry('random').locator('.preview', { hasText: 'line 1200 of lots' }).waitFor();
  assert.ok(await inPage(alice, 'random') <= 400, `${await inPage(alice, 'random')} messages of a tab that is not drawn`);
  await draw();
  await alice.shows(...more.slice(-100));
  const texts = await alice.texts();
  assert.deepEqual(texts, lines(1_201 - texts.length, 1_200).map((text) => text.replace('many', 'lots')), 'without a hole');

  // The same, with the reader further up, who stays where they are.
  await alice.scroll(-900);
  await until(async () => await bottom(alice) > 500, 'scrolled up');
  const before = await rest();
  await undrawn();
  await saidBy(bob, 'random', ...lines(1_201, 1_800));
  await alice.entry('random').locator('.preview', { hasText: 'line 1800 of many' }).waitFor();
  assert.ok(await inPage(alice, 'random') <= 400, `${await inPage(alice, 'random')} messages below a reader`);
  await draw();
  await frames(alice);
  await until(async () => Math.abs(await yOf(alice, before.seq) - before.y) <= 2, 'nothing has moved'); // on a busy machine, once all is drawn
  await page.locator('#newer').click();
  await alice.shows(...lines(1_751, 1_800));
  await until(async () => await bottom(alice) === 0, 'at the end');
});
