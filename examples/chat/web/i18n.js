// What the server has put into the page: who we are, what is on screen, and the words of the page in the language
// in which it was rendered. Numbers, dates and lists are written as that language does.

export const boot = JSON.parse(document.getElementById('boot').textContent);
const language = boot.lang;

const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);
const lists = new Intl.ListFormat(language, { type: 'conjunction' });
const dates = (options) => new Intl.DateTimeFormat(language, options);
const clock = dates({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }); // as the server writes it
const full = dates({ dateStyle: 'full', timeStyle: 'short' });
const weekday = dates({ weekday: 'long', day: 'numeric', month: 'long' });
const withYear = dates({ day: 'numeric', month: 'long', year: 'numeric' });
const short = dates({ day: 'numeric', month: 'short' });

// t gives the text of a key. {name} in it stands for values.name; where there are several forms, values.n
// chooses one.
export function t(key, values = {}) {
  let text = boot.strings[key] ?? key;
  if (typeof text === 'object') text = text[plurals.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (all, name) => {
    const value = values[name];
    if (value === undefined) return all;
    return typeof value === 'number' ? numbers.format(value) : value;
  });
}

export const has = (key) => key in boot.strings;
export const number = (n) => numbers.format(n);
export const list = (words) => lists.format(words);
export const time = (ms) => clock.format(ms);
export const dateAndTime = (ms) => full.format(ms);

// midnight is the beginning of a day of the reader's.
export const midnight = (ms) => new Date(ms).setHours(0, 0, 0, 0);

// atMidnight has work done whenever another day has begun. A machine that has slept is late.
export function atMidnight(work) {
  const tomorrow = new Date().setHours(24, 0, 0, 0);
  const look = () => {
    if (Date.now() < tomorrow) return setTimeout(look, Math.min(tomorrow - Date.now(), 60_000));
    work();
    atMidnight(work);
  };
  look();
}

const daysAgo = (ms) => Math.round((midnight(Date.now()) - midnight(ms)) / 86_400_000);

// day is the heading of a day in the log.
export function day(ms) {
  const ago = daysAgo(ms);
  if (ago === 0) return t('day.today');
  if (ago === 1) return t('day.yesterday');
  return (ago > 0 && ago < 180 ? weekday : withYear).format(ms);
}

// when is short: for the list of rooms.
export const when = (ms) => (daysAgo(ms) === 0 ? clock : short).format(ms);
