import { type Clock } from './clock.js';
import { type State } from './connector.js';
import type { TokenSource } from './dial.js';
import { type Emitter } from './emitter.js';
import { GohubError } from './errors.js';
import type { Link, WebSocketLike, Welcome } from './link.js';
import { type Outbox } from './outbox.js';
import { type Room } from './room.js';
import { type OutboxStorage } from './storage.js';
export interface ClientOptions {
    /** Where the hub is mounted: ws:, wss:, http: or https:; in a page also relative to it. */
    url: string;
    /** Proof of identity for `Authorization: Bearer`, or a function that gives it. Without it cookies are the proof. */
    token?: string | TokenSource;
    /** Sent as the query parameter `device`, for an authenticator that looks there. By default none. */
    device?: string;
    /** Who is logged in, if that is known: then what is sent before the first connection outlives a reload, too. */
    user?: string;
    /** Where unsent messages are kept: by default IndexedDB where there is one; null: in memory alone. */
    storage?: OutboxStorage | null;
    /** By default the global one. */
    WebSocket?: new (url: string, protocols: string[]) => WebSocketLike;
    /** What negotiates; by default the global one. */
    fetch?: typeof fetch;
    /** By default the system's. */
    clock?: Clock;
    /** Numbers in [0, 1) that spread reconnects; by default Math.random. */
    random?: () => number;
    /** So many missed messages of a room are fetched by themselves, beyond the server's replay; by default 10,000. */
    fill?: number;
}
export interface RoomState {
    room: string;
    /** The newest seq that you may see; 0: none. */
    head: number;
    /** Your own watermark. */
    seen: number;
    /** Messages of others after it, counted no further than 100. */
    unread: number;
}
export interface ClientEvents {
    state: State;
    /** The rooms on the user's list: after each connect. */
    rooms: RoomState[];
    /** Somebody wrote in a direct room that is not joined, or you did by a command. `room.join()` begins with that message. */
    invite: {
        room: Room;
        from: string;
    };
    /** A session is in a room: you joined it, or the server made you. */
    joined: Room;
    /** What went wrong and belongs nowhere else; nothing ends by it. */
    error: unknown;
}
/** What a room needs of its client. */
export interface Core {
    clock: Clock;
    _outbox: Outbox;
    fill: number;
    readonly _link?: Link;
    readonly user?: string;
    /** Set when the client is closed. */
    readonly _closed?: GohubError;
    /** A session is in the room. */
    joined(room: Room): void;
    /** Connects, if nothing has happened yet. */
    start(): void;
}
export interface Client extends Emitter<ClientEvents> {
    readonly state: State;
    /** Who the server takes you for; the option until it has said so. */
    readonly user: string | undefined;
    /** What the server said of the newest connection. */
    readonly welcome: Welcome | undefined;
    /** Connects now, also when the client waits or is closed; ends once it is connected, rejects if it is closed instead. */
    connect(options?: {
        signal?: AbortSignal;
    }): Promise<unknown>;
    /** Ends the connection and whatever waits for it. What is unsent stays in the storage. */
    close(): void;
    /** The room of that name: always the same object. It is not joined by this. */
    room(name: string): Room;
    /** The direct room with user, once it is known who we are. It is not joined by this. */
    direct(user: string, options?: {
        signal?: AbortSignal;
    }): Promise<Room>;
    /** The rooms on the user's list. */
    rooms(options?: {
        signal?: AbortSignal;
    }): Promise<RoomState[]>;
    /** Calls a function of the server. If the connection breaks before the answer, rejects with `disconnected`: it may have run. */
    call<T = any>(name: string, body?: unknown, options?: {
        signal?: AbortSignal;
    }): Promise<T>;
    /**
     * Has the connection outlive the login as it was: call it when the page has renewed that by itself. If it rejects, the
     * connection lives on to the old end.
     */
    refresh(): Promise<void>;
}
/** A client of one hub, with one connection at a time. Nothing happens before it is asked for something. */
export declare function createClient(options: ClientOptions): Client;
