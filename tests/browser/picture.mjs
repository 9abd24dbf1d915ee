// The pictures of the chat in the README: a desk by day and a phone by night, of people who never lived.
//
//	node picture.mjs [directory]      by default docs/images
//
// It has the system's fonts: Debian's fonts-inter, as fontconfig's system-ui, and fonts-noto-color-emoji become it.

import { mkdir } from 'node:fs/promises';
import path from 'node:path';

import { directRoom, until, world } from './chat.mjs';

const MINUTE = 60_000; // ms
const now = Date.now();
const ago = (minutes) => now - minutes * MINUTE;
const me = 'nina';
const ride = 'sunday-ride';

const past = [
  ['general', 'otto', 'Whoever borrowed the long pump: it lives next to the kettle now', 1500],
  ['general', 'mei', 'The workshop is open until eight tonight, and there is cake', 42],
  ['random', 'jonas', 'A heron on the canal, one metre away, entirely unbothered', 190],
  ['random', 'aisha', 'It has better nerves than I do', 188],
  ['tools', 'otto', 'Chain gauge is back, thank you whoever it was', 1900],
  [directRoom(me, 'jonas'), 'jonas', 'I could bring the big thermos', 64],
  [directRoom(me, 'jonas'), me, 'Please do. You carry it, though', 63],
  [directRoom(me, 'mei'), 'mei', 'Did you get the keys?', 16],

  [ride, 'aisha', 'Route for Sunday: out along the river, lunch at the lock, back over the hill. 62 km, one proper climb.', 1466],
  [ride, 'otto', 'How proper?', 1462],
  [ride, 'aisha', 'You will have time to admire the view', 1461],
  [ride, 'mei', '😅', 1460],
  [ride, me, 'I checked the ferry, it runs until six. So no hurry at the lock.', 47],
  [ride, me, 'Here is the map: https://example.org/rides/river-and-hill', 46],
  [ride, 'jonas', 'Perfect. I can lend somebody a front light for the way home', 31],
  [ride, 'mei', 'Me, please! Mine died in the rain on Tuesday', 29],
  [ride, 'jonas', 'It is yours. Bring a charger', 28],
  [ride, 'otto', 'packs three bananas, to be safe', 12, 'me'],
  [ride, 'aisha', 'Nine o’clock at the bridge, then. If it rains, we look at each other and go anyway', 7],
  [ride, me, 'Nine it is. I bring the good coffee ☕', 5],
].map(([room, sender, text, minutes, kind]) => ({ room, sender, text, kind, at: ago(minutes) })).sort((a, b) => a.at - b.at);

// It is about ten in the morning wherever these people are.
const hours = (10 - new Date(now).getUTCHours() + 36) % 24 - 12;
const timezoneId = `Etc/GMT${hours > 0 ? '-' : '+'}${Math.abs(hours)}`;

const to = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '../../docs/images'));
await mkdir(to, { recursive: true });
const w = await world({ past, args: ['-rate', '0', '-node', 'chat-1'] });
try {
  const others = {};
  for (const name of ['aisha', 'jonas', 'mei', 'otto']) {
    others[name] = await w.bot(name);
    for (const room of [ride, 'general']) await others[name].room(room).join();
  }
  for (const name of ['jonas', 'mei']) await others[name].room(directRoom(me, name)).join();
  for (const name of ['aisha', 'jonas']) others[name].room(ride).seen();
  const nina = await w.bot(me); // has read what she answered
  const read = [ride, 'general', 'tools', directRoom(me, 'jonas')];
  for (const room of read) {
    await nina.room(room).join();
    nina.room(room).seen();
  }
  await until(async () => (await nina.rooms()).every(({ room, unread }) => unread === 0 || !read.includes(room)), 'all that is read');
  nina.close();

  for (const [name, options] of Object.entries({
    'chat-desk': { viewport: { width: 1200, height: 692 }, colorScheme: 'light' },
    'chat-phone': { viewport: { width: 390, height: 780 }, colorScheme: 'dark', hasTouch: true, isMobile: true },
  })) {
    const nina = await w.person(me, { ...options, timezoneId, reducedMotion: 'reduce' });
    await nina.logIn();
    await nina.page.goto(`${nina.at}?room=${ride}`);
    await nina.connected();
    await nina.message('Nine it is').locator('.ticks', { hasText: 'seen by 2' }).waitFor();
    await nina.page.locator('#subtitle', { hasText: '5 people here' }).waitFor();
    await nina.page.mouse.move(0, 0);
    others.mei.room(ride).typing();
    await nina.page.locator('#typing', { hasText: 'mei' }).waitFor();
    await nina.page.screenshot({ path: path.join(to, `${name}.png`), animations: 'disabled' });
    others.mei.room(ride).typing(false);
    await nina.context.close();
  }
} finally {
  await w.stop();
}
