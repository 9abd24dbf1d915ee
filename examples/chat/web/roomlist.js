// The list of rooms: an entry each, with what is unread and what was said last.

import { $, element, fromTemplate, paintAvatar, rove, setText, soon } from './dom.js';
import { on } from './events.js';
import { atMidnight, boot, t, when } from './i18n.js';
import { isTold, wordsOf } from './message.js';
import { all, isPreset, open, roomUrl, upTo } from './rooms.js';

const PREVIEW = 80; // characters
let stops; // of the Tab key, in either list

export function startList() {
  stops = { rooms: rove($('rooms'), 'a', { vertical: true }), direct: rove($('direct'), 'a', { vertical: true }) };
  $('side').addEventListener('click', (e) => {
    const link = e.target.closest('.room > a');
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.button) return; // it is to be opened elsewhere
    e.preventDefault();
    const c = all.get(link.closest('.room').dataset.room);
    if (c) open(c);
  });
  on('changed', paintSoon);
  on('unread', paintSoon);
  on('people', () => all.forEach(paintSoon));
  atMidnight(() => all.forEach(paintHead));
  on('open', (c, before) => {
    before?.item.querySelector('a').removeAttribute('aria-current');
    const link = c.item.querySelector('a');
    link.setAttribute('aria-current', 'page');
    stops[listOf(c).id](link);
  });
}

const listOf = (c) => $(c.other === undefined ? 'rooms' : 'direct');

// add gives c its entry: the one that the server has made, or a new one.
export function add(c) {
  const list = listOf(c);
  c.item = [...list.children].find((item) => item.dataset.room === c.name);
  const found = c.item !== undefined;
  c.item ??= fromTemplate(c.other === undefined ? 'room' : 'direct');
  const part = (name) => c.item.querySelector(`.${name}`);
  c.parts = { avatar: part('avatar'), name: part('name'), badge: part('badge'), unread: part('unread'), preview: part('preview') };
  c.parts.when = element('time', 'when soft small');
  c.parts.name.after(c.parts.when);
  paintHead(c);
  if (found) return;
  c.item.dataset.room = c.name;
  c.item.querySelector('a').href = roomUrl(c.name);
  setText(c.parts.name, c.other ?? c.name);
  if (c.other !== undefined) paintAvatar(c.parts.avatar, c.other);
  list.insertBefore(c.item, c.other !== undefined ? list.firstElementChild : [...list.children].find((item) => !isPreset(item.dataset.room) && item.dataset.room > c.name) ?? null);
  $('direct-none').hidden = $('direct').childElementCount > 0;
  stops[list.id]();
  paint(c);
}

export function remove(c) {
  const list = listOf(c);
  const focused = c.item.contains(document.activeElement);
  c.item.remove();
  $('direct-none').hidden = $('direct').childElementCount > 0;
  stops[list.id]();
  if (focused) (list.querySelector('a') ?? $('rooms').querySelector('a')).focus();
}

const stale = new Set();
const paintStale = soon(() => {
  stale.forEach(paint);
  stale.clear();
}, 100);

function paintSoon(c) {
  stale.add(c);
  paintStale();
}

function paint(c) {
  const { parts, newest, unread } = c;
  if (newest) {
    setText(parts.preview, previewOf(c, newest));
    if (c.item.dataset.head !== String(newest.seq)) {
      c.item.dataset.head = newest.seq;
      if (c.other !== undefined) toTop(c.item);
    }
    paintWhen(c, newest.seq);
  }
  parts.badge.hidden = unread === 0;
  setText(parts.badge, upTo(unread));
  setText(parts.unread, unread ? t('rooms.unread', { n: unread }) : '');
  c.item.classList.toggle('has-unread', unread > 0);
  if (c.other !== undefined) parts.avatar.classList.toggle('online', c.online);
}

function paintHead(c) {
  const head = Number(c.item.dataset.head);
  if (head) paintWhen(c, head);
}

function paintWhen({ parts }, seq) {
  parts.when.dateTime = new Date(seq / 1000).toISOString();
  setText(parts.when, when(seq / 1000));
}

function previewOf(c, m) {
  let text = wordsOf(m).replace(/\s+/g, ' ').trim();
  const characters = [...text.slice(0, 2 * PREVIEW + 2)];
  if (characters.length > PREVIEW) text = `${characters.slice(0, PREVIEW).join('')}…`;
  if (isTold(m)) return text;
  if (m.sender === boot.user) return t('preview.you', { text });
  return c.other !== undefined ? text : t('preview.other', { user: m.sender, text });
}

// toTop moves an entry to where something happened last, unless that would take it from under the keyboard.
function toTop(item) {
  const list = item.parentElement;
  if (list.contains(document.activeElement)) return;
  const newer = [...list.children].filter((other) => other !== item && Number(other.dataset.head) > Number(item.dataset.head));
  const before = newer.length ? newer.at(-1).nextElementSibling : list.firstElementChild;
  if (before !== item) list.insertBefore(item, before);
}
