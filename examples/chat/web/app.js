// The chat's page. The server has rendered it with the newest messages of a room (page.templ); from here on it lives by
// a client of the hub. Each part is a module of its own and listens to what it needs (events.js).

import { createClient } from './gohub.js';
import { startCompose } from './compose.js';
import { startConnection } from './connection.js';
import { boot } from './i18n.js';
import { startLog } from './log.js';
import './names.js';
import { startPanels } from './panels.js';
import { startPeople } from './people.js';
import { startRooms } from './rooms.js';
import { device, startSession, token } from './session.js';

const client = createClient({ url: '/ws', token, device: device(), user: boot.user });

startConnection(client);
startSession(client);
startPanels();
startLog();
startPeople();
startCompose();
startRooms(client); // joins, and thereby connects

// The first view does without these; they come at once after it.
import('./lazy-commands.js').then(({ startCommands }) => startCommands());
import('./lazy-emoji.js').then(({ startEmoji }) => startEmoji());
import('./lazy-logout.js').then(({ startLogout }) => startLogout(client));
import('./lazy-notify.js').then(({ startNotify }) => startNotify());
import('./lazy-settings.js').then(({ startSettings }) => startSettings());
