// The state of the connection: a banner while there is none, with the time until the next try; a notice where another
// tab has taken this one's place, or somebody else has used the login.

import { $, announce, element, setText } from './dom.js';
import { boot, t } from './i18n.js';

const PATIENCE = 1_000; // ms that connecting may take until it is worth a word
const BRIEFLY = 6_000; // ms for what is only told
const ENDS = { 4500: 'connection.replaced', 4501: 'connection.unauthorized', 4502: 'connection.forbidden', 4503: 'connection.kicked', 4504: 'connection.protocol' };

let client;
let lost = false; // there was a connection, and then none
let ticking = 0;
let late = 0;
let told = ''; // what is only told, for a while
let replaced; // what a tab shows that a copy of it has replaced
let over = false; // the login is one that somebody else has used, too
let ended; // ends when nothing is left of it here

export function startConnection(theClient) {
  client = theClient;
  client.on('state', paint);
  if (boot.complete && $('banner-text').textContent.trim()) notice($('banner-text').textContent.trim()); // the server's, of the room
  $('banner-try').addEventListener('click', connect);
}

// connect tries again, now; the state tells how it went.
async function connect() {
  if (over) {
    await ended;
    location.replace('/'); // to the login
  }
  else client.connect().catch(() => {});
}

function paint(state) {
  clearInterval(ticking);
  clearTimeout(late);
  setText($('banner-wait'), '');
  document.documentElement.dataset.connection = state.name;
  const away = state.name !== 'connected' && state.name !== 'connecting';
  if (!away && document.activeElement === $('banner-try')) $('text').focus(); // what is hidden loses the focus
  $('banner-try').hidden = !away;
  setText($('banner-try'), t(over ? 'reused.login' : state.name === 'closed' ? (state.code === 4500 ? 'replaced.use' : 'connection.reconnect') : 'connection.try'));
  if (state.name !== 'closed') replaced?.close();
  states[state.name]?.(state);
}

const states = {
  connecting() {
    if ($('banner').classList.contains('on')) setText($('banner-wait'), t('connection.now'));
    else late = setTimeout(() => banner(t('connection.connecting')), PATIENCE);
  },

  connected() {
    const { durable, node } = client.welcome;
    setText($('server'), durable ? t('server.at', { node }) : t('server.passing'));
    $('server').title = node;
    banner(told);
    if (lost) announce(t('connection.again'), 'connection');
    lost = false;
  },

  waiting({ retryAt }) {
    lost = true;
    banner(t('connection.waiting'));
    const count = () => setText($('banner-wait'), t('connection.countdown', { n: Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) }));
    count();
    ticking = setInterval(count, 500);
  },

  offline() {
    lost = true;
    banner(t('connection.offline'));
  },

  closed({ code, reason }) {
    if (code === 1000) return;
    lost = true;
    banner(ENDS[code] ? t(ENDS[code]) : reason || t('connection.ended'));
    if (code === 4500) (replaced ??= dialog('replaced', t('replaced.title'), t('connection.replaced'))).showModal();
  },
};

function banner(words) {
  setText($('banner-text'), words);
  $('banner').classList.toggle('on', words !== '');
}

// notice shows something in the banner's place for a while.
export function notice(words) {
  banner((told = words));
  setTimeout(() => {
    if (told !== words) return;
    told = '';
    if ($('banner-text').textContent === words) banner('');
  }, BRIEFLY);
}

// reused says that somebody else may have the login, and leads to a new one.
export function reused(ending) {
  ended ??= ending;
  if (over) return;
  over = true;
  client.close();
  banner(t('reused.text'));
  dialog('reused', t('reused.title'), t('reused.text')).showModal();
}

// dialog says why this page is not connected, and has the way back. It can be closed, to read or copy what is there; the
// banner stays.
function dialog(id, heading, words) {
  const go = element('button', 'primary', $('banner-try').textContent);
  go.addEventListener('click', connect);
  const title = element('h2', '', heading);
  title.id = `${id}-title`;
  const e = element('dialog', 'card', title, element('p', 'soft', words), go);
  e.id = id;
  e.setAttribute('aria-labelledby', title.id);
  document.body.append(e);
  return e;
}
