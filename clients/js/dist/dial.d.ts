import type { Clock } from './clock.js';
import { GohubError, type ErrorCode } from './errors.js';
import { type LinkOwner, type WebSocketLike } from './link.js';
/** A proof of identity for `Authorization: Bearer`, and when it ends (Unix ms by the server's clock), if that is known. */
export interface Token {
    token?: string;
    expires?: number;
}
/**
 * Gives the token, or nothing if cookies do. renew is true when the last one is expired or about to be: get
 * another first. To throw is to have none for now.
 */
export type TokenSource = (renew: boolean) => string | Token | undefined | void | Promise<string | Token | undefined | void>;
/** Why there is no connection, or no ticket. _close: the close code, or the one that a refused request comes to. */
export interface Down extends GohubError {
    _close: number;
}
export declare const failure: (_close: number, reason: string, retryMs?: number, code?: ErrorCode) => Down;
export interface DialOptions {
    url: string;
    token?: string | TokenSource;
    device?: string;
    WebSocket: new (url: string, protocols: string[]) => WebSocketLike;
    fetch: typeof fetch;
    clock: Clock;
    owner: LinkOwner;
}
export interface Negotiated {
    url: string;
    ticket: string;
    node: string;
}
/** Ways to the server: the handshake, and negotiate, which tells where to and lets in. */
export interface Dialer {
    /** When the login ends, Unix ms by the server's clock, as far as that is known; 0: it does not. */
    _expires?: number;
    /**
     * Connects to url, the usual one by default, and ends once there was a welcome; rejects with Down. The
     * handshake goes first where it proves who we are by itself; if it fails, negotiate tells why, and where to go.
     */
    dial(abort: AbortController, renew: boolean, url?: string): Promise<void>;
    /** Asks for a ticket; rejects with Down. */
    _negotiate(renew: boolean, abort?: AbortController, url?: string): Promise<Negotiated>;
}
export declare function createDialer({ url: usual, token, device, WebSocket, fetch, clock, owner }: DialOptions): Dialer;
