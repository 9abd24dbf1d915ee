// What a screen reader says besides the log. There is one region for it; a new text waits until the one before
// has had its time.

import { $ } from './dom.js';

const PAUSE = 1_500; // ms between two texts
const waiting = []; // {text, about}
let timer = 0;

function next() {
  const one = waiting.shift();
  $('status').textContent = one?.text ?? '';
  timer = one ? setTimeout(next, PAUSE) : 0;
}

// announce says text politely. Of several that wait about the same thing, the last one counts.
export function announce(text, about = text) {
  const same = waiting.find((w) => w.about === about);
  if (same) same.text = text;
  else waiting.push({ text, about });
  if (!timer) next();
}
