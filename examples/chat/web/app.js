// The page: rooms, messages and people around a Connection. Whatever comes
// from others is put in as text, never as HTML.

import { Connection } from './protocol.js';

const PRESET = ['general', 'random'];
const REPLAY = 20; // messages that a join without since brings
const PAGE = 50; // messages of history at a time
const TOGETHER = 5 * 60_000; // ms between messages of one sender that share a heading
const LOGGED_IN = 'gohub-chat-logged-in'; // in localStorage: scripts cannot see the cookies
const MAX_UNREAD = 100; // where the server stops counting

const $ = (id) => document.getElementById(id);
const rooms = new Map(); // by name, in the order shown
let me = '';
let active = null; // the room on screen
let atBottom = true; // of the log; new messages then stay in view

const connection = new Connection('/ws', logInAgain);

// --- logging in and out ---

async function logIn(user) {
  const res = await fetch('/login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user }),
  });
  if (!res.ok) throw new Error((await res.json().catch(() => ({}))).detail ?? 'Logging in does not work right now.');
  return admitted(res);
}

// refresh gets new cookies for the ones there are, and tells whose they are;
// nobody's, if the login has ended or the server has forgotten it.
async function refresh() {
  const res = await fetch('/refresh', { method: 'POST' });
  if (res.status === 401 || res.status === 403) return '';
  if (!res.ok) throw new Error('The login cannot be renewed right now.');
  return admitted(res);
}

// admitted reads who is logged in now, and has that renewed before it ends. Both
// times are the server's: its clock need not be ours.
async function admitted(res) {
  const { user, expires } = await res.json();
  localStorage.setItem(LOGGED_IN, 'yes');
  renewLater(0.8 * (expires - Date.parse(res.headers.get('Date'))));
  return user;
}

let renewal = 0;

function renewLater(ms) {
  clearTimeout(renewal);
  renewal = setTimeout(renew, ms);
}

// renew does so for the cookies, and then for the connection. Where there is no
// login any more the connection ends by itself, and logInAgain is next.
async function renew() {
  try {
    const user = await refresh();
    if (user && user !== me) location.reload(); // another tab logged in as someone else
    else if (user) await connection.renew();
  } catch {
    renewLater(5_000);
  }
}

// The server forgets its logins when it restarts. As a name is all it takes,
// the page does not trouble its user with that.
async function logInAgain() {
  if (!me) return false;
  if (!(await refresh())) await logIn(me);
  return true;
}

$('login').querySelector('form').addEventListener('submit', async (e) => {
  e.preventDefault();
  const input = $('user');
  $('user-error').textContent = '';
  try {
    enter(await logIn(input.value.trim()));
  } catch (error) {
    $('user-error').textContent = error instanceof TypeError ? 'The server cannot be reached.' : error.message;
    input.focus();
  }
});

// The tabs of a browser share its cookie, so they leave together.
const tabs = new BroadcastChannel('gohub-chat');
tabs.onmessage = () => location.reload();
$('logout').addEventListener('click', async () => {
  localStorage.removeItem(LOGGED_IN);
  clearTimeout(renewal);
  connection.stop(); // else the server's goodbye has the page reload before the cookies are gone
  await fetch('/logout', { method: 'POST' }).catch(() => {});
  tabs.postMessage('logged out');
  location.reload();
});

function enter(user) {
  me = user;
  $('login').hidden = true;
  $('chat').hidden = false;
  $('me-name').textContent = user;
  paintAvatar($('me-avatar'), user);
  connection.start();
}

// --- rooms ---

