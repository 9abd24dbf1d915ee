// What can be measured of how a page looks to people: axe-core's rules, and what those leave open.

import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';

const source = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
// What of messages only screen readers are to hear: it is there, and transparent.
const HEARD = '.message.follows > .head, .message.follows > .head *, .mine > .head .name, .message.again .ticks';
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

// inject puts axe into the page, through the DevTools protocol: the page's policy lets no script in.
async function inject(page) {
  if (await page.evaluate(() => 'axe' in window)) return;
  const cdp = await page.context().newCDPSession(page);
  const { exceptionDetails } = await cdp.send('Runtime.evaluate', { expression: source });
  if (exceptionDetails) throw new Error(exceptionDetails.text);
  await cdp.detach();
}

// audit gives what is wrong, one line each, and undecided: what axe could not judge and contrast could not either.
// Where the system forces its colours, contrast judges all text: axe goes by -webkit-text-fill-color, which Chromium
// tells as if nothing was forced.
export async function audit(page) {
  await inject(page);
  return page.evaluate(async ([tags, heard]) => {
    const forced = matchMedia('(forced-colors: active)').matches;
    const found = await window.axe.run(document, {
      runOnly: { type: 'tag', values: tags }, rules: { 'target-size': { enabled: true }, 'color-contrast': { enabled: !forced } },
      resultTypes: ['violations', 'incomplete'], iframes: false, elementRef: true,
    });
    const say = (rule, node) => `${rule.id}: ${node.target.join(' ')}: ${node.any.concat(node.all, node.none).map((c) => c.message).join('; ')}`;
    const wrong = found.violations.flatMap((rule) => rule.nodes.map((node) => say(rule, node)));
    const undecided = [];
    const judges = {
      'color-contrast': contrast,
      'label-content-name-mismatch': (e) => (/[\p{L}\p{N}]/u.test(e.textContent) ? 'another name' : ''), // a picture may be named in words
    };
    let judged = 0;
    for (const e of document.querySelectorAll(heard)) {
      const { color } = getComputedStyle(e);
      if (e.checkVisibility({ visibilityProperty: true }) && !e.closest('.message').matches(':hover, :focus-visible') && rgba(color)[3] !== 0) wrong.push(`only to be heard, and ${color}: ${e.className} of ${e.closest('.message').textContent}`);
    }
    for (const rule of found.incomplete) {
      for (const node of rule.nodes) {
        const verdict = judges[rule.id]?.(node.element) ?? 'no rule of ours';
        if (verdict === '') judged++;
        else undecided.push(`${say(rule, node)} (${verdict})`);
      }
    }
    for (const e of forced ? document.querySelectorAll('body, body *') : []) {
      if (![...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim()) || !e.checkVisibility({ visibilityProperty: true }) || e.matches('script, noscript, option, :disabled')) continue;
      const verdict = contrast(e);
      if (verdict === '') judged++;
      else wrong.push(`forced colours: ${e.tagName}#${e.id}.${e.className}: ${verdict}`);
    }
    return { wrong, undecided, judged };

    // contrast compares the text of e with the background behind it: its own and its ancestors', one over the other.
    // It returns what is wrong, or nothing.
    function contrast(e) {
      const style = getComputedStyle(e);
      if (e.matches(heard) && rgba(style.color)[3] === 0) return '';
      const layers = [];
      let opaque = false, opacity = 1;
      for (let a = e; a && !opaque; a = a.parentElement) {
        const s = getComputedStyle(a);
        if (s.backgroundImage !== 'none') return `a picture behind it, of ${a.tagName}#${a.id}.${a.className}`;
        const c = rgba(s.backgroundColor);
        if (c[3] > 0) layers.push(c);
        if (layers.length === 0) opacity *= Number(s.opacity); // of the text alone
        else if (s.opacity !== '1') return `${a.tagName}#${a.id}.${a.className} lets through what is behind it`;
        opaque = c[3] === 1;
        if (s.position === 'fixed' || a.matches(':popover-open, dialog')) { if (!opaque) return 'it floats without a background'; }
      }
      if (!opaque) layers.push(rgba(getComputedStyle(document.body).backgroundColor));
      const back = layers.reverse().reduce((under, over) => mix(over, under), [255, 255, 255, 1]);
      const [r, g, b, alpha] = rgba(style.color);
      const text = mix([r, g, b, alpha * opacity], back);
      const [light, dark] = [luminance(text), luminance(back)].sort((x, y) => y - x);
      const ratio = (light + 0.05) / (dark + 0.05);
      const px = parseFloat(style.fontSize);
      const large = px >= 24 || (px >= 18.66 && Number(style.fontWeight) >= 700);
      return ratio >= (large ? 3 : 4.5) ? '' : `contrast ${ratio.toFixed(2)} of ${style.color} on ${back.map(Math.round)}`;
    }

    function rgba(color) { // computed colours are rgb(), rgba() or color(srgb …)
      const n = color.match(/[\d.]+(e-?\d+)?/g).map(Number);
      const [r, g, b, a = 1] = n;
      return color.startsWith('color(') ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
    }

    function mix([r, g, b, a], under) {
      return [r, g, b].map((v, i) => v * a + under[i] * (1 - a)).concat(1);
    }

    function luminance(c) {
      const [r, g, b] = c.slice(0, 3).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }
  }, [TAGS, HEARD]);
}

