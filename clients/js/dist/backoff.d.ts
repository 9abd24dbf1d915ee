/**
 * How long to wait before the next attempt to connect, in ms, after so many that failed: any part of a time
 * that doubles, so that clients cut off together do not come back together (docs/protocol.md, section 17).
 */
export declare const backoff: (failed: number, random: () => number) => number;
