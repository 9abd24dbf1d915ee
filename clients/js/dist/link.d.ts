import type { Clock } from './clock.js';
import { type Frame } from './wire.js';
/** What the client uses of a WebSocket; the browser's, Node's and ws's all have it. */
export interface WebSocketLike {
    binaryType: string;
    readyState?: number;
    onmessage: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
    send(data: string | Uint8Array<ArrayBuffer>): void;
    close(code?: number): void;
}
/** What the server says of a connection, first of all. */
export interface Welcome {
    session: string;
    user: string;
    node: string;
    ping_ms: number;
    max_frame: number;
    durable: boolean;
    time: number;
}
/** Whom a link tells. Nothing is told any more after down. */
export interface LinkOwner {
    _up(link: Link): void;
    _frame(link: Link, frame: Frame): void;
    _down(link: Link, code: number, reason: string): void;
}
/** One WebSocket, from its handshake to its end, and the requests under way on it. */
export interface Link {
    welcome?: Welcome;
    _alive: boolean;
    /** Whether nothing waits for an answer here. */
    _quiet(): boolean;
    /** Sends a frame; throws too_large. */
    send(frame: Frame): void;
    /** Sends a frame under a ref of its own, and gives the answer. */
    _request(frame: Frame): Promise<Frame>;
    /** Finds out within patience (ms) whether anybody is still there. */
    _probe(patience: number): void;
    /** Ends the link. The owner hears of it at once; the socket has no say in it any more. */
    end(code?: number, reason?: string): void;
}
export declare function openLink(socket: WebSocketLike, clock: Clock, owner: LinkOwner): Link;
