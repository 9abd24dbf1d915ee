// The rooms: which there are, which is on screen, what is unread in all of them.

import { $, announce, kept, setText, soon } from './dom.js';
import { notice } from './connection.js';
import { Conversation, directWith, mostHere } from './conversation.js';
import { emit, on } from './events.js';
import { boot, number, t } from './i18n.js';
import * as log from './log.js';
import { adopt } from './message.js';
import * as roomlist from './roomlist.js';
import { following, isReading } from './scroll.js';

const MAX_UNREAD = 100; // where the server stops counting

export const all = new Map(); // by name
export const isPreset = (name) => boot.presets.includes(name);
export const roomUrl = (name) => `/?room=${encodeURIComponent(name)}`;
export const upTo = (n) => (n >= MAX_UNREAD ? `${number(MAX_UNREAD - 1)}+` : number(n));
export const openDirect = (user) => open(get(directWith(boot.user, user)));

let client;

export function startRooms(theClient) {
  client = theClient;
  roomlist.startList();
  for (const name of [...boot.presets, ...(boot.rooms ?? []).map(({ room }) => room), boot.room]) get(name);
  for (const { room, seen, unread } of boot.rooms ?? []) Object.assign(get(room), { seen, listed: unread, counted: false });

  const first = get(boot.room);
  const since = boot.since ?? undefined;
  first.adopt(adopt(), boot.more || since === undefined, since === undefined ? undefined : boot.watermarks);
  for (const c of all.values()) c.room.join({ since: c === first ? since : undefined });
  open(first, { replace: true });

  client.on('state', () => emit('changed', log.conversation())); // what is unsent waits, or does not any more
  client.on('rooms', listed);
  client.on('joined', (room) => get(room.name));
  client.on('invite', ({ room }) => {
    get(room.name);
    room.join();
  });
  on('unread', paintTotal);
  on('changed', bound);
  on('elsewhere', (from, name) => { // /msg has taken a message there
    const c = get(name);
    c.room.join();
    if (from === log.conversation()) open(c);
  });
  addEventListener('popstate', () => {
    const name = new URLSearchParams(location.search).get('room') ?? boot.presets[0];
    if (name !== log.conversation().name) open(get(name), { replace: true });
  });
  $('join').addEventListener('submit', (e) => {
    e.preventDefault();
    const name = $('join-name').value.trim();
    e.target.reset();
    if (name) open(get(name));
  });
  $('leave').addEventListener('click', () => {
    const c = log.conversation();
    kept.set(`draft ${boot.user} ${c.name}`, null);
    c.room.leave().catch(() => {});
  });
}

// listed takes the server's word on what is unread.
function listed(rooms) {
  let anew = false;
  for (const { room, seen } of rooms) {
    anew ||= !all.has(room);
    const c = get(room);
    c.seen = Math.max(c.seen, seen);
    c.counted = true;
    c.room.join();
    emit('unread', c);
  }
  for (const c of all.values()) c.counted = true;
  if (anew) client.rooms().then(listed, () => {}); // the client counts only in rooms that it knows
}

// bound has the messages of a room not pile up while nobody looks: in another one, or in a tab that is not drawn. What is
// drawn is trimmed by the log.
function bound(c) {
  if (c.timeline.messages.length <= 2 * mostHere()) return;
  if (c !== log.conversation()) c.trim();
  else if (following()) c.trim(Infinity);
  else c.timeline.cutEnd(mostHere()); // the reader is among the first of them
}

// get is the conversation of that name.
export function get(name) {
  if (all.has(name)) return all.get(name);
  const c = new Conversation(client, name, boot.user, isReading);
  all.set(name, c);
  roomlist.add(c);
  c.undo.push(c.room.on('left', (error) => {
    if (error) notice(t('rooms.refused', { room: c.title, reason: error.code === 'forbidden' ? t('room.closed') : error.code === 'bad_room' ? t('error.bad_room') : error.message }));
    else announce(t('room.left', { room: c.title }), 'left');
    forget(c);
  }));
  for (const out of c.room.outgoing) c.outgoing(out);
  return c;
}

// open puts c on screen. replace: the address is right already.
export function open(c, { replace = false } = {}) {
  const before = log.conversation();
  if (before !== c) {
    c.room.join();
    c.divider = (c.unread && c.seen) || undefined;
    if (!replace) history[history.state?.panel ? 'replaceState' : 'pushState'](null, '', roomUrl(c.name)); // a panel's step becomes the room's
    setText($('title'), c.title);
    if (isPreset(c.name) && $('leave').contains(document.activeElement)) $('log').focus({ preventScroll: true }); // what is hidden loses the focus
    $('leave').hidden = isPreset(c.name);
    $('leave').setAttribute('aria-label', t('room.leave.label', { room: c.title }));
    log.show(c);
    before?.trim();
    paintTotal();
  }
  emit('open', c, before);
}

// forget takes c away. In its place comes the first room; or, if that is what is closed to us, whatever room there is.
function forget(c) {
  if (all.get(c.name) !== c) return;
  const next = [all.get(boot.presets[0]), ...all.values()].find((other) => other && other !== c);
  if (!next) return; // it stays on screen, and the notice says why nothing comes
  all.delete(c.name);
  c.end();
  roomlist.remove(c);
  if (log.conversation() === c) open(next);
}

const paintTotal = soon(() => {
  let total = 0;
  for (const c of all.values()) total += c.unread;
  const here = log.conversation();
  document.title = `${total ? `(${upTo(total)}) ` : ''}${here ? `${here.title} · ` : ''}${t('app.name')}`;
  const elsewhere = total - (here?.unread ?? 0);
  $('elsewhere').hidden = elsewhere === 0;
  setText($('elsewhere'), upTo(elsewhere));
  $('open-side').setAttribute('aria-label', t('rooms.title') + (elsewhere ? t('rooms.unread', { n: elsewhere }) : ''));
  const badge = total ? navigator.setAppBadge?.(total) : navigator.clearAppBadge?.();
  badge?.catch(() => {}); // the page is not installed
});
