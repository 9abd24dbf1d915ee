// Who is in the room: first those who are here, then those who wrote and are gone; and who is typing.

import { $, arrange, fromTemplate, oncePerFrame, paintAvatar, rove, setText } from './dom.js';
import { directWith } from './conversation.js';
import { on } from './events.js';
import { boot, number, t } from './i18n.js';
import { conversation } from './log.js';
import { all, openDirect, roomUrl } from './rooms.js';

const items = new Map(); // user → element
let stop;

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
  on('open', (c, before) => c !== before && repaint());
  on('typing', paintTyping);
  on('open', paintTyping);
}

const isOnline = (user) => [...all.values()].some((c) => c.members.has(user) || (c.other === user && c.online));

const repaint = oncePerFrame(() => {
  const c = conversation();
  if (!c) return;
  const here = [...c.members].sort();
  if (here.length === 0) return; // nobody has told us yet
  const gone = new Set(c.timeline.messages.map((m) => m.sender));
  if (c.other !== undefined) gone.add(c.other);
  for (const user of here) gone.delete(user);
  arrange($('members'), [...here.map((user) => paint(c, user, true)), ...[...gone].sort().map((user) => paint(c, user, isOnline(user)))]);
  for (const user of items.keys()) if (!c.members.has(user) && !gone.has(user)) items.delete(user);
  stop();
  setText($('count'), number(c.count));
  setText($('subtitle'), c.other === undefined ? t('room.people', { n: c.count }) : isOnline(c.other) ? t('presence.online') : t('presence.away'));
});

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
  setText(e.querySelector('.presence'), online ? t('people.online') : t('people.away'));
  e.classList.toggle('away', !online);
  e.querySelector('.avatar').classList.toggle('online', online);
  return e;
}

// Who is typing. It is not read out: it comes and goes too often.
function paintTyping(c) {
  if (c !== conversation()) return;
  const [a, b, ...more] = c.typing;
  setText($('typing'), a === undefined ? '' : more.length ? t('typing.many') : b === undefined ? t('typing.one', { a }) : t('typing.two', { a, b }));
}
