import { deferred } from './deferred.js'

/** A queue that `for await` empties: each item once, in order. It grows while nobody takes from it. */
export interface Stream<T> extends AsyncIterableIterator<T> {
  push(item: T): void
  /** What waits is still read; then comes the end, or the error. */
  end(error?: unknown): void
}

/** close is called once, when nobody is going to read any more. */
export function createStream<T>(close: () => void): Stream<T> {
  let items: T[] = []
  let news = deferred<void>()
  let ended = false
  let error: unknown

  // Everybody looks again: there may be several who wait.
  function wake(): void {
    news.resolve()
    news = deferred()
  }

  const stream: Stream<T> = {
    push(item) {
      items.push(item)
      wake()
    },

    end(err) {
      if (ended) return
      ended = true
      error = err
      close()
      wake()
    },

    async next() {
      while (!items.length) {
        if (error) throw error
        if (ended) return { done: true, value: undefined }
        await news.promise
      }
      return { done: false, value: items.shift()! }
    },

    async return() {
      items = []
      stream.end()
      return { done: true, value: undefined }
    },

    [Symbol.asyncIterator]: () => stream
  }
  return stream
}
