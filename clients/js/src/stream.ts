/** A queue that `for await` empties: each item once, in order. It grows while nobody takes from it. */
export class Stream<T> implements AsyncIterableIterator<T> {
  #items: T[] = []
  #wake?: () => void
  #ended = false
  #error?: unknown
  #close

  /** close is called once, when nobody is going to read any more. */
  constructor(close: () => void) { this.#close = close }

  push(item: T): void {
    this.#items.push(item)
    this.#wake?.()
  }

  /** What waits is still read; then comes the end, or the error. */
  end(error?: unknown): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    this.#close()
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<T>> {
    while (!this.#items.length) {
      if (this.#error) throw this.#error
      if (this.#ended) return { done: true, value: undefined }
      await new Promise<void>(resolve => { this.#wake = resolve })
    }
    return { done: false, value: this.#items.shift()! }
  }

  async return(): Promise<IteratorResult<T>> {
    this.#items = []
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this { return this }
}
