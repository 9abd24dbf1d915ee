// What the parts of the page tell each other; each part listens for itself.
//
//   message  (conversation, message)  one of others has just come
//   changed  (conversation)           its messages are others than before
//   marks    (conversation)           somebody has got further in reading
//   joined   (conversation)           on this connection
//   people   (conversation)           who is there
//   typing   (conversation)
//   unread   (conversation)           how many are unread, up to where is read
//   open     (conversation, before)   it is on screen now

const listeners = new Map();

export function on(name, listener) {
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}

export function emit(name, ...about) {
  for (const listener of listeners.get(name) ?? []) listener(...about);
}
