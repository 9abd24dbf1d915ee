// Notifications: only for who asked for them, only while nobody looks, one for each room, and gone once it is read.
// While somebody looks, direct messages in other rooms are read out.

import { $, announce, kept, setText } from './dom.js';
import { on } from './events.js';
import { boot, t } from './i18n.js';
import { isNotice, wordsOf } from './message.js';
import { open } from './rooms.js';
import { isReading } from './scroll.js';

const LENGTH = 200; // characters
const shown = new Map(); // conversation → notification
const possible = 'Notification' in window;
const wanted = () => possible && kept.get(`notify ${boot.user}`) === 'yes' && Notification.permission === 'granted';

export function startNotify() {
  $('notify-ask').addEventListener('click', async () => {
    const on = !wanted();
    kept.set(`notify ${boot.user}`, on ? 'yes' : null);
    if (on) await Notification.requestPermission();
    paint();
  });
  paint();
  on('message', tell);
  on('unread', (c) => c.unread === 0 && shown.get(c)?.close());
}

function paint() {
  const denied = !possible || Notification.permission === 'denied';
  $('notify-ask').hidden = denied;
  setText($('notify-ask'), wanted() ? t('notify.stop') : t('notify.ask'));
  setText($('notify-state'), denied ? t('notify.denied') : wanted() ? t('notify.on') : t('notify.off'));
}

function tell(c, m) {
  if (!c.counted || c.unread === 0 || isNotice(m)) return;
  if (!document.hidden && c.other !== undefined && !isReading(c)) announce(t('message.announce', { user: m.sender, text: wordsOf(m).slice(0, LENGTH) }), c.name);
  if (!document.hidden || !wanted()) return;
  const title = c.other !== undefined ? t('notify.direct', { user: m.sender }) : t('notify.room', { user: m.sender, room: c.title });
  try {
    const n = new Notification(title, { body: wordsOf(m).slice(0, LENGTH), tag: c.name, icon: new URL('./icon.svg', import.meta.url).href, lang: boot.lang });
    shown.set(c, n);
    n.onclick = () => {
      window.focus();
      open(c);
      n.close();
    };
    n.onclose = () => shown.get(c) === n && shown.delete(c);
  } catch {
    // Phones know them only in service workers, which this page has none of.
  }
}
