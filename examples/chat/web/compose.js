// The message box: a draft for each room, which outlives the page; Enter sends; ↑ in an empty box brings back what
// was sent before.

import { $, kept } from './dom.js';
import { emit, on } from './events.js';
import { boot, t } from './i18n.js';
import { conversation } from './log.js';
import { stick } from './scroll.js';
import { textOf } from './text.js';

const REMEMBERED = 20; // sent messages of a room, as they were typed
const text = $('text');
const sent = new WeakMap(); // conversation → texts, newest first
let back = -1; // which of them is in the box; -1: none

const draftOf = (c) => `draft ${boot.user} ${c.name}`;
const grows = CSS.supports('field-sizing', 'content');

export function startCompose() {
  $('send').disabled = false;
  text.addEventListener('input', () => {
    back = -1;
    changed();
  });
  text.addEventListener('blur', () => conversation()?.room.typing(false));
  text.addEventListener('keydown', onKey);
  $('compose').addEventListener('submit', (e) => {
    e.preventDefault();
    send();
  });
  on('open', (c, before) => {
    if (c === before) return;
    before?.room.typing(false);
    back = -1;
    text.placeholder = t('compose.placeholder', { room: c.title });
    const typed = !before && text.value !== ''; // before the script was there
    if (typed) changed();
    else text.value = kept.get(draftOf(c)) ?? '';
    grow();
    text.dispatchEvent(new Event('draft'));
    const busy = !before && document.activeElement !== document.body; // whoever has begun with something goes on with it
    if (!busy && matchMedia('(pointer: fine)').matches) text.focus({ preventScroll: true });
  });
}

function onKey(e) {
  if (e.defaultPrevented || e.isComposing || e.keyCode === 229) return; // keys of an input method
  if (e.key === 'Enter' && !e.shiftKey) {
    e.preventDefault();
    $('compose').requestSubmit();
  } else if ((e.key === 'ArrowUp' || e.key === 'ArrowDown') && (text.value === '' || back >= 0) && !e.shiftKey && !e.altKey && !e.ctrlKey && !e.metaKey) {
    recall(e);
  }
}

function recall(e) {
  const c = conversation();
  const before = sent.get(c) ?? c.timeline.messages.filter((m) => m.sender === boot.user && m.kind === 'chat').map((m) => textOf(m.body, '')).reverse();
  const to = Math.max(-1, Math.min(before.length - 1, back + (e.key === 'ArrowUp' ? 1 : -1)));
  if (to === back) return;
  e.preventDefault();
  back = to;
  text.value = back < 0 ? '' : before[back];
  text.setSelectionRange(text.value.length, text.value.length);
  changed();
}

// insert puts something where the caret is.
export function insert(what) {
  text.focus();
  text.setRangeText(what, text.selectionStart, text.selectionEnd, 'end');
  text.dispatchEvent(new Event('input'));
}

function changed() {
  const c = conversation();
  kept.set(draftOf(c), text.value);
  c.room.typing(text.value.trim() !== '');
  grow();
}

function grow() {
  if (grows) return;
  text.style.height = 'auto';
  text.style.height = `${text.scrollHeight + 2}px`;
}

function send() {
  const c = conversation();
  const value = text.value.trim();
  if (!value) return;
  sent.set(c, [value, ...(sent.get(c) ?? [])].slice(0, REMEMBERED));
  back = -1;
  text.value = '';
  changed();
  text.dispatchEvent(new Event('draft'));
  text.focus({ preventScroll: true });
  stick(true);
  c.divider = undefined;
  c.toNewest();
  c.room.send({ text: value }); // its conversation hears of it as 'outgoing'
  emit('changed', c);
}
