// Rooms and people where there is no room for them: drawers, which are dialogs then. Escape, a click beside them, the
// browser's back and choosing something close them, and the focus goes back to where it came from.

import { $ } from './dom.js';
import { on } from './events.js';

const PANELS = { side: { opener: 'open-side', below: 700 }, people: { opener: 'open-people', below: 960 } }; // px, as in style.css
let current = ''; // which is open

export function startPanels() {
  for (const [name, { opener, below }] of Object.entries(PANELS)) {
    $(opener).addEventListener('click', (e) => {
      e.stopPropagation();
      show(name);
    });
    matchMedia(`(max-width: ${below}px)`).addEventListener('change', () => hide());
  }
  document.addEventListener('click', (e) => {
    if (current && (e.target.closest('[data-close]') || !e.target.closest('.panel.open, .popover'))) dismiss();
  });
  document.addEventListener('keydown', (e) => {
    if (current && e.key === 'Escape' && !document.querySelector('.popover:popover-open')) dismiss();
  });
  addEventListener('popstate', () => hide());
  on('open', (c, before) => {
    if (c === before) dismiss();
    else hide();
  });
}

function show(name) {
  if (current) return;
  current = name;
  const panel = $(name);
  history.pushState({ panel: name }, '');
  panel.classList.add('open');
  panel.setAttribute('role', 'dialog');
  panel.setAttribute('aria-modal', 'true');
  $(PANELS[name].opener).setAttribute('aria-expanded', 'true');
  for (const other of others(panel)) other.inert = true;
  (panel.querySelector('[aria-current]') ?? panel.querySelector('[data-close]')).focus();
}

const others = (panel) => [document.querySelector('.skip'), ...$('chat').children].filter((e) => e !== panel && e.id !== 'banner');

// dismiss closes without having chosen anything: the step back belongs to it.
function dismiss() {
  if (!current) return;
  if (history.state?.panel) history.back(); // and popstate hides it
  else hide();
}

function hide() {
  if (!current) return;
  const name = current;
  current = '';
  const panel = $(name);
  panel.classList.remove('open');
  panel.removeAttribute('role');
  panel.removeAttribute('aria-modal');
  $(PANELS[name].opener).setAttribute('aria-expanded', 'false');
  for (const other of others(panel)) other.inert = false;
  if (document.activeElement === document.body || panel.contains(document.activeElement)) $(PANELS[name].opener).focus();
}