function roomOf(name) {
  if (rooms.has(name)) return rooms.get(name);
  const pair = name.startsWith('@') ? name.slice(1).split(',') : null;
  const room = {
    name,
    other: pair ? (pair[0] === me ? pair[1] : pair[0]) : undefined,
    messages: [], // by seq; those on their way at the end
    byKey: new Map(), // sender and id → message
    members: new Set(),
    names: new Map(), // what the server calls them
    typing: new Map(), // user → timer
    counted: Infinity, // what is after this seq and arrives is unread
    unread: 0,
    seen: 0,
    reported: 0, // what of that the server knows
    more: true, // there may be earlier messages
    replayEnd: 0, // seq at which the first replay, of the last REPLAY, is complete
    count: 0, // of people, also where there are too many to list
    draft: '',
  };
  room.title = pair ? room.other : `#${name}`;
  const badge = element('span', 'badge');
  const label = element('span', 'name', pair ? room.other : name);
  const mark = pair ? avatar(room.other) : element('span', 'hash', '#');
  mark.setAttribute('aria-hidden', 'true');
  room.button = element('button', '', mark, label, badge);
  room.button.addEventListener('click', () => open(room));
  room.badge = badge;
  room.mark = mark;
  room.item = element('li', '', room.button);
  rooms.set(name, room);
  const list = $(pair ? 'direct' : 'rooms');
  const after = PRESET.includes(name) ? null : [...list.children].find((li) => li.room > name && !PRESET.includes(li.room));
  room.item.room = name;
  list.insertBefore(room.item, after ?? null);
  $('direct-none').hidden = $('direct').childElementCount > 0;
  paintUnread(room);
  paintPresence();
  return room;
}

const directName = (user) => `@${[me, user].sort().join(',')}`;

function enterRoom(name, since) {
  const room = roomOf(name);
  connection.join(name, since);
  return room;
}

function open(room) {
  if (active && active !== room) {
    active.draft = $('text').value;
    stopTyping();
    active.button.removeAttribute('aria-current');
  }
  const changed = active !== room;
  active = room;
  room.button.setAttribute('aria-current', 'true');
  history.replaceState(null, '', `#${encodeURIComponent(room.name)}`);
  $('title').textContent = room.title;
  $('leave').hidden = PRESET.includes(room.name);
  $('leave').setAttribute('aria-label', `Leave ${room.title}`);
  $('text').placeholder = `Message ${room.title}`;
  if (changed) {
    $('text').value = room.draft;
    grow();
    $('log').setAttribute('aria-busy', 'true'); // nobody wants all that read out
    $('messages').replaceChildren(...room.messages.map((m) => m.element));
    atBottom = true;
    if (room.count > 0) loadMembers(room); // else 'joined' does it
  }
  paintUnread(room);
  paintEarlier();
  paintMembers();
  paintTyping();
  settle();
  requestAnimationFrame(() => $('log').removeAttribute('aria-busy'));
  closePanels();
  if (changed && matchMedia('(pointer: fine)').matches) $('text').focus();
}

function leave(room) {
  connection.leave(room.name);
  room.item.remove();
  rooms.delete(room.name);
  $('direct-none').hidden = $('direct').childElementCount > 0;
  if (room === active) open(rooms.get(PRESET[0]));
}

$('leave').addEventListener('click', () => leave(active));
$('join').addEventListener('submit', (e) => {
  e.preventDefault();
  open(enterRoom($('join-name').value));
  e.target.reset();
});

connection.on('welcome', async (welcome) => {
  if (welcome.user !== me) return location.reload(); // another tab logged in as someone else
  $('server').textContent = welcome.durable ? `at ${welcome.node}` : 'History is kept in memory only';
  $('server').title = `node ${welcome.node}`;
  const listed = await connection.request('rooms').catch(() => ({ rooms: [] }));
  for (const name of PRESET) roomOf(name); // first in the list
  for (const { room: name, head, seen, unread } of listed.rooms) {
    const room = roomOf(name);
    room.seen = Math.max(room.seen, seen);
    room.reported = seen;
    room.counted = head;
    room.unread = room.seen >= head ? 0 : unread;
    room.unread += room.messages.filter((m) => m.seq > head && m.seq !== Infinity && m.sender !== me).length;
    connection.join(name);
    paintUnread(room);
  }
  for (const name of PRESET) enterRoom(name);
  if (!active) {
    const wanted = decodeURIComponent(location.hash.slice(1));
    open(rooms.get(wanted) ?? rooms.get(PRESET[0]));
  }
  settle();
});

connection.on('joined', ({ room: name, head, truncated }) => {
  const room = rooms.get(name);
  if (!room) return; // left meanwhile
  if (room.counted === Infinity) room.counted = head;
  if (head === 0) room.more = false;
  if (!room.invited && room.messages.length === 0) room.replayEnd = head;
  if (truncated) { // what we have does not touch what comes now
    for (const m of room.messages.filter((m) => m.seq !== Infinity)) remove(room, m);
    room.more = true;
  }
  if (room.seen > room.reported) reportSeen(room);
  if (room === active) {
    loadMembers(room);
    paintEarlier();
  }
});

