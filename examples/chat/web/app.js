// The chat's page. The server has rendered it with the newest messages of a room (page.templ); from here on it lives by
// a client of the hub. Each part is a module of its own and listens to what it needs (events.js).

import { createClient } from './gohub.js';
import { startCommands } from './commands.js';
import { startCompose } from './compose.js';
import { startConnection } from './connection.js';
import { startEmoji } from './emoji.js';
import { boot } from './i18n.js';
import { startLog } from './log.js';
import { startNotify } from './notify.js';
import { startPanels } from './panels.js';
import { startPeople } from './people.js';
import { startRooms } from './rooms.js';
import { device, startSession, token } from './session.js';
import { startSettings } from './settings.js';
import { startTyping } from './typing.js';

const client = createClient({ url: '/ws', token, device: device(), user: boot.user });

startConnection(client);
startSession(client);
startSettings();
startPanels();
startLog();
startPeople();
startTyping();
startCommands(); // before the message box: it has the first word on a key
startCompose();
startEmoji();
startNotify();
startRooms(client); // joins, and thereby connects
