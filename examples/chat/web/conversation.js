// A conversation: a room of the client with what the page keeps of it, its messages, who is there, how far
// everybody has read.

import { emit } from './events.js';
import { Timeline } from './timeline.js';

const PAGE = 40; // messages of history at a time
const FIRST = 50; // with the first look
const MOST = 160; // messages kept of the room on screen
const FEW = 60; // and of the others
const AROUND = 70; // kept on either side of the reader, where there are too many
const timeOfId = (id) => Number.parseInt(id.replace('-', '').slice(0, 12), 16); // of a UUID of version 7
const PEOPLE = 1_000; // users that are listed; of larger rooms only the count is known

// mostHere is MOST, or what a tall screen needs: four of the lowest lines, 32 px, and a page, so that what is cut off at one
// end is never missed at once; see reach.
export const mostHere = () => Math.max(MOST, PAGE + Math.ceil((4 * innerHeight) / 32));

export const directWith = (me, user) => `@${[me, user].sort().join(',')}`;

export class Conversation {
  timeline = new Timeline();
  marks = new Map(); // user → {delivered, seen}
  members = new Set(); // who is there,
  complete = false; // if that is known;
  many = false; // there are too many to be listed
  names = new Map(); // what the server calls them
  typing = [];
  seen = 0; // seq up to which we have read
  divider = undefined; // what others wrote after this seq was new when we last looked
  counted = true; // the client knows how many are unread; until then it is listed
  listed = 0;
  newest = undefined; // what the list of rooms shows: {sender, text, seq, kind}
  #begun = false; // the newest page is here
  #primed = undefined;
  #loading = undefined;
  #asking = undefined; // for who is there
  #over = false;

  // reading tells whether a new message is read as it comes.
  constructor(client, name, me, reading) {
    const pair = name.startsWith('@') ? name.slice(1).split(',') : undefined;
    Object.assign(this, { name, me, reading, room: client.room(name) });
    this.other = pair && (pair[0] === me ? pair[1] : pair[0]);
    this.title = pair ? this.other : `#${name}`;
    const { room } = this;
    this.undo = [
      room.on('message', (message) => this.#message(message)),
      room.on('outgoing', (message) => this.outgoing(message)),
      room.on('gap', ({ after }) => {
        this.timeline.cutUntil(after);
        emit('changed', this);
      }),
      room.on('receipt', ({ user, ...mark }) => this.#receipt(user, mark)),
      room.on('typing', (users) => {
        this.typing = users.filter((user) => user !== me);
        emit('typing', this);
      }),
      room.on('joined', () => emit('joined', this)),
      room.on('members', ({ joined, left, count }) => {
        if (!this.complete && !(this.many && count <= PEOPLE)) return emit('people', this);
        for (const user of joined) this.members.add(user);
        for (const user of left) this.members.delete(user);
        if (count !== this.members.size) this.loadPeople();
        else emit('people', this);
      }),
    ];
  }

  // end has it hear nothing more: the room is left.
  end() {
    this.#over = true;
    for (const undo of this.undo) undo();
  }

  get unread() {
    return this.counted ? this.room.unread : this.listed;
  }

  get count() {
    return this.room.members;
  }

  // online tells whether the other one of a direct room is there.
  get online() {
    return this.other !== this.me && this.room.joined && this.count > 1;
  }

  #message(message) {
    const known = this.timeline.get(message.sender, message.id);
    this.timeline.live({ ...message });
    this.note(message);
    if (message.sender !== this.me) {
      if (this.other !== undefined && message.seq > this.seen) this.room.delivered(); // else it has been told more than that
      if (this.counted && this.unread === 1 && !this.reading(this)) this.divider = this.seen || undefined;
      if (!known) emit('message', this, message);
      emit('unread', this);
    }
    emit('changed', this);
  }

  // note keeps the newest message in mind.
  note({ sender, body, seq, kind, to }) {
    if (kind === 'notice' && sender === this.me && to === sender) return; // an answer to a command, for a moment
    if (seq > (this.newest?.seq ?? 0)) this.newest = { sender, body, seq, kind, to };
  }

  // outgoing puts a message of ours in its place, and follows it.
  outgoing(out) {
    const { me, timeline } = this;
    let m = timeline.get(me, out.id);
    if (out.status === 'cancelled') {
      if (m) timeline.remove(m);
    } else {
      if (!m && out.status !== 'saved') {
        m = timeline.put({ id: out.id, room: this.name, seq: Infinity, sender: me, kind: out.kind ?? 'chat', to: out.to, body: out.body, written: timeOfId(out.id) });
      }
      if (m) m.out = out;
      if (m && out.status !== 'failed') m.news = true; // if it fails now; else it was kept from before
      if (m && out.status === 'saved') this.#saved(m, out);
    }
    emit('changed', this);
  }

  async #saved(m, out) {
    const { room, seq } = await out.sent;
    if (room !== this.name) { // of /msg
      this.timeline.remove(m);
      emit('elsewhere', this, room);
    } else if (m.seq === Infinity) {
      this.timeline.put({ ...m, seq });
      this.note({ ...m, seq });
    }
    emit('changed', this);
  }

