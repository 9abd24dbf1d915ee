// Small things around elements, focus and what is read out. What comes from others goes in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

// fromTemplate makes what the server has put into <template id="t-NAME">.
const templates = new Map();
export function fromTemplate(name) {
  if (!templates.has(name)) templates.set(name, $(`t-${name}`).content.firstElementChild);
  return document.importNode(templates.get(name), true);
}

export function element(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

// setText writes only what is new: an unchanged text costs no layout, and is not read out again.
export function setText(e, text) {
  if (e.textContent !== String(text)) e.textContent = text;
}

// paintAvatar gives a user the colour that the server gives them, too.
export function paintAvatar(e, user) {
  let hash = 0;
  for (const c of user) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  for (const name of [...e.classList]) if (name.startsWith('hue')) e.classList.remove(name);
  e.classList.add(`hue${hash % 8}`);
  e.textContent = [...user][0] ?? '';
  return e;
}

// arrange makes wanted the children of list, and leaves alone what is in its place. What goes, goes first: then that
// is most of the rest.
let round = 0;
export function arrange(list, wanted) {
  round++;
  for (const e of wanted) e.round = round;
  for (let e = list.firstElementChild, next; e; e = next) {
    next = e.nextElementSibling;
    if (e.round !== round) e.remove();
  }
  let at = list.firstElementChild;
  for (const e of wanted) {
    if (e === at) at = at.nextElementSibling;
    else list.insertBefore(e, at);
  }
}

// frame waits for the next one; it tells true.
export const frame = () => new Promise((resolve) => requestAnimationFrame(() => resolve(true)));

// oncePerFrame has work done with the next frame, however often it is asked for until then.
export function oncePerFrame(work) {
  let planned = false;
  return () => {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      work();
    });
  };
}

// A tab in the background has no frames for a long time, but a title: for that, a moment will do.
export function soon(work, ms = 50) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      work();
    }, ms);
  };
}

// Settings live in localStorage, which a browser may refuse.
export const kept = {
  get(key) {
    try {
      return localStorage.getItem(`gohub-chat ${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value === null || value === '') localStorage.removeItem(`gohub-chat ${key}`);
      else localStorage.setItem(`gohub-chat ${key}`, value);
    } catch {
      // Full, or forbidden: then it lasts as long as the page.
    }
  },
};

// --- what a screen reader says besides the log ---

const PAUSE = 1_500; // ms between two texts
const waiting = []; // {text, about}
let timer = 0;

function next() {
  const one = waiting.shift();
  $('status').textContent = one?.text ?? '';
  timer = one ? setTimeout(next, PAUSE) : 0;
}

// announce says text politely, when the one before has had its time. Of several that wait about the same thing, the last one counts.
export function announce(text, about = text) {
  const same = waiting.find((w) => w.about === about);
  if (same) same.text = text;
  else waiting.push({ text, about });
  if (!timer) next();
}

// --- roving focus: a list is one stop of the Tab key; arrows, Home and End go through it ---

const KEYS = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 };

// rove does so for what selector finds in container, now and later. columns: what ↓ and ↑ jump over, where it
// is a grid. fresh: the place in the Tab order that items have when they come; if that is -1, they need no look. The
// returned function has item be the stop; without one the stop stays, or the first becomes it (the last of fresh ones).
export function rove(container, selector, { columns = 1, vertical = false, fresh = 0 } = {}) {
  const items = () => [...container.querySelectorAll(selector)];
  let current;

  function stop(item) {
    if (!container.contains(item)) item = undefined;
    const before = current;
    if (item || !container.contains(current)) current = item ?? items().at(fresh);
    if (fresh === -1) {
      if (current === before) return;
      if (before) before.tabIndex = -1;
      if (current) current.tabIndex = 0;
    } else {
      for (const e of items()) {
        const index = e === current ? 0 : -1;
        if (e.tabIndex !== index || !e.hasAttribute('tabindex')) e.tabIndex = index;
      }
    }
  }

  container.addEventListener('focusin', (e) => {
    const item = e.target.closest(selector);
    if (item && item !== current) stop(item);
  });

  container.addEventListener('keydown', (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey) return;
    const item = e.target.closest(selector);
    if (!item || e.target !== item) return;
    const all = items();
    const at = all.indexOf(item);
    let to;
    if (e.key === 'Home') to = 0;
    else if (e.key === 'End') to = all.length - 1;
    else if (e.key in KEYS) {
      const across = e.key === 'ArrowLeft' || e.key === 'ArrowRight';
      if (vertical && across) return;
      const flip = across && getComputedStyle(container).direction === 'rtl' ? -1 : 1;
      to = at + KEYS[e.key] * flip * (across ? 1 : columns);
    } else return;
    e.preventDefault();
    const target = all[Math.max(0, Math.min(all.length - 1, to))];
    if (columns > 1 && (to < 0 || to >= all.length)) return;
    stop(target);
    target?.focus();
  });

  stop();
  return stop;
}
