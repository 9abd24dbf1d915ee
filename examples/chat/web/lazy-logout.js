// Logging out: here, in the other tabs, and with what was written and not sent, which the next one at this computer
// shall not find.

import { notice } from './connection.js';
import { $ } from './dom.js';
import { boot, t } from './i18n.js';
import { LEAVING, tabs } from './session.js';

export function startLogout(client) {
  $('logout').addEventListener('submit', async (e) => {
    e.preventDefault();
    client.close();
    tabs.postMessage(LEAVING);
    const res = await fetch('/logout', { method: 'POST' }).catch(() => {});
    if (!res?.ok) {
      notice(t('logout.failed'));
      client.connect().catch(() => {}); // the state tells
      return;
    }
    forgetDrafts();
    await forgetUnsent().catch(() => {}); // no database: nothing is in it
    tabs.postMessage('');
    location.replace('/');
  });
}

function forgetDrafts() {
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith(`gohub-chat draft ${boot.user} `)) localStorage.removeItem(key);
  } catch {
    // No storage: nothing is in it.
  }
}

// forgetUnsent takes our messages out of the client's database (docs/sdk.md), those of other tabs, too.
function forgetUnsent() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('gohub /ws');
    opening.onupgradeneeded = () => opening.transaction.abort(); // there is none
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const change = opening.result.transaction('outbox', 'readwrite');
      change.oncomplete = resolve;
      change.onabort = () => reject(change.error);
      change.objectStore('outbox').openCursor().onsuccess = ({ target: { result: at } }) => {
        if (at?.value.user === boot.user) at.delete();
        at?.continue();
      };
    };
  });
}
