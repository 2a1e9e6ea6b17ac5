// Owns: the loops over the elements of contributions: adding in float32, and rounding to and widening from bfloat16.
// Refuses to know: in which order sums are taken (reduction.ts). Arrays may lie on shared memory.

/** acc[i] += x[i] over [from, to), in float32. */
export function addInto(acc: Float32Array, x: Float32Array, from = 0, to = acc.length): void {
  checkSameLength(acc.length, x.length);
  // Four at a time: V8 checks the loop a quarter as often.
  let index = from;
  for (; index + 3 < to; index += 4) {
    acc[index]! += x[index]!;
    acc[index + 1]! += x[index + 1]!;
    acc[index + 2]! += x[index + 2]!;
    acc[index + 3]! += x[index + 3]!;
  }
  for (; index < to; index++) acc[index]! += x[index]!;
}

/** acc[i] += the number that the bfloat16 bits x[i] stand for, over [from, to), in float32. */
export function addBfloat16Into(acc: Float32Array, x: Uint16Array, from = 0, to = acc.length): void {
  checkSameLength(acc.length, x.length);
  const numbers = bfloat16Numbers();
  let index = from;
  for (; index + 3 < to; index += 4) {
    acc[index]! += numbers[x[index]!]!;
    acc[index + 1]! += numbers[x[index + 1]!]!;
    acc[index + 2]! += numbers[x[index + 2]!]!;
    acc[index + 3]! += numbers[x[index + 3]!]!;
  }
  for (; index < to; index++) acc[index]! += numbers[x[index]!]!;
}

/** Rounds float32 to bfloat16 bits, to nearest and ties to even; NaN stays NaN, what is too large becomes infinity. */
export function roundToBfloat16(src: Float32Array, dst: Uint16Array): void {
  checkSameLength(dst.length, src.length);
  const bits = new Uint32Array(src.buffer, src.byteOffset, src.length);
  for (let index = 0; index < bits.length; index++) {
    const word = bits[index]!;
    // Rounding a NaN up could carry into infinity: it is cut instead and made quiet.
    if ((word & 0x7fffffff) > 0x7f800000) dst[index] = (word >>> 16) | 0x40;
    else dst[index] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** Writes the numbers that bfloat16 bits stand for; exact. */
export function widenBfloat16(src: Uint16Array, dst: Float32Array): void {
  checkSameLength(dst.length, src.length);
  const bits = new Uint32Array(dst.buffer, dst.byteOffset, dst.length);
  for (let index = 0; index < bits.length; index++) bits[index] = src[index]! << 16;
}

let bfloat16Table: Float32Array | undefined;

/** All 65,536 bfloat16 numbers: a look-up decodes and adds in one pass, without a trip through memory. */
function bfloat16Numbers(): Float32Array {
  if (!bfloat16Table) {
    bfloat16Table = new Float32Array(0x10000);
    widenBfloat16(
      Uint16Array.from({ length: 0x10000 }, (_, bits) => bits),
      bfloat16Table,
    );
  }
  return bfloat16Table;
}

function checkSameLength(expected: number, found: number): void {
  if (expected !== found) throw new RangeError(`arrays of ${expected} and ${found} elements do not fit each other`);
}
