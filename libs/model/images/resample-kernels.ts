// Owns: the arithmetic of resizing and normalising as WebAssembly SIMD: integers, so that every machine gives the same bytes.
// Refuses to know: images, and where weights come from.
import {
  addI32,
  addI32x4,
  type Code,
  dotI16x8,
  extendHighU8,
  extendLowU8,
  get,
  i32,
  load,
  loadByte,
  loadF32,
  loadI32,
  loadSplat32,
  loopWhileBelow,
  narrowToI16x8,
  narrowToU8x16,
  set,
  shiftLeftI32,
  shiftLeftI32x4,
  shiftRightI32x4,
  shuffle,
  splatI32,
  store,
  storeF32,
  storeLowest32,
  type ValueType,
  type WasmFunction,
  zero,
} from '../simd/assembler.js';

/** Binary places of weights; 255 times weights that add up to 2^22 stays below 2^31. */
export const WEIGHT_BITS = 22;
/** Weights are split into two parts of 16 bits: what is above these bits, and they. */
export const LOW_BITS = 14;
/** Taps that are taken at once across; what is less is padded with weights of 0. */
export const TAPS_ACROSS = 4;
export const TAPS_DOWN = 2;
/** Bytes that are mixed down at once. */
export const BYTES_DOWN = 16;
/** Bytes of the weights of so many taps: by pairs, both upper parts, then both lower ones. */
export const WEIGHT_BYTES = 4;

export interface ResampleKernels {
  /** A row of RGB: each pixel is what its taps from `row` + its offset on, weighted, add up to. `weightBytes` is that of a pixel. */
  readonly across: (
    row: number,
    out: number,
    end: number,
    offsets: number,
    weights: number,
    weightBytes: number,
  ) => void;
  /** Bytes from `out` to `end`, rounded up to `BYTES_DOWN`: of rows `stride` apart; weights from `weights` to `weightsEnd`. */
  readonly down: (rows: number, out: number, end: number, stride: number, weights: number, weightsEnd: number) => void;
  /** RGB bytes from `pixels` to `end`, as the table of 3 x 256 float32 says; `step` bytes from one pixel to the next in `out`. */
  readonly normalise: (pixels: number, end: number, table: number, out: number, step: number) => void;
}

export function resampleFunctions(): WasmFunction[] {
  return [across(), down(), normalise()];
}

const vectors = (count: number): ValueType[] => new Array<ValueType>(count).fill('v128');
const advance = (local: number, by: Code): Code => [...get(local), ...by, ...addI32, ...set(local)];
const half = 1 << (WEIGHT_BITS - 1);

/** Four sums of products: both parts together, rounded, as whole numbers. */
const whole = (high: number, low: number): Code => [
  ...[...get(high), ...i32(LOW_BITS), ...shiftLeftI32x4, ...get(low), ...addI32x4],
  ...[...i32(WEIGHT_BITS), ...shiftRightI32x4],
];

const accumulate = (sum: number, pairs: Code, weights: Code): Code => [
  ...[...get(sum), ...pairs, ...weights, ...dotI16x8, ...addI32x4, ...set(sum)],
];

