/**
 * How long to wait before the next attempt to connect, in ms, after so many that failed: the whole of the
 * first second is random, so that clients cut off together do not come back together; then half of a
 * time that doubles is (docs/protocol.md, section 17).
 */
export declare function backoff(failed: number, random: () => number): number;