connection.on('invite', ({ room: name, seq }) => {
  const room = roomOf(name);
  room.invited = true;
  if (seq === 0) room.more = false;
  if (room.counted === Infinity) room.counted = seq;
  connection.join(name, seq);
});

connection.on('refused', ({ room: name, error }) => {
  const room = rooms.get(name);
  if (!room) return;
  leave(room);
  notice(`${room.title}: ${error.message}`);
});

function paintUnread(room) {
  room.badge.textContent = room.unread >= MAX_UNREAD ? `${MAX_UNREAD - 1}+` : room.unread;
  room.badge.hidden = room.unread === 0;
  room.button.setAttribute('aria-label', room.unread ? `${room.title}, ${room.unread} unread` : room.title);
  let all = 0;
  for (const r of rooms.values()) all += r.unread;
  $('elsewhere').textContent = all > 99 ? '99+' : all;
  $('elsewhere').hidden = all === 0;
  document.title = `${all ? `(${all}) ` : ''}${active ? `${active.title} · ` : ''}gohub chat`;
}

// --- messages ---

connection.on('message', (frame) => {
  const room = rooms.get(frame.room);
  if (!room) return; // left meanwhile
  const known = room.byKey.get(`${frame.sender} ${frame.id}`);
  if (known) {
    rewrite(room, known, frame);
    if (known.seq === Infinity || known.seq < frame.seq) move(room, known, frame.seq);
  } else {
    add(room, { ...frame });
    if (frame.sender !== me && frame.seq > room.counted && frame.seq > room.seen) {
      room.unread++;
      paintUnread(room);
    }
  }
  if (frame.seq === room.replayEnd && room.messages.length < REPLAY) room.more = false;
  showTyping(room, frame.sender, false);
  if (room !== active) return;
  paintEarlier();
  settle();
});

connection.on('entry', (entry) => {
  const room = rooms.get(entry.room);
  const m = room?.byKey.get(`${me} ${entry.id}`);
  if (!m) return;
  if (entry.place !== room.name) { // of /msg
    remove(room, m);
    const there = enterRoom(entry.place);
    if (room === active) open(there);
    return;
  }
  if (entry.seq !== Infinity && m.seq === Infinity) move(room, m, entry.seq);
  paintTicks(m);
});

function send(text) {
  const entry = connection.send(active.name, { text }, active.other);
  add(active, { id: entry.id, sender: me, seq: Infinity, kind: 'chat', body: { text }, entry });
  atBottom = true;
  settle();
}

function add(room, m) {
  m.room = room;
  m.time = m.seq === Infinity ? Date.now() : m.seq / 1000;
  m.element = buildMessage(m);
  room.byKey.set(`${m.sender} ${m.id}`, m);
  place(room, m);
}

function move(room, m, seq) {
  remove(room, m);
  m.seq = seq;
  m.time = seq / 1000;
  paintTime(m);
  room.byKey.set(`${m.sender} ${m.id}`, m);
  place(room, m);
}

// rewrite shows a message as the server has it: a slash command, or what else
// looks at messages there, may have made something else of what was sent.
function rewrite(room, m, { kind, body, to }) {
  if (kind === m.kind && JSON.stringify(body) === JSON.stringify(m.body)) return;
  Object.assign(m, { kind, body, to });
  const old = m.element;
  old.replaceWith(buildMessage(m));
  arrange(room, room.messages.indexOf(m));
}

function place(room, m) {
  let i = room.messages.length;
  while (i > 0 && room.messages[i - 1].seq > m.seq) i--;
  room.messages.splice(i, 0, m);
  if (room === active) $('messages').insertBefore(m.element, room.messages[i + 1]?.element ?? null);
  arrange(room, i);
}

function remove(room, m) {
  const i = room.messages.indexOf(m);
  room.messages.splice(i, 1);
  room.byKey.delete(`${m.sender} ${m.id}`);
  m.element.remove();
  arrange(room, i);
}

