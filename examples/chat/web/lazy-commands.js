// Slash commands as they are typed: a list above the message box, of which ↑ and ↓ choose, Enter or Tab take, and
// Escape closes.

import { $, announce, arrange, fromTemplate, setText } from './dom.js';
import { boot, t } from './i18n.js';

const text = $('text');
const list = $('commands');
const options = boot.commands.map((command, i) => {
  const e = fromTemplate('command');
  e.id = `command-${i}`;
  e.dataset.command = command.name;
  setText(e.querySelector('.name'), `/${command.name}`);
  setText(e.querySelector('.usage'), command.usage);
  setText(e.querySelector('.help'), command.help);
  return e;
});
let found = [];
let chosen = -1;

export function startCommands() {
  text.addEventListener('input', update);
  text.addEventListener('draft', update);
  text.addEventListener('blur', close);
  text.addEventListener('keydown', onKey, true);
  list.addEventListener('mousedown', (e) => e.preventDefault()); // the focus stays in the box
  list.addEventListener('click', (e) => {
    const option = e.target.closest('[role=option]');
    if (option) take(option);
  });
}

function update() {
  const name = text.value.match(/^\/(\w*)$/)?.[1].toLowerCase();
  const next = name === undefined || document.activeElement !== text ? [] : options.filter((e) => e.dataset.command.startsWith(name));
  if (next.length === 0) return close();
  const opens = list.hidden || next.length !== found.length;
  found = next;
  arrange(list, found);
  list.hidden = false;
  text.setAttribute('role', 'combobox');
  text.setAttribute('aria-expanded', 'true');
  choose(0);
  if (opens) announce(t('commands.found', { n: found.length }), 'commands');
}

function close() {
  if (list.hidden) return;
  list.hidden = true;
  found = [];
  for (const name of ['role', 'aria-expanded', 'aria-activedescendant']) text.removeAttribute(name);
}

function choose(i) {
  chosen = (i + found.length) % found.length;
  for (const e of found) e.setAttribute('aria-selected', String(e === found[chosen]));
  text.setAttribute('aria-activedescendant', found[chosen].id);
  found[chosen].scrollIntoView({ block: 'nearest' });
}

function take(option) {
  const { command } = option.dataset;
  text.value = `/${command} `;
  close();
  text.focus();
  text.dispatchEvent(new Event('input'));
}

// onKey comes before that of the message box, by capture: that one lets a key be that is taken here.
function onKey(e) {
  if (list.hidden || e.isComposing || e.shiftKey || e.ctrlKey || e.metaKey || e.altKey) return;
  const option = found[chosen];
  if (e.key === 'ArrowDown') choose(chosen + 1);
  else if (e.key === 'ArrowUp') choose(chosen - 1);
  else if (e.key === 'Escape') close();
  else if (e.key === 'Tab' || (e.key === 'Enter' && text.value !== `/${option.dataset.command}`)) take(option);
  else if (e.key === 'Enter') return close(); // it is written in full: send it
  else return;
  e.preventDefault();
  e.stopPropagation();
}
