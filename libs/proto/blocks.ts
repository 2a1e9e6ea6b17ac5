// How flat vectors are cut into blocks, who owns which, and how blocks become bytes and typed arrays again.
// Refuses to know models, streams and what the numbers mean.
import { endianness } from 'node:os';
import { crc32c } from './crc32c.js';
import type { Block } from './generated/lockstep/v1/reducer.js';
import type { Segment } from './segment.js';

/** Elements per block: 1 MiB of float32. The last block of each region may be shorter. */
export const blockElements = 262_144;

export type Region = 'parameters' | 'statistics';
/** `exact`: what stays float32 where parameters are pulled as bits of bfloat16 (model/parameter-forms.ts). */
export type PullRegion = Region | 'exact';

/** Elements [first, first + count) of its region; `index` numbers the blocks of all regions, parameters first. */
export interface BlockRange<Of extends PullRegion = Region> {
  readonly index: number;
  readonly region: Of;
  readonly first: number;
  readonly count: number;
}

/** Arrays whose bytes go over the wire: float32, or the bits of bfloat16. */
export type WireArray = Float32Array | Uint16Array;

// Bytes on the wire are little-endian; copying them as they lie in memory is what makes blocks cheap.
if (endianness() !== 'LE') throw new Error('Lockstep needs a little-endian machine; this one is big-endian.');

/** All blocks of vectors with these numbers of elements, in index order. Throws RangeError for counts below 0 or broken ones. */
export function blockTable(parameterCount: number, statisticCount: number): readonly BlockRange[] {
  const table: BlockRange[] = [];
  appendRegion(table, 'parameters', parameterCount);
  appendRegion(table, 'statistics', statisticCount);
  return table;
}

/** The same, and behind them the blocks of what is exact beside rounded parameters. */
export function pullTable(
  parameterCount: number,
  statisticCount: number,
  exactCount: number,
): readonly BlockRange<PullRegion>[] {
  const table: BlockRange<PullRegion>[] = [...blockTable(parameterCount, statisticCount)];
  appendRegion(table, 'exact', exactCount);
  return table;
}

/** Blocks in the order in which they are pulled: what is small, then the parameters as forward needs them. */
export function inPullOrder<Of extends PullRegion>(ranges: readonly BlockRange<Of>[]): BlockRange<Of>[] {
  const parameters = ranges.filter(({ region }) => region === 'parameters');
  return [...ranges.filter(({ region }) => region !== 'parameters'), ...parameters];
}

function appendRegion<Of extends PullRegion>(table: BlockRange<Of>[], region: Of, elements: number): void {
  if (!Number.isSafeInteger(elements) || elements < 0) {
    throw new RangeError(`The number of ${region} must be a whole number of 0 or more, not ${elements}.`);
  }
  for (let first = 0; first < elements; first += blockElements) {
    table.push({ index: table.length, region, first, count: Math.min(blockElements, elements - first) });
  }
}

/** Slice that owns a block: blocks are dealt in turn, so that all slices are busy while a gradient streams. */
export function sliceOfBlock(index: number, slices: number): number {
  return index % slices;
}

/** The blocks that `slice` of `slices` owns, in index order. Throws RangeError when there is no such slice. */
export function blocksOfSlice<Of extends PullRegion>(
  table: readonly BlockRange<Of>[],
  slice: number,
  slices: number,
): readonly BlockRange<Of>[] {
  if (!Number.isInteger(slices) || slices < 1 || !Number.isInteger(slice) || slice < 0 || slice >= slices) {
    throw new RangeError(`There is no slice ${slice} among ${slices}.`);
  }
  return table.filter((range) => sliceOfBlock(range.index, slices) === slice);
}

/** Bytes of a block on the wire: `parameterBytes` (4 or 2) per element of a parameter block; all others are float32. */
export function blockByteLength(range: BlockRange<PullRegion>, parameterBytes: 2 | 4): number {
  return range.count * (range.region === 'parameters' ? parameterBytes : 4);
}

/** The elements of `range` as bytes: a view, no copy. It shows later writes to `array`. */
export function bytesOf(array: WireArray, range: { readonly first: number; readonly count: number }): Uint8Array {
  checkInside(array, range);
  const { BYTES_PER_ELEMENT: width } = array;
  return new Uint8Array(array.buffer, array.byteOffset + range.first * width, range.count * width);
}

