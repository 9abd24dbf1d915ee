/** promise, whose failure nobody has to listen for. */
export declare function unheard<T>(promise: Promise<T>): Promise<T>;
/** A promise, and what settles it. Nobody has to listen for its failure. */
export interface Deferred<T> {
    promise: Promise<T>;
    resolve(value: T): void;
    reject(err: unknown): void;
}
export declare function deferred<T>(): Deferred<T>;
