/**
 * Tells when a page may have missed something: wake when it comes into view, out of the browser's back-forward
 * cache, or online; doubt when it goes offline. Timers are throttled in background tabs and stand still in sleep, so
 * waiting for them is not enough. Returns what ends it. Outside of browsers nothing ever happens.
 */
export function watchPage(wake: () => void, doubt: () => void): () => void {
  const page = globalThis.document
  const seen = () => { if (page.visibilityState === 'visible') wake() }
  const pairs: [EventTarget | undefined, string, () => void][] = [
    [page && globalThis, 'online', wake],
    [page && globalThis, 'offline', doubt],
    [page && globalThis, 'pageshow', wake],
    [page, 'visibilitychange', seen]
  ]
  for (const [target, name, act] of pairs) target?.addEventListener(name, act)
  return () => { for (const [target, name, act] of pairs) target?.removeEventListener(name, act) }
}

/** Whether the browser is sure that there is no network. */
export const offline = (): boolean => globalThis.navigator?.onLine === false
