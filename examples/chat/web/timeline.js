// A room's messages, as far as they are here: a part of its history without holes. It grows at both ends and
// is cut at the end that is farther away, so that a room of any size costs the same.

const TAIL = 100; // live messages that are remembered while the end is cut off

export const key = (sender, id) => `${sender} ${id}`;

export class Timeline {
  messages = []; // ascending by seq; those that have no place yet (seq Infinity) at the end
  more = true; // there may be earlier ones
  newer = false; // later ones have been cut off
  #byKey = new Map();
  #tail = []; // meanwhile the newest ones

  get(sender, id) {
    return this.#byKey.get(key(sender, id));
  }

  get first() {
    const m = this.messages[0];
    return m?.seq === Infinity ? undefined : m;
  }

  // last is the newest one that has a place.
  get last() {
    return this.messages.findLast((m) => m.seq !== Infinity);
  }

  // put adds a message, or what is new of one that is here: of two with the same sender and id, which happens
  // after a crash of the server, the later one counts.
  put(message) {
    const k = key(message.sender, message.id);
    const known = this.#byKey.get(k);
    if (known) {
      if (known.seq !== Infinity && known.seq > message.seq) return known;
      const moves = known.seq !== message.seq;
      if (moves) this.#take(known);
      Object.assign(known, message);
      if (moves) this.#place(known);
      return known;
    }
    this.#byKey.set(k, message);
    this.#place(message);
    return message;
  }

  // live takes one that has just come.
  live(message) {
    if (!this.newer || this.#byKey.has(key(message.sender, message.id))) return this.put(message);
    this.#tail.push(message);
    if (this.#tail.length > TAIL) this.#tail.shift();
    return message;
  }

  remove(message) {
    this.#take(message);
    this.#byKey.delete(key(message.sender, message.id));
  }

  // reachEnd is to be called when there is nothing between the last message here and what comes live.
  reachEnd() {
    this.newer = false;
    for (const message of this.#tail) if (message.seq > (this.last?.seq ?? 0)) this.put(message);
    this.#tail = [];
  }

  // restart forgets all but the newest, which come live, and those without a place.
  restart() {
    for (const m of this.messages.filter((m) => m.seq !== Infinity)) this.remove(m);
    this.more = true;
    this.reachEnd();
  }

  // cutUntil forgets what is not connected any more with what comes now.
  cutUntil(seq) {
    const old = this.messages.filter((m) => m.seq <= seq);
    for (const m of old) this.remove(m);
    if (old.length) this.more = true;
  }

  cutStart(keep) {
    const old = this.messages.slice(0, -keep);
    for (const m of old) this.#byKey.delete(key(m.sender, m.id));
    this.messages = this.messages.slice(-keep);
    if (old.length) this.more = true;
  }

  // cutEnd does not touch what has no place: it is wanted again at the end.
  cutEnd(keep) {
    if (this.messages.length <= keep) return;
    const unplaced = this.messages.filter((m) => m.seq === Infinity);
    for (const m of this.messages.slice(keep)) {
      if (m.seq === Infinity) continue;
      this.#byKey.delete(key(m.sender, m.id));
      if (!this.newer) this.#tail.push(m); // else later ones have gone before, and those in the tail do not follow it
    }
    this.#tail = this.#tail.slice(-TAIL);
    this.messages = [...this.messages.slice(0, keep).filter((m) => m.seq !== Infinity), ...unplaced];
    this.newer = true;
  }

  #place(message) {
    let at = this.messages.length;
    while (at > 0 && this.messages[at - 1].seq > message.seq) at--;
    this.messages.splice(at, 0, message);
  }

  #take(message) {
    const at = this.messages.indexOf(message);
    if (at >= 0) this.messages.splice(at, 1);
  }
}
