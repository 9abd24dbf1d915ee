// A small client of the protocol gohub.v1: one connection that comes back by
// itself, resumes its rooms where they were, and sends again what was not
// acknowledged. It knows nothing of the page.

const RETRY_BASE = 500; // ms; doubles with each failure, and a random part of it is waited
const RETRY_MAX = 20_000;
const HANDSHAKE = 10_000; // ms until a connection must have said welcome
const PONG = 10_000; // ms that a ping may stay without any frame
const AGAIN = new Set(['rate_limited', 'busy', 'unavailable', 'draining', 'internal']);

// A Refusal is an error frame, or a close that is final.
export class Refusal extends Error {
  constructor({ code, message, retry_ms }) {
    super(message || code);
    this.code = code;
    this.retryMs = retry_ms;
  }
}

// Events, given to on(name, handler): every frame by its type; 'state'
// {state: connecting | connected | waiting | closed, retryAt?, code?, reason?};
// 'entry' when one of the outbox changes; 'refused' {room, error} for a join.
export class Connection {
  #endpoint;
  #login; // async; true when a 401 is worth another try
  #handlers = new Map();
  #rooms = new Map(); // name → {since, joined}
  #outbox = new Map(); // id → entry, oldest first
  #answers = new Map(); // ref → {resolve, reject}
  #ref = 0;
  #ws = null; // the connection in use
  #next = null; // one that has not said welcome yet
  #busy = false; // from asking where to connect until welcome or failure
  #running = false;
  #user = '';
  #attempts = 0;
  #timer = 0; // until the next attempt
  #retryAt = 0;
  #watch = 0;
  #welcomed = 0;
  #heard = 0; // when the last frame came
  #pinged = 0; // when an unanswered ping went out; 0: none

  constructor(endpoint, login) {
    this.#endpoint = endpoint;
    this.#login = login;
    addEventListener('online', () => this.tryNow());
  }

  on(type, handler) {
    this.#handlers.set(type, [...(this.#handlers.get(type) ?? []), handler]);
  }

  start() {
    this.#running = true;
    this.#connect();
  }

  // stop ends it for good, until the next start.
  stop() {
    this.#end({});
  }

