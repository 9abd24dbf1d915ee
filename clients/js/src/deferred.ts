/** promise, whose failure nobody has to listen for. */
export function unheard<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** A promise, and what settles it. Nobody has to listen for its failure. */
export interface Deferred<T> {
  promise: Promise<T>
  resolve(value: T): void
  reject(err: unknown): void
}

export function deferred<T>(): Deferred<T> {
  const own = {} as Deferred<T>
  own.promise = unheard(new Promise((resolve, reject) => Object.assign(own, { resolve, reject })))
  return own
}
