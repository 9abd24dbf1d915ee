// Where the log is scrolled to. It is a column in reverse: scrollTop is 0 at the end, where browsers then begin and
// stay by themselves, and negative above. Whoever reads further up keeps the line they read, whatever comes or goes.
// Read first, then write: the browser lays out once a frame.

import { $, announce, setText } from './dom.js';
import { on } from './events.js';
import { t } from './i18n.js';
import { conversation, isPartial } from './log.js';

const NEAR = 48; // px to the end that count as being there
const CALM = 10_000; // ms between two times that a reader further up is told of new messages below
const log = $('log');
const list = $('messages');

let atEnd = true; // new messages then stay in view
let moved = false; // the reader has scrolled, since the room was opened

// following tells whether the reader is at the end of the room, not only of what is here.
export const following = () => atEnd && !conversation()?.timeline.newer;
export const touched = () => moved;

// isReading tells whether what comes is read as it comes.
export const isReading = (c) => c === conversation() && following() && document.visibilityState === 'visible';

export function startScroll() {
  log.addEventListener('scroll', onScroll, { passive: true });
  document.addEventListener('visibilitychange', settle);
  $('newer').addEventListener('click', () => {
    stick(true);
    conversation().toNewest();
    toEnd();
    settle();
    $('text').focus({ preventScroll: true });
  });
  $('earlier').addEventListener('submit', (e) => {
    e.preventDefault();
    earlier();
  });
  on('unread', (c) => c === conversation() && paintPill());
}

export function stick(value) {
  atEnd = value;
  if (value) moved = false;
}

function toEnd() {
  log.scrollTop = 0;
}

// toStart shows where to begin to read: at e, or at the end.
export function toStart(e) {
  toEnd();
  if (!e) return settle();
  const over = e.getBoundingClientRect().top - log.getBoundingClientRect().top;
  if (over < 0) {
    log.scrollTop += over - 12;
    atEnd = distance() < NEAR;
  }
  settle();
}

const distance = () => -log.scrollTop; // px to the end
const above = () => log.scrollHeight - log.clientHeight + log.scrollTop; // px to the beginning

function onScroll() {
  const c = conversation();
  if (!c) return;
  const was = atEnd;
  atEnd = distance() < NEAR;
  if (!atEnd) moved = true;
  if (was !== atEnd) settle();
  else paintPill();
  reach();
}

// reach gets what is next to what is seen: two screens above, for most go up, and one below.
export function reach() {
  const c = conversation();
  if (isPartial()) return; // what is to come may do
  if (above() < 2 * log.clientHeight && !atEnd) earlier();
  if (c.timeline.newer && distance() < log.clientHeight) {
    quiet();
    c.later();
  }
}

function earlier() {
  quiet();
  conversation()?.earlier();
}

// inView is the message at the top of what is seen. It is sought by its place: to ask the browser what is there would
// have it get ready to paint.
export function inView() {
  const { top } = log.getBoundingClientRect();
  const all = list.children;
  let from = 0;
  for (let to = all.length; from < to;) {
    const at = (from + to) >> 1;
    if (all[at].getBoundingClientRect().bottom > top + 8) to = at;
    else from = at + 1;
  }
  for (let e = all[from]; e; e = e.nextElementSibling) if (e.matches('.message')) return e;
  return list.querySelector('.message');
}

// hold remembers what is in view, for the time that the list is changed; what it returns puts it back, where the
// browser has not done so.
export function hold() {
  if (following()) return toEnd;
  const e = inView();
  const top = e?.getBoundingClientRect().top;
  return () => {
    const by = e?.isConnected ? e.getBoundingClientRect().top - top : 0;
    if (by) log.scrollTop += by;
  };
}

// settle says what has been read, and what has not.
export function settle() {
  const c = conversation();
  if (!c) return;
  if (isReading(c)) c.read();
  paintPill();
  if (!busy) log.setAttribute('aria-live', isReading(c) ? 'polite' : 'off');
}

function paintPill() {
  const c = conversation();
  if (!c) return;
  const away = !atEnd && (c.unread > 0 || c.timeline.newer || distance() > 2 * log.clientHeight);
  $('newer').hidden = !away;
  const n = away ? c.unread : 0;
  tell(c, n);
  if (!away) return;
  setText($('newer'), n ? t('log.newer', { n }) : t('log.bottom'));
  if (n) $('newer').setAttribute('aria-label', t('log.newer.label', { n }));
  else $('newer').removeAttribute('aria-label');
}

// tell says aloud that there are more new messages below: not each of them, for they are not what is being read.
let told = { n: 0 };
let calm = 0;
function tell(c, n) {
  if (c !== told.of || n < told.n) told = { of: c, n: 0 };
  if (n <= told.n || calm) return;
  told.n = n;
  announce(t('log.newer.told', { n }), 'newer');
  calm = setTimeout(() => {
    calm = 0;
    paintPill();
  }, CALM);
}

// quiet has nothing read out for a moment: whole pages come.
let busy = 0;
export function quiet() {
  log.setAttribute('aria-live', 'off');
  clearTimeout(busy);
  busy = setTimeout(() => {
    busy = 0;
    settle();
  }, 500);
}