  tryNow() {
    if (this.#timer) this.#connect();
  }

  get connected() {
    return this.#ws !== null;
  }

  // join keeps a room joined from now on, whatever happens to connections.
  join(name, since) {
    if (this.#rooms.has(name)) return;
    const room = { since, joined: false };
    this.#rooms.set(name, room);
    if (this.#ws) this.#join(name, room);
  }

  leave(name) {
    if (this.#rooms.delete(name) && this.#ws) this.request('leave', { room: name }).catch(() => {});
  }

  // send puts a message into the outbox and returns its entry, whose state is
  // sending, sent (everyone sees it), saved (it is kept) or failed. A message
  // to a user goes to the room the two share; room must be its name. Once it is
  // sent, place is the room it is in: a slash command may have chosen another.
  send(room, body, to) {
    const entry = { id: uuid7(), room, place: room, to, body, state: 'sending', seq: Infinity, tries: 0, error: null, timer: 0 };
    this.#outbox.set(entry.id, entry);
    if (this.#rooms.get(room)?.joined) this.#transmit(entry);
    return entry;
  }

  retry(entry) {
    Object.assign(entry, { state: 'sending', error: null });
    this.#outbox.set(entry.id, entry);
    if (this.#rooms.get(entry.room)?.joined) this.#transmit(entry);
    this.#emit('entry', entry);
  }

  // request sends a frame that is answered, and resolves with the answer.
  request(type, fields) {
    return new Promise((resolve, reject) => {
      const ref = ++this.#ref;
      this.#answers.set(ref, { resolve, reject });
      if (!this.notify(type, { ...fields, ref })) this.#fail(ref, new Error('not connected'));
    });
  }

  // notify sends a frame that nobody answers; false: there is no connection.
  notify(type, fields) {
    this.#ws?.send(JSON.stringify({ type, ...fields }));
    return this.#ws !== null;
  }

  // renew extends the connection, whose time is bounded by that of the login
  // which has just been renewed.
  async renew() {
    if (!this.#ws) return; // the next one will have the new time
    const res = await this.#negotiate();
    if (!res.ok) throw new Error(`negotiate: ${res.status}`);
    await this.request('refresh', { ticket: (await res.json()).ticket });
  }

  // --- connecting ---

  // Asking first tells why a connection is refused, which a WebSocket hides
  // from scripts, and where else to go.
  #negotiate() {
    return fetch(this.#endpoint, { cache: 'no-store', signal: AbortSignal.timeout(HANDSHAKE) });
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#busy || !this.#running) return;
    this.#busy = true;
    if (!this.#ws) this.#emit('state', { state: 'connecting' });
    let wait = 0;
    try {
      const res = await this.#negotiate();
      if (res.ok) {
        const { url, ticket } = await res.json();
        if (this.#running) this.#open(url, ticket);
        return;
      }
      wait = (Number(res.headers.get('Retry-After')) || 0) * 1000;
      if (res.status === 401 && !(await this.#login())) this.#end({ code: 4501 });
      if (res.status === 403) this.#end({ code: 4502 });
    } catch {
      // The server cannot be reached, or not understood: later, perhaps.
    }
    this.#busy = false;
    this.#schedule(wait);
  }

  #open(where, ticket) {
    const url = new URL(where ?? this.#endpoint, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    if (ticket) url.searchParams.set('ticket', ticket);
    const ws = new WebSocket(url, 'gohub.v1');
    ws.binaryType = 'arraybuffer';
    const timer = setTimeout(() => this.#lost(ws), HANDSHAKE);
    ws.onclose = (e) => this.#lost(ws, e.code, e.reason);
    ws.onmessage = (e) => {
      const frame = decode(e.data);
      if (ws === this.#next && frame.type === 'welcome') {
        clearTimeout(timer);
        this.#adopt(ws, frame);
      } else if (ws === this.#ws || frame.type === 'ack') {
        this.#heard = Date.now();
        this.#pinged = 0;
        this.#receive(frame);
      }
    };
    this.#next = ws;
  }

  #adopt(ws, welcome) {
    const old = this.#ws; // still there when it only announced its end
    this.#ws = ws;
    this.#next = null;
    this.#busy = false;
    this.#user = welcome.user;
    this.#welcomed = this.#heard = Date.now();
    this.#pinged = 0;
    old?.close(1000);
    this.#forgetAnswers();
    clearInterval(this.#watch);
    this.#watch = setInterval(() => this.#check(welcome.ping_ms), 5_000);
    this.#emit('state', { state: 'connected' });
    this.#emit('welcome', welcome);
    for (const [name, room] of this.#rooms) this.#join(name, room);
  }

  // #check finds out whether a silent connection still lives. A sleeping
  // laptop or a throttled tab runs this late, so only an unanswered ping counts.
  #check(pingMs) {
    const now = Date.now();
    if (this.#pinged && now - this.#pinged > PONG) this.#lost(this.#ws);
    else if (!this.#pinged && now - this.#heard > pingMs) {
      this.#pinged = now;
      this.notify('ping');
    }
  }

  #lost(ws, code, reason) {
    if (!ws || (ws !== this.#ws && ws !== this.#next)) return;
    ws.onclose = ws.onmessage = null;
    ws.close();
    if (ws === this.#next) {
      this.#next = null;
      this.#busy = false;
    } else {
      this.#ws = null;
      clearInterval(this.#watch);
      for (const room of this.#rooms.values()) room.joined = false;
      this.#forgetAnswers();
      if (Date.now() - this.#welcomed > 10_000) this.#attempts = 0;
      if (this.#busy) this.#emit('state', { state: 'connecting' });
    }
    if (code >= 4500 && code < 5000) this.#end({ code, reason });
    else this.#schedule();
  }

  #schedule(atLeast = 0) {
    if (!this.#running || this.#busy) return;
    if (!this.#timer) {
      // While the old connection lives, as after goaway, nothing has failed yet.
      const tries = this.#ws ? 0 : this.#attempts++;
      this.#later(atLeast + Math.random() * Math.min(RETRY_MAX, RETRY_BASE * 2 ** tries));
    }
    if (!this.#ws) this.#emit('state', { state: 'waiting', retryAt: this.#retryAt });
  }

  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
    this.#retryAt = Date.now() + ms;
  }

  #end(why) {
    this.#running = this.#busy = false;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    this.#timer = 0;
    for (const ws of [this.#ws, this.#next]) {
      if (!ws) continue;
      ws.onclose = ws.onmessage = null;
      ws.close(1000);
    }
    this.#ws = this.#next = null;
    for (const room of this.#rooms.values()) room.joined = false;
    this.#forgetAnswers();
    this.#emit('state', { state: 'closed', ...why });
  }

  // --- frames ---

  #receive(frame) {
    const entry = this.#outbox.get(frame.id);
    const room = this.#rooms.get(frame.room);
    switch (frame.type) {
      case 'joined':
        if (room) this.#joined(frame.room, room, frame);
        break;
      case 'message':
        if (room) room.since = Math.max(room.since ?? 0, frame.seq);
        if (entry && frame.sender === this.#user) this.#update(entry, { state: 'sent', seq: frame.seq, place: frame.room });
        break;
      case 'ack':
        if (!entry) break;
        this.#outbox.delete(entry.id);
        clearTimeout(entry.timer);
        this.#update(entry, { state: 'saved', seq: frame.seq, place: frame.room });
        break;
      case 'error':
        if (frame.ref !== undefined) this.#fail(frame.ref, new Refusal(frame));
        else if (entry) this.#refused(entry, new Refusal(frame));
        return;
      case 'goaway': // elsewhere first; #adopt closes this one
        this.#later(frame.reconnect_ms);
        break;
    }
    this.#emit(frame.type, frame);
    this.#answers.get(frame.ref)?.resolve(frame);
    this.#answers.delete(frame.ref);
  }

  async #join(name, room) {
    room.joined = false;
    try {
      await this.request('join', { room: name, since: room.since });
    } catch (error) {
      if (!error.code || this.#rooms.get(name) !== room) return; // the connection broke: the next one joins
      if (error.retryMs) {
        setTimeout(() => this.#ws && this.#rooms.get(name) === room && !room.joined && this.#join(name, room), error.retryMs);
        return;
      }
      this.#rooms.delete(name);
      for (const entry of [...this.#outbox.values()]) if (entry.room === name) this.#refused(entry, error);
      this.#emit('refused', { room: name, error });
    }
  }

  #joined(name, room, frame) {
    room.joined = true;
    if (frame.head === 0) room.since ??= 0; // empty: whatever comes while we are away is new
    for (const entry of this.#outbox.values()) if (entry.room === name) this.#transmit(entry);
  }

  #transmit(entry) {
    clearTimeout(entry.timer);
    const { id, to, body } = entry;
    const where = to === undefined ? { room: entry.room } : { to };
    if (this.notify('publish', { id, ...where, body, retry: entry.tries > 0 || undefined })) entry.tries++;
  }

  #refused(entry, error) {
    if (AGAIN.has(error.code) && error.retryMs !== undefined) {
      clearTimeout(entry.timer);
      entry.timer = setTimeout(() => this.#rooms.get(entry.room)?.joined && this.#transmit(entry), error.retryMs);
      return;
    }
    this.#outbox.delete(entry.id);
    this.#update(entry, { state: 'failed', error });
  }

  #update(entry, change) {
    Object.assign(entry, change);
    this.#emit('entry', entry);
  }

  #fail(ref, error) {
    this.#answers.get(ref)?.reject(error);
    this.#answers.delete(ref);
  }

  #forgetAnswers() {
    for (const ref of [...this.#answers.keys()]) this.#fail(ref, new Error('the connection broke'));
  }

  #emit(type, detail) {
    for (const handler of this.#handlers.get(type) ?? []) handler(detail);
  }
}

// decode reads a frame. A binary one carries its body behind a JSON header.
function decode(data) {
  if (typeof data === 'string') return JSON.parse(data);
  const end = 3 + new DataView(data).getUint16(1);
  return { ...JSON.parse(new TextDecoder().decode(data.slice(3, end))), binary: true, body: data.slice(end) };
}

// uuid7 makes a message id. crypto.randomUUID would need a secure context.
function uuid7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const now = Date.now();
  for (let i = 0; i < 6; i++) bytes[i] = now / 2 ** (40 - 8 * i);
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
