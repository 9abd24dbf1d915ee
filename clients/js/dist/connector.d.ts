import { type DialOptions } from './dial.js';
import type { Link } from './link.js';
import type { Frame } from './wire.js';
/** Where the client stands. */
export type State = {
    name: 'idle';
} | {
    name: 'connecting';
} | {
    name: 'connected';
}
/** The next attempt is at retryAt (Unix ms); code and reason tell how the last one or the connection ended. */
 | {
    name: 'waiting';
    retryAt: number;
    code: number;
    reason: string;
}
/** The browser says that there is no network. An attempt follows when it says otherwise, and now and then. */
 | {
    name: 'offline';
}
/** The client stays away until connect() is called. */
 | {
    name: 'closed';
    code: number;
    reason: string;
};
export interface ConnectorOwner {
    state(state: State): void;
    /** link is there; old, its predecessor, may live on for what is unanswered. */
    _up(link: Link): void;
    _frame(link: Link, frame: Frame): void;
    _down(link: Link): void;
    /** Whether nothing is left for old to do. */
    _done(old: Link): boolean;
    /** The page may be about to end. */
    _hide(): void;
}
/** Keeps a connection: which one is in use, when the next attempt is, and when to stay away. */
export interface Connector {
    state: State;
    /** The one in use: welcome has come, and it is not known to be dead. */
    _link?: Link;
    /** Connects at once, unless that is under way or done. */
    start(): void;
    /** Ends everything until start is called. */
    stop(code: number, reason: string): void;
    /** Sends a fresh ticket before the login ends, so that the connection outlives it. */
    refresh(): Promise<void>;
}
export declare function createConnector(options: Omit<DialOptions, 'owner'>, random: () => number, owner: ConnectorOwner): Connector;
