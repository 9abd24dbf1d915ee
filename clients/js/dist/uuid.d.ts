/**
 * A UUID of version 7 (RFC 9562). Ids made here ascend: 12 bits behind the time count within its millisecond
 * (section 6.2, method 1), and the time never goes back. crypto.randomUUID would need a secure context.
 */
export declare function uuid7(now: number): string;
