// How far a message of ours is: sending, sent (the server has put it in order), saved, delivered, seen. Here are the
// words; style.css adds a shape to each by data-state, and hides the words where the shape is enough.

import { fromTemplate, setText } from './dom.js';
import { announce } from './announce.js';
import { has, t } from './i18n.js';

// stateOf says how far m is. mark is how far the other one of a direct room has read; of larger rooms there is none.
export function stateOf(m, mark) {
  const status = m.out?.status;
  if (status === 'failed') return 'failed';
  if (status === 'queued' || status === 'sending') return m.seq === Infinity ? 'sending' : 'sent';
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
  m.element.dataset.state = readers ? 'seen' : state;
  m.element.classList.toggle('failed', state === 'failed');
  if (state === 'failed') return paintFailure(m, ticks);
  const words = readers ? t('tick.seen_by', { n: readers }) : t('tick.' + state);
  setText(ticks, words);
  ticks.title = words;
}

function paintFailure(m, ticks) {
  const { code, message = '' } = m.out.error ?? {};
  const failed = fromTemplate('failed');
  const why = t('tick.failed', { reason: has(`error.${code}`) ? t(`error.${code}`) : t('error.other', { message }) });
  setText(failed.querySelector('.why'), why);
  failed.querySelector('.retry').addEventListener('click', () => {
    m.out.retry();
    m.element.focus();
  });
  failed.querySelector('.drop').addEventListener('click', () => {
    const next = m.element.nextElementSibling ?? m.element.previousElementSibling;
    m.out.cancel();
    if (next?.tabIndex >= -1 && next.matches('.message')) next.focus();
    else document.getElementById('text').focus();
  });
  ticks.replaceChildren(failed);
  ticks.removeAttribute('title');
  announce(why, 'failed');
}