function across(): WasmFunction {
  const [row, out, end, offsets, weights, weightBytes] = [0, 1, 2, 3, 4, 5];
  const [at, last, source, first, second, high, low] = [6, 7, 8, 9, 10, 11, 12];
  // Red, green and blue of two pixels beside each other, as pairs of 16 bits; 16 is a zero.
  const pair = (byte: number): number[] =>
    [0, 1, 2].flatMap((channel) => [byte + channel, 16, byte + 3 + channel, 16]).concat([16, 16, 16, 16]);
  return {
    name: 'across',
    parameters: new Array<ValueType>(6).fill('i32'),
    locals: ['i32', 'i32', ...vectors(5)],
    body: loopWhileBelow(out, end, [
      ...[...get(row), ...get(offsets), ...loadI32(), ...addI32, ...set(at)],
      ...[...get(weights), ...get(weightBytes), ...addI32, ...set(last)],
      ...[...zero, ...set(high), ...splatI32(half), ...set(low)],
      ...loopWhileBelow(weights, last, [
        ...[...get(at), ...load(), ...set(source)],
        ...[...get(source), ...zero, ...shuffle(pair(0)), ...set(first)],
        ...[...get(source), ...zero, ...shuffle(pair(6)), ...set(second)],
        ...accumulate(high, get(first), [...get(weights), ...loadSplat32(0)]),
        ...accumulate(low, get(first), [...get(weights), ...loadSplat32(4)]),
        ...accumulate(high, get(second), [...get(weights), ...loadSplat32(8)]),
        ...accumulate(low, get(second), [...get(weights), ...loadSplat32(12)]),
        ...advance(weights, i32(TAPS_ACROSS * WEIGHT_BYTES)),
        ...advance(at, i32(3 * TAPS_ACROSS)),
      ]),
      // The fourth byte is the next pixel's, which is written after this one.
      ...[...get(out), ...whole(high, low), ...zero, ...narrowToI16x8, ...zero, ...narrowToU8x16, ...storeLowest32()],
      ...[...advance(out, i32(3)), ...advance(offsets, i32(4))],
    ]),
  };
}

function down(): WasmFunction {
  const [rows, out, end, stride, weights, weightsEnd] = [0, 1, 2, 3, 4, 5];
  const [at, weight, one, other, pairs] = [6, 7, 8, 9, 10];
  const [high, low] = [11, 15];
  const four = [0, 1, 2, 3] as const;
  const interleaved = (upper: number): number[] =>
    Array.from({ length: 16 }, (_, byte) => (byte >> 1) + 8 * upper + 16 * (byte & 1));
  return {
    name: 'down',
    parameters: new Array<ValueType>(6).fill('i32'),
    locals: ['i32', 'i32', ...vectors(11)],
    body: loopWhileBelow(out, end, [
      ...[...get(rows), ...set(at), ...get(weights), ...set(weight)],
      ...four.flatMap((quarter) => [...zero, ...set(high + quarter), ...splatI32(half), ...set(low + quarter)]),
      ...loopWhileBelow(weight, weightsEnd, [
        ...[...get(at), ...load(), ...set(one), ...advance(at, get(stride))],
        ...[...get(at), ...load(), ...set(other), ...advance(at, get(stride))],
        ...four.flatMap((quarter) => [
          ...[...get(one), ...get(other), ...shuffle(interleaved(quarter >> 1))],
          ...[...(quarter % 2 === 0 ? extendLowU8 : extendHighU8), ...set(pairs)],
          ...accumulate(high + quarter, get(pairs), [...get(weight), ...loadSplat32(0)]),
          ...accumulate(low + quarter, get(pairs), [...get(weight), ...loadSplat32(4)]),
        ]),
        ...advance(weight, i32(TAPS_DOWN * WEIGHT_BYTES)),
      ]),
      ...get(out),
      ...[0, 2].flatMap((quarter) => [
        ...[...whole(high + quarter, low + quarter), ...whole(high + quarter + 1, low + quarter + 1), ...narrowToI16x8],
      ]),
      ...[...narrowToU8x16, ...store()],
      ...[...advance(out, i32(BYTES_DOWN)), ...advance(rows, i32(BYTES_DOWN))],
    ]),
  };
}

function normalise(): WasmFunction {
  const [pixels, end, table, out, step] = [0, 1, 2, 3, 4];
  return {
    name: 'normalise',
    parameters: new Array<ValueType>(5).fill('i32'),
    locals: [],
    body: loopWhileBelow(pixels, end, [
      ...[0, 1, 2].flatMap((channel) => [
        ...[...get(out), ...get(pixels), ...loadByte(channel), ...i32(2), ...shiftLeftI32, ...get(table), ...addI32],
        ...[...loadF32(1024 * channel), ...storeF32(4 * channel)],
      ]),
      ...[...advance(pixels, i32(3)), ...advance(out, get(step))],
    ]),
  };
}
