// Cuts one direction of an HTTP/2 connection into its frames, which is as much of HTTP/2 as a proxy that does harm needs.
// Refuses to know header compression, flow control and what the payloads mean.

/** RFC 9113, section 6. */
export const frameTypes = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goaway: 7 } as const;
const endStreamFlag = 0x1;

/** One frame, or the preface with which a client begins. */
export interface Http2Frame {
  /** One of `frameTypes` or another number; undefined for the preface. */
  readonly type: number | undefined;
  /** 0: the connection itself. */
  readonly stream: number;
  readonly endsStream: boolean;
  /** As they came, header included. */
  readonly bytes: Buffer;
  /** Without the header of nine bytes; a view of `bytes`. */
  readonly payload: Buffer;
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const headerBytes = 9;

export class FrameCutter {
  #rest: Buffer = Buffer.alloc(0);
  #prefaceDue: boolean;

  /** `fromClient`: this direction begins with the preface. */
  constructor(fromClient: boolean) {
    this.#prefaceDue = fromClient;
  }

  /** Whole frames in order; what is left of the last one waits for the next chunk. */
  push(chunk: Buffer): Http2Frame[] {
    const frames: Http2Frame[] = [];
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const length = this.#prefaceDue ? preface.length : frameLength(bytes);
      if (length === undefined || bytes.length < length) break;
      frames.push(this.#prefaceDue ? prefaceOf(bytes.subarray(0, length)) : frameOf(bytes.subarray(0, length)));
      this.#prefaceDue = false;
      bytes = bytes.subarray(length);
    }
    this.#rest = bytes;
    return frames;
  }
}

function frameLength(bytes: Buffer): number | undefined {
  return bytes.length < headerBytes ? undefined : headerBytes + bytes.readUIntBE(0, 3);
}

function frameOf(bytes: Buffer): Http2Frame {
  const type = bytes.readUInt8(3);
  const carriesEnd = type === frameTypes.data || type === frameTypes.headers;
  return {
    type,
    stream: bytes.readUInt32BE(5) & 0x7fff_ffff,
    endsStream: carriesEnd && (bytes.readUInt8(4) & endStreamFlag) !== 0,
    bytes,
    payload: bytes.subarray(headerBytes),
  };
}

function prefaceOf(bytes: Buffer): Http2Frame {
  if (!bytes.equals(preface)) throw new Error('the client does not speak HTTP/2 without TLS');
  return { type: undefined, stream: 0, endsStream: false, bytes, payload: bytes.subarray(bytes.length) };
}
