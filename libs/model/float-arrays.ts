// Owns: what is done to every element of contributions: adding in float32, rounding to and widening from bfloat16, checking.
// Refuses to know: in which order sums are taken (reduction.ts). Arrays may lie on shared memory.
import { eachTile, tilesFor } from './simd/tiles.js';

/** acc[i] += x[i] over [from, to), in float32. */
export function addInto(acc: Float32Array, x: Float32Array, from = 0, to = acc.length): void {
  checkSameLength(acc.length, x.length);
  const tiles = tilesFor(acc);
  eachTile(from, to, (first, last) => {
    tiles.kernels.add(tiles.bring(0, acc, first, last), tiles.bring(1, x, first, last), last - first);
    tiles.take(0, acc, first, last);
  });
}

/** acc[i] += the number that the bfloat16 bits x[i] stand for, over [from, to), in float32. */
export function addBfloat16Into(acc: Float32Array, x: Uint16Array, from = 0, to = acc.length): void {
  checkSameLength(acc.length, x.length);
  const tiles = tilesFor(acc);
  eachTile(from, to, (first, last) => {
    tiles.kernels.addBfloat16(tiles.bring(0, acc, first, last), tiles.bring(1, x, first, last), last - first);
    tiles.take(0, acc, first, last);
  });
}

/** Rounds float32 to bfloat16 bits, to nearest and ties to even; NaN stays NaN, what is too large becomes infinity. */
export function roundToBfloat16(src: Float32Array, dst: Uint16Array): void {
  checkSameLength(dst.length, src.length);
  const tiles = tilesFor(src);
  eachTile(0, src.length, (first, last) => {
    tiles.kernels.round(tiles.bring(0, src, first, last), tiles.at(1, dst, first, last), last - first);
    tiles.take(1, dst, first, last);
  });
}

/** Writes the numbers that bfloat16 bits stand for; exact. */
export function widenBfloat16(src: Uint16Array, dst: Float32Array): void {
  checkSameLength(dst.length, src.length);
  const tiles = tilesFor(src);
  eachTile(0, src.length, (first, last) => {
    tiles.kernels.widen(tiles.bring(0, src, first, last), tiles.at(1, dst, first, last), last - first);
    tiles.take(1, dst, first, last);
  });
}

/**
 * Whether every element of [from, to) is finite. Of 16-bit numbers, that is of bfloat16, when not all exponent bits are set.
 */
export function allFinite(x: Float32Array | Uint16Array, from = 0, to = x.length): boolean {
  return firstPieceNotFinite(x, from, to) === to;
}

/** Index of the first element of [from, to) that is not finite, -1 if there is none. */
export function firstNotFinite(x: Float32Array | Uint16Array, from = 0, to = x.length): number {
  const finite =
    x instanceof Float32Array
      ? (index: number) => Number.isFinite(x[index]!)
      : (index: number) => (x[index]! & 0x7f80) !== 0x7f80;
  for (let index = firstPieceNotFinite(x, from, to); index < to; index++) if (!finite(index)) return index;
  return -1;
}

/** First element of the first piece with an element that is not finite; `to` where there is none. */
function firstPieceNotFinite(x: Float32Array | Uint16Array, from: number, to: number): number {
  const tiles = tilesFor(x);
  const { notFinite, notFiniteBfloat16 } = tiles.kernels;
  const found = x instanceof Float32Array ? notFinite : notFiniteBfloat16;
  let piece = to;
  eachTile(from, to, (first, last) => {
    if (piece === to && found(tiles.bring(0, x, first, last), last - first) !== 0) piece = first;
  });
  return piece;
}

function checkSameLength(expected: number, found: number): void {
  if (expected !== found) throw new RangeError(`arrays of ${expected} and ${found} elements do not fit each other`);
}
