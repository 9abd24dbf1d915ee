/** A queue that `for await` empties: each item once, in order. It grows while nobody takes from it. */
export declare class Stream<T> implements AsyncIterableIterator<T> {
    #private;
    /** close is called once, when nobody is going to read any more. */
    constructor(close: () => void);
    push(item: T): void;
    /** What waits is still read; then comes the end, or the error. */
    end(error?: unknown): void;
    next(): Promise<IteratorResult<T>>;
    return(): Promise<IteratorResult<T>>;
    [Symbol.asyncIterator](): this;
}
