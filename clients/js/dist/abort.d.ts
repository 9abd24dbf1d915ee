/** promise, or the signal's reason as soon as it is aborted. What was asked for goes on unheard. */
export declare function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T>;
