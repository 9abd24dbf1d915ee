/** A queue that `for await` empties: each item once, in order. It grows while nobody takes from it. */
export interface Stream<T> extends AsyncIterableIterator<T> {
    push(item: T): void;
    /** What waits is still read; then comes the end, or the error. */
    end(error?: unknown): void;
}
/** close is called once, when nobody is going to read any more. */
export declare function createStream<T>(close: () => void): Stream<T>;