// arrange gives message i and the one after it their day and heading, which
// depend on the message before.
function arrange(room, i) {
  for (const [before, m] of [[room.messages[i - 1], room.messages[i]], [room.messages[i], room.messages[i + 1]]]) {
    if (!m) continue;
    const newDay = !before || dayOf(before.time) !== dayOf(m.time);
    m.day.hidden = !newDay;
    m.element.classList.toggle('follows', !newDay && before.sender === m.sender && before.kind === m.kind && m.time - before.time < TOGETHER);
  }
}

function buildMessage(m) {
  const mine = m.sender === me;
  m.day = element('div', 'day');
  m.clock = element('time', 'soft small');
  m.ticks = element('span', 'ticks');
  m.ticks.setAttribute('aria-live', 'off');
  const face = avatar(m.sender);
  face.setAttribute('aria-hidden', 'true');
  const name = element('strong', '', mine ? 'You' : m.sender);
  // A notice is a message to oneself; from others it would pass for the server's words.
  const style = m.kind === 'me' ? 'told action' : m.kind === 'notice' && mine && m.to === me ? 'told notice' : mine ? 'mine' : '';
  const words = m.kind === 'me' ? `* ${m.sender} ${textOf(m)}` : textOf(m);
  const li = element('li', `message ${style}`, m.day, face,
    element('div', 'head', name, m.clock),
    element('div', 'line', element('div', 'bubble', words), m.ticks));
  m.element = li;
  paintTime(m);
  if (mine) paintTicks(m);
  return li;
}

function textOf({ body, binary }) {
  if (binary) return '(a binary message)';
  if (typeof body === 'string') return body;
  return typeof body?.text === 'string' ? body.text : JSON.stringify(body);
}

function paintTime(m) {
  const date = new Date(m.time);
  m.clock.dateTime = date.toISOString();
  m.clock.title = date.toLocaleString();
  m.clock.textContent = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  m.day.textContent = dayOf(m.time);
}

function paintTicks(m) {
  const state = m.entry?.state ?? 'saved';
  m.element.dataset.state = state;
  m.element.classList.toggle('failed', state === 'failed');
  m.ticks.textContent = { sending: '◌ sending', sent: '✓ sent', saved: '✓✓ saved', failed: '⚠ not sent' }[state];
  if (state !== 'failed') return;
  m.ticks.append(`: ${m.entry.error.message} `);
  const retry = element('button', 'link', 'Retry');
  retry.addEventListener('click', () => connection.retry(m.entry));
  const drop = element('button', 'link', 'Delete');
  drop.addEventListener('click', () => remove(m.room, m));
  m.ticks.append(retry, drop);
}

function dayOf(time) {
  const date = new Date(time);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(time).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return date.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
}

// --- the log: where it is scrolled to, what has been seen, what came before ---

const log = $('log');
log.addEventListener('scroll', () => {
  atBottom = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (atBottom) settle();
  if (log.scrollTop < 80) loadEarlier();
});
new ResizeObserver(() => atBottom && (log.scrollTop = log.scrollHeight)).observe(log);
document.addEventListener('visibilitychange', settle);
$('newer').addEventListener('click', () => {
  atBottom = true;
  settle();
});

// settle follows new messages if the reader does, and tells the server what
// has been seen; else it says that there is something new.
function settle() {
  if (!active) return;
  if (atBottom) log.scrollTop = log.scrollHeight;
  const last = active.messages.findLast((m) => m.seq !== Infinity)?.seq ?? 0;
  const reading = atBottom && document.visibilityState === 'visible';
  $('newer').hidden = atBottom || active.unread === 0;
  if (!reading || last <= active.seen) return;
  active.seen = last;
  active.unread = 0;
  paintUnread(active);
  reportSeen(active);
}

// One receipt says it all, so a burst of messages needs only one.
function reportSeen(room) {
  room.report ??= setTimeout(() => {
    room.report = undefined;
    if (connection.notify('receipt', { room: room.name, seen: room.seen })) room.reported = room.seen;
  }, 300);
}

