// Owns: the safetensors file format: an 8-byte length, a JSON header, then the tensors' bytes without holes.
// Refuses to know: what the tensors mean (model-tensors.ts) and how files are kept together (checkpoint.ts).
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { bytesOf, writeFileDurably } from './durable-files.js';

/** A tensor to be written; its numbers are asked for when its turn comes, so that one converted copy is alive at a time. */
export interface TensorSource {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: () => Float32Array;
}

/** A whole number to be written as an int64 without dimensions. */
export interface CounterSource {
  readonly name: string;
  readonly count: number;
}

/** A tensor read from a file: a view into the file's bytes. */
export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface SafetensorsFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** A file that is not valid safetensors; the message names the file and what is wrong. */
export class SafetensorsError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SafetensorsError';
  }
}

/** The format's own limit on the header. */
const MAX_HEADER_BYTES = 100_000_000;
const METADATA = '__metadata__';

const BITS_OF_DTYPE: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
};

/**
 * Writes tensors in the order given, and syncs the file.
 *
 * @param metadata texts for the header's `__metadata__`
 * @returns size and SHA-256 of the file
 */
export function writeSafetensors(
  path: string,
  sources: readonly (TensorSource | CounterSource)[],
  metadata: Readonly<Record<string, string>>,
): { bytes: number; sha256: string } {
  const tensors = sources.map((source) => ('count' in source ? scalarOf(source) : { ...source, dtype: 'F32' }));
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { [METADATA]: metadata } : {};
  let offset = 0;
  for (const { name, shape, dtype } of tensors) {
    if (name === METADATA || Object.hasOwn(header, name))
      throw new RangeError(`two tensors cannot both be called ${name}`);
    const end = offset + (elementsOf(shape) * BITS_OF_DTYPE[dtype]!) / 8;
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  // Padded with spaces, as the format allows, so that numbers lie aligned and can be read without a copy.
  const json = Buffer.from(JSON.stringify(header));
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + headerBytes, ' ');
  head.writeBigUInt64LE(BigInt(headerBytes));
  json.copy(head, 8);

  const hash = createHash('sha256');
  writeFileDurably(path, (write) => {
    hash.update(head);
    write(head);
    for (const tensor of tensors) {
      const values = tensor.values();
      if (values.length !== elementsOf(tensor.shape)) {
        throw new RangeError(`${tensor.name} has ${values.length} elements, not ${elementsOf(tensor.shape)}`);
      }
      const bytes = bytesOf(values);
      hash.update(bytes);
      write(bytes);
    }
  });
  return { bytes: head.length + offset, sha256: hash.digest('hex') };
}

/**
 * Reads and checks a whole file; tensors are views into it.
 *
 * @throws SafetensorsError if the header does not describe the file's bytes exactly
 */
export function readSafetensors(path: string): SafetensorsFile {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (cause) {
    throw new SafetensorsError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  return parseSafetensors(content, path);
}

/** The same for bytes at hand; `path` is for messages only. */
export function parseSafetensors(content: Buffer, path: string): SafetensorsFile {
  const fail = (problem: string, cause?: unknown): SafetensorsError =>
    new SafetensorsError(`${path} is not a valid safetensors file: ${problem}`, { cause });
  if (content.length < 8) throw fail(`it has ${content.length} bytes, which is too short for a header`);
  const headerBytes = Number(content.readBigUInt64LE(0));
  if (headerBytes > MAX_HEADER_BYTES)
    throw fail(`its header would have ${headerBytes} bytes, more than the format allows`);
  if (8 + headerBytes > content.length)
    throw fail(`its header ends after ${8 + headerBytes} bytes, the file after ${content.length}`);

  let header: unknown;
  try {
    header = JSON.parse(content.toString('utf8', 8, 8 + headerBytes));
  } catch (cause) {
    throw fail('its header is not JSON', cause);
  }
  if (!isRecord(header)) throw fail('its header is not an object');

  const data = content.subarray(8 + headerBytes);
  const tensors = new Map<string, StoredTensor>();
  const places: { name: string; begin: number; end: number }[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === METADATA) continue;
    const described = describedTensor(entry);
    if (!described) throw fail(`the entry of tensor ${name} is malformed`);
    const { dtype, shape, begin, end } = described;
    const bits = BITS_OF_DTYPE[dtype];
    if (bits === undefined) throw fail(`tensor ${name} has the unknown type ${dtype}`);
    if (end - begin !== (elementsOf(shape) * bits) / 8) {
      throw fail(`tensor ${name} of shape [${shape.join(', ')}] in ${dtype} cannot have ${end - begin} bytes`);
    }
    if (end > data.length) throw fail(`tensor ${name} ends ${end - data.length} bytes after the end of the file`);
    places.push({ name, begin, end });
    tensors.set(name, { dtype, shape, bytes: data.subarray(begin, end) });
  }
  places.sort((one, other) => one.begin - other.begin || one.end - other.end);
  let covered = 0;
  for (const { name, begin, end } of places) {
    if (begin !== covered)
      throw fail(`tensor ${name} begins at byte ${begin}, not at ${covered} where the one before it ends`);
    covered = end;
  }
  if (covered !== data.length) throw fail(`${data.length - covered} bytes after the last tensor belong to none`);
  return { metadata: metadataOf(header), tensors };
}

/** The numbers of a tensor in float32: a view where its bytes lie aligned, else a copy. F32, F16, BF16 and F64 are understood. */
export function float32Of(tensor: StoredTensor): Float32Array {
  const { bytes, dtype } = tensor;
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset } = aligned;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, bytes.length / 4);
    case 'F64':
      return Float32Array.from(new Float64Array(buffer, byteOffset, bytes.length / 8));
    case 'F16':
      return Float32Array.from(new Uint16Array(buffer, byteOffset, bytes.length / 2), widenHalf);
    case 'BF16': {
      const words = Uint32Array.from(new Uint16Array(buffer, byteOffset, bytes.length / 2), (bits) => bits << 16);
      return new Float32Array(words.buffer);
    }
    default:
      throw new SafetensorsError(`numbers of type ${dtype} are not supported here: store them as F32`);
  }
}

function scalarOf({ name, count }: CounterSource): {
  name: string;
  shape: [];
  dtype: string;
  values: () => BigInt64Array;
} {
  return { name, shape: [], dtype: 'I64', values: () => BigInt64Array.of(BigInt(count)) };
}

/** IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of fraction. Exact. */
function widenHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, side) => product * side, 1);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function metadataOf(header: Record<string, unknown>): Record<string, string> {
  const metadata = header[METADATA];
  if (!isRecord(metadata)) return {};
  return Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)]));
}

function describedTensor(entry: unknown): { dtype: string; shape: number[]; begin: number; end: number } | undefined {
  if (!isRecord(entry) || typeof entry.dtype !== 'string') return undefined;
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isCounts(shape) || !isCounts(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) return undefined;
  return { dtype, shape, begin: offsets[0]!, end: offsets[1]! };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}
