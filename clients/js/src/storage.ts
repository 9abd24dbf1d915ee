import type { ErrorCode } from './errors.js'
import { uuid7 } from './uuid.js'

/** An unsent message as it is kept: with every field, also those that the storage does not know, as structuredClone has them. */
export interface Stored {
  id: string
  room: string
  /** Bytes are a Uint8Array. */
  body: any
  to?: string
  kind?: string
  /** Whose it is: nobody else's connection sends it. */
  user?: string
  /** Why it failed for good: it is kept until it is tried again, or taken back. */
  error?: { code: ErrorCode, message: string }
}

/** Where unsent messages outlive a page. What fails is told by the client's `error` event and loses nothing else. */
export interface OutboxStorage {
  /** The user's messages that no living client cares for: from now on this one does. Those that it has already need not be among them. */
  adopt(user: string): Promise<Stored[]>
  /** Keeps all of a message, or of its newer state: without `error` one that has failed would be sent. A put and a later delete of an id must end in this order. */
  put(message: Stored): Promise<void>
  delete(id: string): Promise<void>
  /** Whatever is kept may be adopted by others. */
  release?(): void
}

/**
 * A database of the browser. Each page holds a Web Lock for as long as it lives, and its name is with the
 * messages that it cares for: that is how one page alone takes over what a closed one has left. Where there
 * are no Web Locks, two pages may both send a message, of which the server makes one.
 */
export function indexedDbStorage(name: string): OutboxStorage {
  const locks = globalThis.navigator?.locks
  const owner = uuid7(Date.now())
  const lockOf = (owner: string) => `${name} ${owner}`
  let held: Promise<((_: void) => void) | void> | undefined
  let opened: Promise<IDBDatabase> | undefined

  // Once the lock is ours, brings what lets go of it.
  const hold = () => held = new Promise((resolve, reject) => {
    if (locks) locks.request(lockOf(owner), () => new Promise<void>(resolve)).catch(reject)
    else resolve()
  })
  const open = () => opened ??= hold().then(() => new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore('outbox', { keyPath: 'id' })
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  }))
  const run = async (act: (store: IDBObjectStore) => void): Promise<void> => {
    const transaction = (await open()).transaction('outbox', 'readwrite')
    act(transaction.objectStore('outbox'))
    return new Promise((resolve, reject) => {
      transaction.oncomplete = resolve as () => void
      transaction.onabort = () => reject(transaction.error)
    })
  }

  return {
    put: message => run(store => store.put({ ...message, owner })),
    delete: id => run(store => store.delete(id)),
    async adopt(user) {
      const take = async () => {
        const living = (await locks?.query())?.held?.map(lock => lock.name) ?? []
        let left: Stored[] = []
        // In one transaction: what is let go meanwhile stays so, and what is not taken over as a whole stays with its owner.
        await run(store => {
          const all = store.getAll()
          all.onsuccess = () => {
            // Our own are known, and may have been sent since this was asked for.
            left = all.result.filter(m => m.user === user && m.owner !== owner && !living.includes(lockOf(m.owner)))
            for (const message of left) store.put({ ...message, owner })
          }
        })
        return left
      }
      return locks ? locks.request(name, take) : take() // one page at a time
    },
    release() {
      held?.then(end => end?.(), () => {})
      held = opened = undefined // with the next use comes the next lock
    }
  }
}
