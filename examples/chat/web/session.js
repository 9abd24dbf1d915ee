// Who is logged in, in cookies that scripts cannot see: renewing that before it ends, and hearing of other tabs, which
// share them. lazy-logout.js ends it.

import { reused } from './connection.js';
import { boot } from './i18n.js';

export const tabs = new BroadcastChannel('gohub-chat'); // says whose a tab is; LEAVING: about to log out; '': logged out
export const LEAVING = 'logging out'; // no name has a space
const REUSED = 'token_reused'; // what the server calls a login of whose token there are two copies; tabs tell each other, too
let leaving = false;
let { expires } = boot; // when the login ends, by the server's clock; 0: at once
let ends = expires && Date.now() + boot.expires - boot.now; // by ours, which need not go as that does

// token is what the client asks before each connection, and with renew when the login has ended or is about to.
export async function token(renew) {
  if (renew || ends < Date.now()) await renewLogin();
  return { expires };
}

// The server may have forgotten its logins in a restart. As a name is all it takes, the page does not trouble
// anybody with that. But a logout in another tab shall not be undone, and a login that somebody may have stolen is told of.
async function renewLogin() {
  let res = await fetch('/refresh', { method: 'POST' });
  if (res.status === 401 || res.status === 403) {
    const { code } = await res.json().catch(() => ({}));
    if (code === REUSED) {
      tabs.postMessage(REUSED);
      reused();
      throw new Error(code);
    }
    if (leaving) {
      location.reload(); // to the login
      throw new Error('logged out');
    }
    res = await fetch('/login', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user: boot.user }),
    });
  }
  if (!res.ok) throw new Error(`the login cannot be renewed: ${res.status}`);
  const login = await res.json();
  if (login.user !== boot.user) location.reload(); // another tab logged in as someone else
  ({ expires } = login);
  ends = Date.now() + expires - Date.parse(res.headers.get('Date'));
}

export function startSession(client) {
  tabs.onmessage = ({ data }) => {
    if (data === LEAVING) leaving = true;
    else if (data === REUSED) reused();
    else if (data !== boot.user) location.reload();
  };
  tabs.postMessage(boot.user);
  client.on('state', ({ name, code, reason }) => {
    if (name === 'connected' && client.user !== boot.user) location.reload();
    if (name !== 'closed' || code !== 4501) return;
    if (reason !== REUSED) return location.reload(); // to the login
    reused(fetch('/refresh', { method: 'POST' }).catch(() => {})); // takes the cookies of what has ended; a new login just goes on
  });
}

// device names this tab, so that a copy of it (Duplicate) takes its place instead of standing beside it.
export function device() {
  const fresh = [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, '0')).join('');
  try {
    return (sessionStorage['gohub-chat device'] ??= `tab-${fresh}`);
  } catch {
    return `tab-${fresh}`; // no storage: every load is another
  }
}
