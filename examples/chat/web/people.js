// Who is in the room: first those who are here, then those who wrote and are gone; and who is typing.

import { $, arrange, fromTemplate, oncePerFrame, paintAvatar, rove, setText } from './dom.js';
import { directWith } from './conversation.js';
import { on } from './events.js';
import { boot, number, t } from './i18n.js';
import { conversation } from './log.js';
import { all, openDirect, roomUrl } from './rooms.js';

const items = new Map(); // user → element
let stop;
let listed; // whose people are in the list
let rendered; // the same, as long as it is the server's

export function startPeople() {
  stop = rove($('members'), 'a', { vertical: true });
  for (const e of $('members').children) items.set(e.dataset.user, e);
  $('members').addEventListener('click', (e) => {
    const link = e.target.closest('a');
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
    e.preventDefault();
    openDirect(link.closest('.person').dataset.user);
  });
  on('people', repaint);
  on('changed', (c) => c === conversation() && repaint());
  on('open', (c, before) => {
    if (!before) listed = rendered = c;
    if (c !== before) repaint();
    if (c !== before && c.room.joined && !c.complete) c.loadPeople();
  });
  on('joined', (c) => (isWatched(c) ? c.loadPeople() : c.forgetPeople()));
  on('typing', paintTyping);
  on('open', paintTyping);
}

// isWatched tells of which rooms we want to know who is there: with a question for each of them a page that opens, or a
// connection that comes back, would be beyond the limit of frames. In the first room is everybody to whom it is open.
const isWatched = (c) => c === conversation() || c.name === boot.presets[0];

const isOnline = (user) => [...all.values()].some((c) => c.members.has(user) || (c.other === user && c.online));

const repaint = oncePerFrame(() => {
  const c = conversation();
  if (!c) return;
  const { joined } = c.room;
  if (joined || c !== listed) {
    setText($('count'), joined ? number(c.count) : '');
    setText($('subtitle'), !joined ? '…' : c.other === undefined ? t('room.people', { n: c.count }) : isOnline(c.other) ? t('presence.online') : t('presence.away'));
  }
  if (c === rendered && !c.complete && !c.many) return; // it is being asked for
  rendered = undefined;
  listed = c;
  const here = c.complete ? [...c.members].sort() : [c.me];
  const others = new Set(c.timeline.messages.map((m) => m.sender));
  if (c.other !== undefined) others.add(c.other);
  for (const user of here) others.delete(user);
  const isHere = (user) => isOnline(user) || (c.complete ? false : undefined);
  arrange($('members'), [...here.map((user) => paint(c, user, true)), ...[...others].sort().map((user) => paint(c, user, isHere(user)))]);
  for (const user of items.keys()) if (!here.includes(user) && !others.has(user)) items.delete(user);
  stop();
});

// online: undefined where nobody knows.
function paint(c, user, online) {
  let e = items.get(user);
  if (!e) {
    items.set(user, (e = fromTemplate('person')));
    e.dataset.user = user;
    const link = e.querySelector('a');
    link.href = roomUrl(directWith(boot.user, user));
    paintAvatar(e.querySelector('.avatar'), user);
    e.querySelector('.you').hidden = user !== boot.user;
  }
  e.querySelector('a').title = user === boot.user ? t('people.write.self') : t('people.write', { user });
  const name = e.querySelector('.name');
  setText(name, c.names.get(user) || user);
  name.title = name.textContent; // it may be cut
  setText(e.querySelector('.presence'), online === undefined ? '' : online ? t('people.online') : t('people.away'));
  e.classList.toggle('away', online === false);
  e.querySelector('.avatar').classList.toggle('dot', online !== undefined);
  e.querySelector('.avatar').classList.toggle('online', online === true);
  return e;
}

// Who is typing. It is not read out: it comes and goes too often.
function paintTyping(c) {
  if (c !== conversation()) return;
  const [a, b, ...more] = c.typing;
  setText($('typing'), a === undefined ? '' : more.length ? t('typing.many') : b === undefined ? t('typing.one', { a }) : t('typing.two', { a, b }));
}
