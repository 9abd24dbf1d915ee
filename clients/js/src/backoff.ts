const MAX = 30_000 // ms

/**
 * How long to wait before the next attempt to connect, in ms, after so many that failed: the whole of the
 * first second is random, so that clients cut off together do not come back together; then half of a
 * time that doubles is (docs/protocol.md, section 17).
 */
export function backoff(failed: number, random: () => number): number {
  const limit = Math.min(MAX, 1000 * 2 ** failed)
  return failed ? limit / 2 + random() * limit / 2 : random() * limit
}
