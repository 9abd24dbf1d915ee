/** Where the client gets its time from; tests bring their own. */
export interface Clock {
  /** Unix time in ms. */
  now(): number
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, Math.min(ms, 0x7fffffff)), // beyond it a timer would fire at once
  clearTimeout: timer => clearTimeout(timer as number)
}
