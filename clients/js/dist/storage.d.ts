import type { ErrorCode } from './errors.js';
/** An unsent message as it is kept: with every field, also those that the storage does not know, as structuredClone has them. */
export interface Stored {
    id: string;
    room: string;
    /** Bytes are a Uint8Array. */
    body: any;
    to?: string;
    kind?: string;
    /** Whose it is: nobody else's connection sends it. */
    user?: string;
    /** Why it failed for good: it is kept until it is tried again, or taken back. */
    error?: {
        code: ErrorCode;
        message: string;
    };
}
/** Where unsent messages outlive a page. What fails is told by the client's `error` event and loses nothing else. */
export interface OutboxStorage {
    /** The user's messages that no living client cares for: from now on this one does. Those that it has already need not be among them. */
    adopt(user: string): Promise<Stored[]>;
    /** Keeps all of a message, or of its newer state: without `error` one that has failed would be sent. A put and a later delete of an id must end in this order. */
    put(message: Stored): Promise<void>;
    delete(id: string): Promise<void>;
    /** Whatever is kept may be adopted by others. */
    release?(): void;
}
/**
 * A database of the browser. Each page holds a Web Lock for as long as it lives, and its name is with the
 * messages that it cares for: that is how one page alone takes over what a closed one has left. Where there
 * are no Web Locks, two pages may both send a message, of which the server makes one.
 */
export declare function indexedDbStorage(name: string): OutboxStorage;
