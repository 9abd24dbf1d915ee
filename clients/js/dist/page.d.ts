/**
 * Tells when a page may have missed something: wake when it comes into view, out of the browser's back-forward
 * cache, or goes online or offline; and hide when it goes out of view, which may be the last of it. Timers
 * are throttled in background tabs and stand still in sleep, so waiting for them is not enough. Returns what ends it.
 * Outside of browsers nothing ever happens.
 */
export declare function watchPage(wake: () => void, hide: () => void): () => void;
/** Whether the browser is sure that there is no network. */
export declare const offline: () => boolean;
