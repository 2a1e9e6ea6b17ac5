// Owns: protocol buffers' wire format, written as a list of pieces, so that large tensors are never copied into one message.
// Refuses to know: what the messages mean.

/** A message, or fields of one: pieces of bytes in order. */
export interface Encoded {
  readonly bytes: number;
  readonly pieces: readonly Uint8Array[];
}

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** Fields one after the other; also a whole message. */
export function fields(...parts: readonly Encoded[]): Encoded {
  return {
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    pieces: parts.flatMap((part) => part.pieces),
  };
}

/** A whole number, bool or enum; negative ones as int64. */
export function wholeField(field: number, value: number | boolean): Encoded {
  return piece(Uint8Array.from([...varint(BigInt(field * 8 + VARINT)), ...varint(BigInt(value))]));
}

export function floatField(field: number, value: number): Encoded {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return fields(piece(Uint8Array.from(varint(BigInt(field * 8 + FIXED32)))), piece(bytes));
}

/** A text, bytes, or a message inside this one. */
export function nestedField(field: number, content: string | Uint8Array | Encoded): Encoded {
  const inner = typeof content === 'string' ? piece(Buffer.from(content)) : content;
  const encoded = inner instanceof Uint8Array ? piece(inner) : inner;
  const head = [...varint(BigInt(field * 8 + LENGTH_DELIMITED)), ...varint(BigInt(encoded.bytes))];
  return fields(piece(Uint8Array.from(head)), encoded);
}

/** An entry of a map whose keys are texts: maps are lists of pairs on the wire. */
export function mapEntry(field: number, key: string, value: Encoded): Encoded {
  return nestedField(field, fields(nestedField(1, key), nestedField(2, value)));
}

function piece(bytes: Uint8Array): Encoded {
  return { bytes: bytes.length, pieces: [bytes] };
}

/** Seven bits a byte, the lowest first; a negative number is its two's complement of 64 bits. */
function varint(value: bigint): number[] {
  let rest = BigInt.asUintN(64, value);
  const bytes: number[] = [];
  while (rest >= 128n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return [...bytes, Number(rest)];
}
