/** A queue that `for await` empties: each item once, in order. It grows while nobody takes from it. */
export interface Stream<T> extends AsyncIterableIterator<T> {
  push(item: T): void
  /** What waits is still read; then comes the end, or the error. */
  end(error?: unknown): void
}

/** close is called once, when nobody is going to read any more. */
export function createStream<T>(close: () => void): Stream<T> {
  let items: T[] = []
  let wake = () => {}
  let ended = false
  let error: unknown

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
        await new Promise<void>(resolve => { wake = resolve })
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
