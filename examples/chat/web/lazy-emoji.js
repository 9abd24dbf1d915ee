// The emoji: a grid with one stop of the Tab key. Where the picker was opened from the box, it goes back there.

import { $, rove } from './dom.js';
import { insert } from './compose.js';

export function startEmoji() {
  const grid = $('emoji-grid');
  const columns = grid.firstElementChild.childElementCount;
  rove(grid, 'button', { columns });
  $('emoji').addEventListener('toggle', (e) => {
    if (e.newState === 'open') grid.querySelector('[tabindex="0"]')?.focus();
    $('open-emoji').setAttribute('aria-expanded', String(e.newState === 'open'));
  });
  grid.addEventListener('click', (e) => {
    const { emoji } = e.target.closest('button')?.dataset ?? {};
    if (!emoji) return;
    if (!e.shiftKey) $('emoji').hidePopover(); // with Shift, one more
    insert(emoji);
  });
}
