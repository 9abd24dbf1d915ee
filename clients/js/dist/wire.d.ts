/** A frame of gohub.v1 (docs/protocol.md): its type, and the fields that the protocol gives it. */
export interface Frame {
    type: string;
    [field: string]: any;
}
/** frame as a WebSocket message: text, or binary if its body is bytes. */
export declare function pack(frame: Frame): string | Uint8Array<ArrayBuffer>;
/** The frame that a WebSocket message is; throws if it is none. */
export declare function unpack(data: string | ArrayBuffer): Frame;
/** A message of a history page, its body in bytes if it was sent so. */
export declare function fromPage({ binary, ...message }: any): any;
