// Roving focus: a list is one stop of the Tab key, and arrows, Home and End go through it.

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
