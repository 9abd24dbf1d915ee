// Small things around elements. What comes from others goes in as text, never as HTML.

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