// tooSmall lists what is to be hit and is less than 24 px wide or high. Links within text are excepted, as in WCAG 2.5.8.
export function tooSmall(page) {
  return page.evaluate(() => [...document.querySelectorAll('a, button, input, select, textarea, summary, [role=option]')].flatMap((e) => {
    if (e.matches('.bubble a, [type=hidden], .hidden, .skip:not(:focus)') || !e.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return [];
    const r = (e.matches('[type=radio], [type=checkbox]') ? e.closest('label') : e).getBoundingClientRect();
    return r.width < 24 || r.height < 24 ? [`${e.tagName}#${e.id}.${e.className} ${r.width.toFixed(1)}×${r.height.toFixed(1)}`] : [];
  }));
}

// tooWide lists what sticks out at the sides, if the page can be scrolled sideways or something is cut off.
export function tooWide(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const clipped = (e) => e && (getComputedStyle(e).clipPath.startsWith('inset(50%') || clipped(e.parentElement)); // for screen readers alone
    const out = [...document.querySelectorAll('body *')].filter((e) => {
      const r = e.getBoundingClientRect();
      return e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && r.width > 1 && (r.right > width + 1 || r.left < -1) && !clipped(e);
    }).map((e) => `${e.tagName}#${e.id}.${e.className} ${Math.round(e.getBoundingClientRect().left)}–${Math.round(e.getBoundingClientRect().right)}`);
    const scrolls = [...document.querySelectorAll('html, body, #log, .panel, .popover, #login')].filter((e) => e.scrollWidth > e.clientWidth + 1 && e.checkVisibility()).map((e) => `${e.tagName}#${e.id} scrolls to ${e.scrollWidth} of ${e.clientWidth}`);
    return [...scrolls, ...out.slice(0, 5)];
  });
}

// moving lists what takes more than 1 ms to change: nothing should, for those who asked for less motion.
export function moving(page) {
  return page.evaluate(() => {
    const ms = (list) => Math.max(0, ...list.split(',').map((d) => parseFloat(d) * (d.trim().endsWith('ms') ? 1 : 1_000)));
    const styles = [...document.querySelectorAll('*')].flatMap((e) => [null, '::before', '::after', '::backdrop'].map((part) => [e, part, getComputedStyle(e, part)]));
    const slow = styles.filter(([, , s]) => ms(s.transitionDuration) > 1 || (s.animationName !== 'none' && ms(s.animationDuration) > 1) || s.scrollBehavior === 'smooth');
    return slow.map(([e, part, s]) => `${e.tagName}#${e.id}.${e.className}${part ?? ''} ${s.transitionDuration} ${s.animationName} ${s.scrollBehavior}`);
  });
}
