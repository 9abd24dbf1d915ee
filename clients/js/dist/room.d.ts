import type { Core } from './client.js';
import { type Emitter } from './emitter.js';
import { GohubError } from './errors.js';
import type { Link } from './link.js';
import type { Outgoing, OutboxRoom, SendOptions } from './outbox.js';
import { type Frame } from './wire.js';
/** A message as the room has it. Its body is a Uint8Array if it was sent in bytes. */
export interface Message {
    id: string;
    room: string;
    /** Its place in the room's order; seq / 1000 is its time in Unix ms. */
    seq: number;
    sender: string;
    /** The one user beside the sender who sees it. */
    to?: string;
    kind: string;
    body: any;
    /** An earlier copy, from before a crash of the server, that was told under this seq: show this one instead. */
    replaces?: number;
}
export interface Joined {
    /** The newest seq that you may see; 0: none. */
    head: number;
    /** Users in the room, you included. */
    members: number;
}
export interface Watermark {
    delivered: number;
    seen: number;
}
export interface Page {
    /** Ascending by seq. */
    messages: Message[];
    /** Whether there is more in the direction that was asked. */
    more: boolean;
    watermarks: Record<string, Watermark>;
}
export interface Presence {
    /** Users in the room, each counted once. */
    count: number;
    users: {
        user: string;
        name: string;
        sessions: number;
    }[];
}
export interface JoinOptions {
    /** Where the stream begins, if it never did: after this seq; 0: with the first message. */
    since?: number;
    signal?: AbortSignal;
}
export interface HistoryOptions {
    /** The page ends before this seq. */
    before?: number;
    /** The page starts after this seq; not together with before. */
    after?: number;
    /** 1 to 200 messages, by default 50. */
    limit?: number;
    signal?: AbortSignal;
}
export interface RoomEvents {
    /** Each message once, in the room's order: replayed, live, and what was missed. */
    message: Message;
    /** The session is in the room, again and again. */
    joined: Joined;
    /** The room is left for good: you asked for it, the server did (no error), or it did not let you in. */
    left: GohubError | undefined;
    /** More was missed than is fetched by itself: what lies between is to be had by history. */
    gap: {
        after: number;
        until: number;
    };
    /** Who is typing now, yourself in other sessions included. */
    typing: string[];
    /** Who came and went; both lists are empty in rooms of more than 1,000. */
    members: {
        joined: string[];
        left: string[];
        count: number;
    };
    /** Up to where a reader has got. */
    receipt: Watermark & {
        user: string;
    };
    /** One of your messages has another status. */
    outgoing: Outgoing;
}
/** A room: where its stream stands, and what may be done in it. */
export interface Room extends Emitter<RoomEvents> {
    readonly name: string;
    /** Whether this session is in the room now. */
    readonly joined: boolean;
    /** The highest seq of the stream so far. */
    readonly last: number | undefined;
    /** Users in it, as of the last news. */
    readonly members: number;
    /** Messages of others since you said `seen`: what the server counted (to 100), and what came since. */
    readonly unread: number;
    /** Those of your messages here that are not saved yet, oldest first. */
    readonly outgoing: Outgoing[];
    /**
     * Joins the room, now and on every later connection, until leave. The stream begins after since (0: with the
     * first message), without it with the last 20 messages; on later connections where it had got to.
     */
    join(options?: JoinOptions): Promise<Joined>;
    /**
     * Leaves the room for good. What is unsent is sent when it is joined again. Rejects if it stays on the user's list:
     * with `disconnected` where the server cannot be told, with `not_joined` where this session was not in.
     */
    leave(): Promise<unknown>;
    /** The messages from now on, joining the room if need be, until it is left: `for await (const m of room.messages())`. */
    messages(options?: JoinOptions): AsyncIterableIterator<Message>;
    /**
     * Sends a message, sooner or later: at once if that is possible, else as soon as it is, whatever happens to the
     * connection. The room's messages go one by one, in the order of the calls. body is JSON or bytes; joins if need be.
     */
    send(body: unknown, options?: SendOptions): Outgoing;
    /** A page of the room's history; without a bound the newest. Joins the room if need be. */
    history(options?: HistoryOptions): Promise<Page>;
    /** Pages on from there: backwards, or forwards if after is given. */
    pages(options?: HistoryOptions): AsyncGenerator<Page>;
    /** Who is in the room; all pages of the answer. Joins it if need be. */
    presence(options?: {
        signal?: AbortSignal;
    }): Promise<Presence>;
    /** Call it with each key: others hear of it every few seconds. With false, or by send, they hear that it is over. */
    typing(active?: boolean): void;
    /** Everything up to seq, by default all that came, has reached this device. Gathered; never goes back. */
    delivered(seq?: number): void;
    /** Everything up to seq, by default all that came, has been read. Gathered; never goes back. */
    seen(seq?: number): void;
}
/** What the client does with a room. */
export interface OwnRoom extends Room, OutboxRoom {
    /** The link on which the room is joined; its messages come from there alone. */
    _link?: Link;
    /** Joins on the connection in use, if that is wanted and not done. */
    _resume(): void;
    /** Whoever waits does so in vain, for that reason; who comes later waits anew. Streams end, with err if there is one. */
    _closed(err: GohubError | undefined, reason: GohubError): void;
    /** This may be the last of it: what is gathered goes now. */
    _hide(): void;
    /** Tells the watermarks, now that they are new or may be lost; not before so many ms, if the server has refused them for now. */
    _gather(ms?: number): void;
    _down(link: Link): void;
    _take(link: Link, frame: Frame): void;
    _listed(head: number, unread: number): void;
    /** A message after seq is there to be read; tells whether that is news. */
    _invited(seq: number): boolean;
}
export declare function createRoom(core: Core, name: string): OwnRoom;