  #receipt(user, { delivered = 0, seen = 0 }) {
    const old = this.marks.get(user) ?? { delivered: 0, seen: 0 };
    this.marks.set(user, { delivered: Math.max(old.delivered, delivered), seen: Math.max(old.seen, seen) });
    if (user === this.me && seen >= (this.room.last ?? Infinity)) this.read(); // on another device
    emit('marks', this);
  }

  // read says that all there is has been read.
  read() {
    const last = this.room.last ?? 0;
    if (last === 0 || (last <= this.seen && this.unread === 0)) return;
    this.counted = true;
    this.seen = Math.max(this.seen, last);
    this.room.seen();
    emit('unread', this);
  }

  // adopt takes what the server has rendered, and how far others have read if it said so.
  adopt(messages, more, watermarks) {
    for (const m of messages) this.note(this.timeline.put(m));
    this.timeline.more = more;
    if (!watermarks) return;
    this.#marked(watermarks);
    this.#begun = true;
  }

  // prime gets the newest messages and how far others have read, with the first look at the room. What is unread
  // comes along, as far as it is counted.
  prime() {
    this.#primed ??= (async () => {
      if (!this.#begun) await this.#begin();
      for (let tries = 0; tries < 2 && this.unread && this.timeline.more && this.timeline.first?.seq > this.seen; tries++) {
        await this.earlier();
      }
    })().catch(() => {
      this.#primed = undefined; // the room is left, or the client closed: with the next look
    });
    return this.#primed;
  }

  async #begin() {
    const first = this.timeline.first?.seq ?? Infinity;
    const page = await this.#ask('history', { limit: FIRST });
    if (this.timeline.newer) return; // its end is not on screen any more
    this.#take(page);
    if ((page.messages[0]?.seq ?? 0) <= first) this.timeline.more = page.more;
    this.#begun = true;
  }

  #take({ messages, watermarks }) {
    for (const message of messages) this.timeline.put(message);
    if (messages.length) this.note(messages.at(-1));
    this.#marked(watermarks);
    emit('changed', this);
  }

  #marked(watermarks) {
    for (const [user, mark] of Object.entries(watermarks)) this.#receipt(user, mark);
  }

  // #load gets one page at a time. Where it does not fit any more, because what it was to join has been let go
  // meanwhile, it is of no use: there would be a hole.
  #load(bounds, fits, then) {
    this.#loading ??= (async () => {
      try {
        const page = await this.#ask('history', { limit: PAGE, ...bounds });
        if (!fits()) return;
        this.#take(page);
        then(page);
        emit('changed', this);
      } catch {
        // The room is left, or the client closed.
      } finally {
        this.#loading = undefined;
      }
    })();
    return this.#loading;
  }

  earlier() {
    const { timeline } = this;
    const before = timeline.first?.seq;
    if (!timeline.more || !before) return undefined;
    return this.#load({ before }, () => timeline.first?.seq === before, ({ more }) => {
      timeline.more = more;
      timeline.cutEnd(mostHere());
    });
  }

  later() {
    const { timeline } = this;
    if (!timeline.newer) return undefined;
    const after = timeline.last?.seq ?? 0;
    return this.#load({ after }, () => timeline.newer && timeline.last?.seq === after, ({ more }) => {
      if (!more) timeline.reachEnd();
      if (timeline.messages.length > mostHere()) timeline.cutStart(mostHere());
    });
  }

  // toNewest leaves what is on screen for the end of the room.
  toNewest() {
    if (!this.timeline.newer) return;
    this.timeline.restart();
    this.#begun = false;
    this.#primed = undefined;
    this.prime();
    emit('changed', this);
  }

  // trim keeps so many messages that a screen is quick with them. at: the place of one that is looked at;
  // Infinity: the last one; none: nobody looks.
  trim(at) {
    const { timeline } = this;
    const { length } = timeline.messages;
    if (length <= (at === undefined ? FEW : mostHere())) return;
    if (at === undefined) {
      if (timeline.newer) {
        timeline.restart();
        this.#begun = false;
      }
      timeline.cutStart(FEW);
      this.#primed = undefined;
    } else if (at === Infinity) timeline.cutStart(mostHere() - PAGE);
    else {
      timeline.cutStart(length - Math.max(0, at - AROUND));
      timeline.cutEnd(2 * AROUND);
    }
  }

  // loadPeople asks who is there. Of the answers that are on their way the newest counts.
  async loadPeople() {
    if (this.count > PEOPLE) return this.forgetPeople(true);
    const asking = (this.#asking = this.#ask('presence'));
    try {
      const { users } = await asking;
      if (asking !== this.#asking) return;
      this.members = new Set(users.map(({ user }) => user));
      Object.assign(this, { complete: true, many: false });
      for (const { user, name } of users) this.names.set(user, name);
    } catch {
      // The room is left, or it is not for us to know.
    }
    emit('people', this);
  }

  // forgetPeople is for where nobody looks: members who come and go are not told apart from those who have come back.
  forgetPeople(many = false) {
    this.#asking = undefined;
    this.members.clear();
    Object.assign(this, { complete: false, many });
    emit('people', this);
  }

  // #ask asks the server, and again where it has too much to do; but not once the room is left, for that would join it.
  async #ask(what, options) {
    for (;;) {
      try {
        return await this.room[what](options);
      } catch (err) {
        if (err.retryMs === undefined || this.#over) throw err;
        await new Promise((resolve) => setTimeout(resolve, err.retryMs));
        if (this.#over) throw err;
      }
    }
  }
}
