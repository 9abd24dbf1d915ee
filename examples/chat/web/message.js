// One message on screen. The server has rendered some, the rest is made of its template.

import { $, announce, fromTemplate, paintAvatar, setText } from './dom.js';
import { boot, has, midnight, t, time } from './i18n.js';
import { onlyEmoji, textOf, write } from './text.js';

export const timeOf = (m) => (m.seq === Infinity ? m.written : m.seq / 1000);

// dayOf is reckoned once, for it takes a while.
export function dayOf(m) {
  if (m.dated !== m.seq) Object.assign(m, { dated: m.seq, midnight: midnight(timeOf(m)) });
  return m.midnight;
}

// A notice is a message to oneself; from others it would pass for the server's words.
export const isNotice = (m) => m.kind === 'notice' && m.sender === boot.user && m.to === m.sender;
export const isTold = (m) => m.kind === 'me' || isNotice(m);

// wordsOf is what there is to read.
export function wordsOf(m) {
  const text = textOf(m.body, t('message.binary'));
  return m.kind === 'me' ? `* ${m.sender} ${text}` : text;
}

const styleOf = (m) => (m.kind === 'me' ? 'told action' : isNotice(m) ? 'told notice' : m.sender === boot.user ? 'mine' : '');

// adopt reads the messages that are in the page since the server made it.
export function adopt() {
  return [...$('messages').querySelectorAll('.message')].map((element) => {
    const { seq, id, sender, kind, to, state } = element.dataset;
    const parts = partsOf(element);
    const words = parts.bubble.textContent;
    const m = { id, room: boot.room, seq: Number(seq), sender, kind, body: { text: kind === 'me' ? words.slice(sender.length + 3) : words } };
    if (to) m.to = to;
    for (const e of [element, ...parts.bubble.querySelectorAll('a')]) e.tabIndex = -1;
    parts.bubble.classList.toggle('big', onlyEmoji(words));
    return Object.assign(m, { element, parts, words, painted: m.body, style: styleOf(m), ticked: `${state} 0`, state, again: element.classList.contains('again') });
  });
}

const partsOf = (element) => Object.fromEntries(['avatar', 'name', 'only', 'bubble', 'ticks'].map((part) => [part, element.querySelector(`.${part}`)]).concat([['time', element.querySelector('time')]]));

// paint makes the element of m, or brings it up to date. What is as it was is not written again.
export function paint(m, { direct, follows, lastOwn, state, readers }) {
  if (!m.element) {
    m.element = fromTemplate('message');
    m.element.tabIndex = -1;
    m.parts = partsOf(m.element);
    paintAvatar(m.parts.avatar, m.sender);
    setText(m.parts.name, m.sender === boot.user ? t('message.you') : m.sender);
    Object.assign(m.element.dataset, { id: m.id, sender: m.sender, kind: m.kind });
  }
  const { element, parts } = m;
  if (m.painted !== m.body) paintBody(m, direct);
  if (m.timed !== m.seq) {
    m.timed = m.seq;
    if (m.seq !== Infinity) element.dataset.seq = m.seq;
    const ms = timeOf(m);
    parts.time.dateTime = new Date(ms).toISOString();
    setText(parts.time, time(ms));
  }
  if (m.follows !== follows) element.classList.toggle('follows', (m.follows = follows));
  if (m.lastOwn !== lastOwn) element.classList.toggle('last-own', (m.lastOwn = lastOwn));
  if (m.sender === boot.user && !isNotice(m)) paintTicks(m, state, readers);
  return element;
}

// paintBody writes what does not change after it has been said, but for words that come again.
function paintBody(m, direct) {
  const { element, parts } = m;
  m.painted = m.body;
  const words = wordsOf(m);
  if (m.words !== words) {
    m.words = words;
    write(parts.bubble, words);
    parts.bubble.classList.toggle('big', onlyEmoji(words));
  }
  const style = styleOf(m);
  if (m.style !== style) {
    m.style = style;
    element.dataset.kind = m.kind;
    for (const name of ['mine', 'told', 'action', 'notice']) element.classList.toggle(name, style.split(' ').includes(name));
    const whisper = m.to !== undefined && !direct && !isNotice(m);
    parts.only.hidden = !whisper;
    if (whisper) {
      element.dataset.to = m.to;
      setText(parts.only, t('message.only', { user: m.sender === boot.user ? m.to : m.sender }));
    }
  }
}

// --- ticks: how far a message of ours is: waiting (for a connection), sending, sent (the server has put it in order), saved, delivered, seen. Here
// are the words; style.css adds a shape to each by data-state, and hides the words where the shape is enough. ---

// stateOf says how far m is. mark is how far the other one of a direct room has read; of larger rooms there is none.
export function stateOf(m, mark) {
  const status = m.out?.status;
  if (status === 'failed') return 'failed';
  if (status === 'queued' || status === 'sending') return m.seq !== Infinity ? 'sent' : document.documentElement.dataset.connection === 'connected' ? 'sending' : 'waiting';
  if (mark && m.seq <= mark.seen) return 'seen';
  if (mark && m.seq <= mark.delivered) return 'delivered';
  return 'saved';
}

// paintTicks shows the state of m. readers: how many others of a larger room have read it.
export function paintTicks(m, state, readers) {
  const shown = `${state} ${readers}`;
  if (m.ticked === shown) return;
  m.ticked = shown;
  const { ticks } = m.parts;
  m.element.dataset.state = m.state = readers ? 'seen' : state;
  m.element.classList.toggle('failed', state === 'failed');
  if (state === 'failed') return paintFailure(m, ticks);
  const words = readers ? t('tick.seen_by', { n: readers }) : t('tick.' + state);
  setText(ticks, words);
  ticks.title = words;
}

// paintOnce hides the ticks of those that are as far as a later one.
export function paintOnce(messages) {
  const shown = new Set();
  for (const m of messages.toReversed()) {
    if (!m.state) continue;
    const again = shown.has(m.state);
    if (m.state !== 'sending' && m.state !== 'failed') shown.add(m.state);
    if (m.again !== again) m.element.classList.toggle('again', (m.again = again));
  }
}

// reasonOf says why m was refused: in our words, where we know what the server means.
function reasonOf(m) {
  const { code, message = '' } = m.out.error ?? {};
  if (has(`error.${code}`)) return t(`error.${code}`);
  const [name, command] = textOf(m.body, '').match(/^\/([^\s/]+)/) ?? [];
  if (code !== 'bad_request' || !name || boot.commands.some((c) => c.name === command.toLowerCase())) return t('error.other', { message });
  const near = message.match(/did you mean (\/[\w-]+)/)?.[1];
  return near ? t('commands.near', { name, near }) : t('commands.unknown', { name });
}

// paintFailure says why, aloud if it is news: not of what was kept over a reload.
function paintFailure(m, ticks) {
  const failed = fromTemplate('failed');
  const why = t('tick.failed', { reason: reasonOf(m) });
  setText(failed.querySelector('.why'), why);
  failed.querySelector('.retry').addEventListener('click', () => {
    m.out.retry();
    m.element.focus();
  });
  failed.querySelector('.drop').addEventListener('click', () => {
    const next = m.element.nextElementSibling ?? m.element.previousElementSibling;
    m.out.cancel();
    if (next?.tabIndex >= -1 && next.matches('.message')) next.focus();
    else $('text').focus();
  });
  ticks.replaceChildren(failed);
  ticks.removeAttribute('title');
  if (m.news) announce(why, 'failed');
}
