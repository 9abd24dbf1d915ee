// The state of the connection: a banner while there is none, with the time until the next try; a notice where another
// tab has taken this one's place.

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

export function startConnection(theClient) {
  client = theClient;
  client.on('state', paint);
  if (boot.complete && $('banner-text').textContent.trim()) notice($('banner-text').textContent.trim()); // the server's, of the room
  $('banner-try').addEventListener('click', connect);
}

const connect = () => client.connect().catch(() => {}); // the state tells

function paint(state) {
  clearInterval(ticking);
  clearTimeout(late);
  setText($('banner-wait'), '');
  document.documentElement.dataset.connection = state.name;
  const away = state.name !== 'connected' && state.name !== 'connecting';
  if (!away && document.activeElement === $('banner-try')) $('text').focus(); // what is hidden loses the focus
  $('banner-try').hidden = !away;
  setText($('banner-try'), t(state.name === 'closed' ? (state.code === 4500 ? 'replaced.use' : 'connection.reconnect') : 'connection.try'));
  if (state.name !== 'closed') replaced.close();
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
    if (code === 4500) replaced.open();
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

// What a tab shows that a copy of it has replaced. It can be closed, to read or copy what is there; the banner stays.
const replaced = {
  open() {
    this.dialog ??= this.make();
    if (!this.dialog.open) this.dialog.showModal();
  },

  close() {
    this.dialog?.close();
  },

  make() {
    const use = element('button', 'primary', t('replaced.use'));
    use.id = 'use-here';
    use.addEventListener('click', connect);
    const title = element('h2', '', t('replaced.title'));
    title.id = 'replaced-title';
    const dialog = element('dialog', 'card', title, element('p', 'soft', t('connection.replaced')), use);
    dialog.id = 'replaced';
    dialog.setAttribute('aria-labelledby', title.id);
    document.body.append(dialog);
    return dialog;
  },
};
