// What is in the log: the messages of the conversation on screen, with the days between them and where the new
// ones begin. Whatever changes, the whole is put in order once a frame; elements that are there are kept.

import { mostHere } from './conversation.js';
import { $, arrange, frame, fromTemplate, oncePerFrame, rove, setText } from './dom.js';
import { on } from './events.js';
import { atMidnight, boot, dateAndTime, day, t } from './i18n.js';
import { dayOf, isNotice, paint, paintOnce, stateOf, timeOf } from './message.js';
import * as scroll from './scroll.js';

const TOGETHER = 5 * 60_000; // ms between messages of one sender that share a heading
const AT_ONCE = 5; // messages that a frame adds at either end: a page of them in one would be felt on a slow machine
const SCREEN = 16; // with which a room opens

const log = $('log');
const list = $('messages');
let shown; // the conversation on screen
let divider;
let days = new Map(); // midnight → heading
let below; // the message at the beginning, before what comes above it
let partial = false; // more is to come into the log, a few messages a frame
let changed = false; // what is there already, since it was drawn
let stop = () => {};

export const conversation = () => shown;
export const isPartial = () => partial;

export function startLog() {
  divider = $('divider') ?? fromTemplate('divider');
  for (const e of list.querySelectorAll('.day')) { // the server's
    const [year, month, date] = e.querySelector('time').dateTime.split('-').map(Number);
    days.set(new Date(year, month - 1, date).getTime(), e);
  }
  stop = rove(list, '.message', { vertical: true, fresh: -1 });
  // The links of a message are within reach while it is the stop of the Tab key.
  let current;
  list.addEventListener('focusin', (e) => {
    const message = e.target.closest('.message');
    if (message === current) return;
    for (const a of current?.querySelectorAll('a') ?? []) a.tabIndex = -1;
    for (const a of message?.querySelectorAll('a') ?? []) a.tabIndex = 0;
    current = message;
  });
  list.addEventListener('pointerover', ({ target }) => { // the whole date, for who wants to know
    if (target.matches('.message time') && !target.title) target.title = dateAndTime(Date.parse(target.dateTime));
  });
  for (const event of ['changed', 'marks', 'unread']) {
    on(event, (c) => {
      if (c !== shown) return;
      changed = true;
      redraw();
    });
  }
  atMidnight(() => days.forEach(nameDay)); // what was today is yesterday
  scroll.startScroll();
}

// show puts a conversation on screen: where its new messages begin, or at its end.
export function show(conversation) {
  const first = !shown;
  shown = conversation;
  scroll.quiet();
  scroll.stick(true);
  if (!first) {
    list.replaceChildren();
    days = new Map();
  }
  draw();
  scroll.toStart(divider.isConnected ? divider : undefined);
  shown.prime().then(async () => {
    if (shown !== conversation) return;
    scroll.quiet();
    draw();
    while (partial && shown === conversation) await frame();
    if (shown !== conversation) return;
    scroll.quiet();
    if (!scroll.touched()) scroll.toStart(divider.isConnected ? divider : undefined);
    stop(list.querySelector('.message:last-of-type') ?? undefined);
  });
}

// In a task of its own, which lays out, too: then there is less to do with the frame.
const redraw = oncePerFrame(() => setTimeout(draw));

function draw() {
  if (!shown) return;
  const { timeline } = shown;
  trim();
  const part = partOf(timeline.messages);
  const wanted = elementsOf(shown, part);
  const moves = changed || wanted.at(-1) !== list.lastElementChild; // what is read would; what comes above does not
  if (!partial) below = list.querySelector('.message');
  const release = moves ? scroll.hold() : () => {};
  changed = false;
  const more = timeline.more || part[0] !== timeline.messages[0];
  const over = !more || !timeline.first;
  if (over && $('earlier').contains(document.activeElement)) below?.focus({ preventScroll: true });
  arrange(list, wanted);
  const was = partial;
  partial = part.length < timeline.messages.length;
  if (partial) redraw();
  $('earlier').hidden = over;
  const none = timeline.messages.length === 0 && !timeline.more;
  log.classList.toggle('empty', none);
  $('beginning').hidden = more;
  setText($('beginning'), none ? t('log.empty') : shown.other === undefined ? t('log.beginning', { room: shown.title }) : t('log.beginning.direct', { user: shown.other }));
  release();
  stop();
  scroll.settle();
  if (was && !partial) scroll.reach(); // whoever has scrolled meanwhile need not again
  log.getBoundingClientRect(); // lays out, if it has not been
}

// partOf gives those of messages that shall be in the log now: what is there, what belongs between, and a few more. The
// first frame has enough to do with what goes, so above nothing comes before the second.
function partOf(messages) {
  const isThere = (m) => m.element?.isConnected;
  const from = messages.findIndex(isThere);
  if (from < 0) return messages.slice(-SCREEN);
  return messages.slice(partial ? Math.max(0, from - AT_ONCE) : from, messages.findLastIndex(isThere) + 1 + AT_ONCE);
}

// trim lets messages go where there are too many, far away from what is in view.
function trim() {
  const { messages } = shown.timeline;
  if (messages.length <= mostHere()) return;
  const read = !scroll.following() && scroll.inView();
  shown.trim(read ? messages.findIndex((m) => m.element === read) : Infinity);
}

// elementsOf gives what shall be in the log, in order: messages, a part of those of the conversation, and what is between.
function elementsOf(conversation, messages) {
  const { timeline, me, marks, other } = conversation;
  const wanted = [];
  const readers = [...marks].filter(([user]) => user !== me).map(([, mark]) => mark.seen).sort((a, b) => a - b);
  const theirs = other === undefined ? undefined : marks.get(other) ?? (conversation.name === boot.room ? boot.marks : undefined);
  const lastOwn = timeline.messages.findLast((m) => m.sender === me && !isNotice(m) && m.out?.status !== 'failed');
  let isNew = conversation.divider === undefined;
  let passed = 0; // of readers, those who have not got to the message at hand
  let before, beforeDay;
  for (const m of messages) {
    const today = dayOf(m);
    const newDay = today !== beforeDay;
    if (newDay) wanted.push(dayHeading(today));
    const begins = !isNew && m.seq > conversation.divider && m.sender !== me;
    if (begins) {
      isNew = true;
      wanted.push(divider);
    }
    while (passed < readers.length && readers[passed] < m.seq) passed++;
    const follows = !newDay && !begins && before.sender === m.sender && before.kind === m.kind && before.to === m.to && timeOf(m) - timeOf(before) < TOGETHER;
    const whisper = other === undefined && m.to !== undefined; // has one reader
    wanted.push(paint(m, {
      direct: other !== undefined,
      follows,
      lastOwn: m === lastOwn,
      state: stateOf(m, whisper ? marks.get(m.to) : theirs),
      readers: other === undefined && !whisper && m.seq !== Infinity ? readers.length - passed : 0,
    }));
    before = m;
    beforeDay = today;
  }
  paintOnce(messages);
  return wanted;
}

function dayHeading(midnight) {
  let e = days.get(midnight);
  if (!e) days.set(midnight, (e = fromTemplate('day')));
  nameDay(e, midnight);
  return e;
}

function nameDay(e, midnight) {
  const heading = e.querySelector('time');
  heading.dateTime = new Date(midnight - 60_000 * new Date(midnight).getTimezoneOffset()).toISOString().slice(0, 10);
  setText(heading, day(midnight));
}