async function loadEarlier() {
  const room = active;
  const first = room?.messages[0];
  if (!room?.more || room.loading || !first || first.seq === Infinity) return;
  room.loading = true;
  try {
    const page = await connection.request('history', { room: room.name, before: first.seq, limit: PAGE });
    const fromEnd = log.scrollHeight - log.scrollTop;
    log.setAttribute('aria-busy', 'true');
    for (const m of page.messages.reverse()) if (!room.byKey.has(`${m.sender} ${m.id}`)) add(room, m);
    room.more = page.more;
    if (room === active) {
      paintEarlier();
      log.scrollTop = log.scrollHeight - fromEnd;
    }
  } catch {
    // No connection, or the room has just been left: the button stays.
  } finally {
    room.loading = false;
    requestAnimationFrame(() => log.removeAttribute('aria-busy'));
  }
}

$('earlier').addEventListener('click', loadEarlier);

function paintEarlier() {
  $('earlier').hidden = !active.more;
  $('beginning').hidden = active.more;
  $('beginning').textContent = active.other === undefined
    ? `This is the beginning of ${active.title}.`
    : `This is the beginning of your messages with ${active.other}.`;
}

// --- people ---

async function loadMembers(room) {
  const found = new Set();
  let cursor;
  try {
    do {
      const page = await connection.request('presence', { room: room.name, cursor });
      for (const { user, name } of page.users) {
        found.add(user);
        room.names.set(user, name);
      }
      cursor = page.cursor;
      room.count = page.count;
    } while (cursor && found.size < 1_000);
  } catch {
    return; // not joined (any more): 'joined' comes by again
  }
  room.members = found;
  paintPresence();
}

connection.on('members', ({ room: name, joined = [], left = [], count }) => {
  const room = rooms.get(name);
  if (!room) return;
  room.count = count;
  for (const user of joined) room.members.add(user);
  for (const user of left) {
    room.members.delete(user);
    showTyping(room, user, false);
  }
  paintPresence();
});

function isOnline(user) {
  return [...rooms.values()].some((room) => room.members.has(user));
}

function paintPresence() {
  for (const room of rooms.values()) {
    if (room.other !== undefined) paintDot(room.mark, isOnline(room.other));
  }
  paintMembers();
}

// Whoever is here comes first, then those who wrote and are gone.
function paintMembers() {
  if (!active) return;
  const here = [...active.members].sort();
  const gone = new Set(active.messages.map((m) => m.sender).filter((user) => !active.members.has(user)));
  if (active.other !== undefined && !active.members.has(active.other)) gone.add(active.other);
  $('subtitle').textContent = active.other === undefined
    ? `${active.count} ${active.count === 1 ? 'person' : 'people'} here`
    : isOnline(active.other) ? 'online' : 'away';
  $('count').textContent = active.count;
  const focused = document.activeElement?.dataset?.user;
  $('members').replaceChildren(...here.map((u) => memberItem(u, true)), ...[...gone].sort().map((u) => memberItem(u, isOnline(u))));
  if (focused) $('members').querySelector(`[data-user="${CSS.escape(focused)}"]`)?.focus();
}

function memberItem(user, online) {
  const face = avatar(user);
  face.setAttribute('aria-hidden', 'true');
  paintDot(face, online);
  const name = element('span', 'name', active.names.get(user) || user, user === me ? ' (you)' : '');
  const button = element('button', '', face, name, element('span', 'hidden', online ? ', online' : ', away'));
  button.dataset.user = user;
  button.title = user === me ? 'Write to yourself' : `Write to ${user}`;
  button.addEventListener('click', () => open(enterRoom(directName(user))));
  return element('li', online ? '' : 'away', button);
}

function paintDot(face, online) {
  face.classList.add('dot');
  face.classList.toggle('online', online);
}

// --- typing ---

let typedAt = 0; // when we last told that we are

function stopTyping() {
  if (typedAt && active) connection.notify('typing', { room: active.name, active: false });
  typedAt = 0;
}

function startTyping() {
  if (Date.now() - typedAt < 3_000) return;
  typedAt = Date.now();
  connection.notify('typing', { room: active.name, active: true });
}

connection.on('typing', ({ room: name, user, active: on }) => {
  if (rooms.has(name) && user !== me) showTyping(rooms.get(name), user, on);
});

function showTyping(room, user, on) {
  clearTimeout(room.typing.get(user));
  room.typing.delete(user);
  // The server ends it after 5 s; this is for the frame that never comes.
  if (on) room.typing.set(user, setTimeout(() => showTyping(room, user, false), 7_000));
  if (room === active) paintTyping();
}

