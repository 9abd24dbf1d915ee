import type { Clock } from './clock.js';
import { GohubError } from './errors.js';
import type { Link } from './link.js';
import type { OutboxStorage } from './storage.js';
import type { Frame } from './wire.js';
export interface SendOptions {
    /** Only this user and you ever see it. */
    to?: string;
    /** What sort of message it is, for the receiving program; by default "chat". 1 to 32 of a-z 0-9 . _ - */
    kind?: string;
}
export interface Sent {
    room: string;
    seq: number;
}
/**
 * `queued`: waits for its turn or a connection. `sending`: it may have arrived. `saved`: stored for good.
 * `failed`: refused for good, see error; retry() tries again. `cancelled`: taken back.
 */
export type Status = 'queued' | 'sending' | 'saved' | 'failed' | 'cancelled';
/** What the outbox asks of a room. */
export interface OutboxRoom {
    /** Where the room is joined. If it is not wanted, now it is; but what was left comes back by somebody's wish alone. */
    _need(wish?: boolean): Link | undefined;
    /** The server says that link is not in the room. */
    _rejoin(link: Link): void;
    _changed(message: Outgoing): void;
}
/** A message on its way. */
export interface Outgoing {
    readonly id: string;
    readonly room: string;
    readonly body: any;
    readonly to?: string;
    readonly kind?: string;
    readonly status: Status;
    /** Why it failed. */
    readonly error?: GohubError;
    /**
     * Ends when the message is stored for good; rejects when it is refused or cancelled. After retry() there is a new one.
     * A client that is closed leaves it open: another page may send the message, or this one when it connects again.
     */
    readonly sent: Promise<Sent>;
    /** Sends a failed message again, under the same id; joins the room if need be. */
    retry(): void;
    /** Takes the message back, if it is `failed`, or `queued` and was never on its way; tells whether it did. */
    cancel(): boolean;
}
/** All that is unsent, of all rooms, here and in the storage. */
export interface Outbox {
    _add(room: string, body: unknown, options: SendOptions): Outgoing;
    _of(room: string): Outgoing[];
    /** user has logged in: takes what no living page cares for, and what was written before it was known for whom. */
    _welcome(user: string): Promise<void>;
    /** Sends the room's next message, if it is its turn. anew: a pause is over, as it is when the room is just joined. */
    _pump(room: string, anew?: boolean): void;
    /** An ack, or an error that names a message. */
    _answer(link: Link, frame: Frame): void;
    /** What is unanswered on link may have arrived or not: it is sent again elsewhere. */
    _down(link: Link): void;
    /** Whether something is unanswered on link. */
    _uses(link: Link): boolean;
    /** The room is not open to the user. */
    _refuse(room: string, err: GohubError): void;
    /** The client is closed: other pages may care for what is kept. */
    _close(): void;
}
export declare function createOutbox(storage: OutboxStorage | null, clock: Clock, user: string | undefined, roomOf: (name: string) => OutboxRoom, failed: (err: unknown) => void): Outbox;
