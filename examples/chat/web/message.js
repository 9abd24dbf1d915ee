// One message on screen. The server has rendered some, the rest is made of its template.

import { $, fromTemplate, paintAvatar, setText } from './dom.js';
import { boot, midnight, t, time } from './i18n.js';
import { onlyEmoji, textOf, write } from './text.js';
import { paintTicks } from './ticks.js';

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
    return Object.assign(m, { element, parts, words, style: styleOf(m), ticked: `${state} 0` });
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