function paintTyping() {
  const users = [...active.typing.keys()];
  $('typing').textContent = [
    '',
    `${users[0]} is typing…`,
    `${users[0]} and ${users[1]} are typing…`,
    'Several people are typing…',
  ][Math.min(users.length, 3)];
}

// --- the message box ---

const text = $('text');

function grow() {
  text.style.height = 'auto';
  text.style.height = `${text.scrollHeight + 2}px`;
}

text.addEventListener('input', () => {
  grow();
  if (text.value.trim()) startTyping();
  else stopTyping();
});
text.addEventListener('blur', stopTyping);
text.addEventListener('keydown', (e) => {
  if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return;
  e.preventDefault();
  $('compose').requestSubmit();
});
$('compose').addEventListener('submit', (e) => {
  e.preventDefault();
  const value = text.value.trim();
  if (!value || !active) return;
  stopTyping();
  send(value);
  text.value = '';
  grow();
  text.focus();
});

// --- panels, on narrow screens ---

for (const [opener, panel] of [['open-side', 'side'], ['open-people', 'people']]) {
  $(opener).addEventListener('click', () => {
    $(panel).classList.add('open');
    $(opener).setAttribute('aria-expanded', 'true');
    $('room').inert = true;
    $(panel).querySelector('[data-close]').focus();
  });
}

function closePanels() {
  for (const [opener, panel] of [['open-side', 'side'], ['open-people', 'people']]) {
    if (!$(panel).classList.contains('open')) continue;
    $(panel).classList.remove('open');
    $(opener).setAttribute('aria-expanded', 'false');
    $('room').inert = false;
    $(opener).focus();
  }
}

document.addEventListener('click', (e) => {
  if (e.target.closest('[data-close]') || e.target === $('room') || !e.target.closest('.panel, #open-side, #open-people')) closePanels();
});
document.addEventListener('keydown', (e) => e.key === 'Escape' && closePanels());
for (const width of [700, 960]) matchMedia(`(max-width: ${width}px)`).addEventListener('change', closePanels); // as in style.css

// --- the state of the connection ---

const ENDS = {
  4500: 'This session was taken over by another one.',
  4502: 'The server does not let you in.',
  4503: 'You were removed from this chat.',
  4504: 'The server did not understand this page.',
};
let countdown = 0;

connection.on('state', ({ state, retryAt, code, reason }) => {
  clearInterval(countdown);
  $('banner-wait').textContent = '';
  $('banner-try').hidden = state !== 'waiting' && state !== 'closed';
  $('banner-try').textContent = state === 'closed' ? 'Connect again' : 'Try now';
  document.documentElement.dataset.connection = state;
  if (state === 'connected') return banner('');
  if (state === 'connecting') {
    if ($('banner-text').textContent) $('banner-wait').textContent = 'Trying now…';
    else banner('Connecting…');
    return;
  }
  if (state === 'closed') {
    if (code === 4501) location.reload(); // to the login form
    return banner(ENDS[code] ?? (reason || 'The connection was ended.'));
  }
  banner('No connection. Messages are sent once it is back.');
  const tick = () => {
    $('banner-wait').textContent = `Next try in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s`;
  };
  tick();
  countdown = setInterval(tick, 500);
  for (const room of rooms.values()) for (const user of [...room.typing.keys()]) showTyping(room, user, false);
});

function banner(words) {
  $('banner-text').textContent = words;
  $('banner').classList.toggle('on', words !== '');
}

// notice shows something in the banner's place for a while.
function notice(words) {
  banner(words);
  setTimeout(() => $('banner-text').textContent === words && banner(''), 6_000);
}

$('banner-try').addEventListener('click', () => {
  if (document.documentElement.dataset.connection === 'closed') connection.start();
  else connection.tryNow();
});

// --- small things ---

function element(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

function avatar(user) {
  return paintAvatar(element('span', 'avatar'), user);
}

function paintAvatar(e, user) {
  let hash = 0;
  for (const c of user) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  e.classList.add(`hue${hash % 8}`);
  e.textContent = user.slice(0, 1);
  return e;
}

// --- start ---

const user = localStorage.getItem(LOGGED_IN) ? await refresh().catch(() => '') : '';
if (user) enter(user);
else {
  localStorage.removeItem(LOGGED_IN);
  $('login').hidden = false;
  $('user').focus();
}