/** Copies a block's bytes, which may start at any address, to the elements of `range`. Throws RangeError on another length. */
export function copyBlock(
  data: Uint8Array,
  array: WireArray,
  range: { readonly first: number; readonly count: number },
): void {
  const target = bytesOf(array, range);
  if (data.byteLength !== target.byteLength) {
    throw new RangeError(`A block of ${target.byteLength} bytes was expected, ${data.byteLength} came.`);
  }
  copyBytes(data, target);
}

/** Copied at once on the way between memories that cannot be copied quickly. Fits a core's first cache. */
const bounceBytes = 16_384;
let bounce: Uint8Array | undefined;

/**
 * Copies bytes of equal number. Where one side is shared memory and addresses differ modulo 8, V8 copies byte by byte (4.6
 * instead of 35 GB/s here): then the bytes go through memory of this thread's own that begins like the target.
 */
export function copyBytes(source: Uint8Array, target: Uint8Array): void {
  const shared = isShared(source) || isShared(target);
  if (!shared || source.byteOffset % 8 === target.byteOffset % 8) return target.set(source);
  bounce ??= new Uint8Array(bounceBytes + 8);
  const like = (isShared(target) ? target : source).byteOffset % 8;
  for (let at = 0; at < source.byteLength; at += bounceBytes) {
    const piece = source.subarray(at, at + bounceBytes);
    bounce.set(piece, like);
    target.set(bounce.subarray(like, like + piece.byteLength), at);
  }
}

function isShared({ buffer }: Uint8Array): boolean {
  return buffer instanceof SharedArrayBuffer;
}

/** Bytes as float32. A view where the address allows it, else a copy: what arrives in a message often starts at an odd one. */
export function float32Of(data: Uint8Array): Float32Array {
  const { buffer, byteOffset } = aligned(data, 4);
  return new Float32Array(buffer, byteOffset, data.byteLength / 4);
}

/** Bytes as bfloat16 bits; a view where the address allows it, else a copy. */
export function bfloat16BitsOf(data: Uint8Array): Uint16Array {
  const { buffer, byteOffset } = aligned(data, 2);
  return new Uint16Array(buffer, byteOffset, data.byteLength / 2);
}

function aligned(data: Uint8Array, width: number): Uint8Array {
  if (data.byteLength % width !== 0) {
    throw new RangeError(`${data.byteLength} bytes are no whole number of elements of ${width} bytes.`);
  }
  // Uint8Array's slice copies, Buffer's own would not.
  return data.byteOffset % width === 0 ? data : Uint8Array.prototype.slice.call(data);
}

function checkInside(array: WireArray, range: { readonly first: number; readonly count: number }): void {
  if (range.first < 0 || range.count < 0 || range.first + range.count > array.length) {
    throw new RangeError(
      `Elements ${range.first} to ${range.first + range.count} are not all inside a vector of ${array.length}.`,
    );
  }
}

/** The block as a message: bytes in place (no copy until it is encoded) and their checksum. */
export function blockMessage(array: WireArray, range: BlockRange): Block {
  const data = bytesOf(array, range);
  return { index: range.index, data, checksum: crc32c(data), inSegment: false };
}

/** Of a block whose bytes lie in a segment. */
export const noBytes = new Uint8Array(0);

/** A block of parameters as a message: where `segment` is given and takes them, the bytes go there, else with the message. */
export function throughSegment(
  block: Block,
  first: number,
  parameterBytes: 2 | 4,
  segment: Segment | undefined,
): Block {
  if (segment === undefined) return block;
  try {
    segment.write(block.data, first * parameterBytes);
  } catch {
    // No memory is left for the segment; the network has room.
    return block;
  }
  return { ...block, data: noBytes, inSegment: true };
}

/** Checksum of a whole version: CRC32C over its block checksums, each as little-endian uint32, in index order. */
export function versionChecksum(blockChecksums: Iterable<number>): number {
  const words = Uint32Array.from(blockChecksums);
  return crc32c(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
}
