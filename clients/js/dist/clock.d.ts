/** Where the client gets its time from; tests bring their own. */
export interface Clock {
    /** Unix time in ms. */
    now(): number;
    setTimeout(run: () => void, ms: number): unknown;
    clearTimeout(timer: unknown): void;
}
export declare const systemClock: Clock;
