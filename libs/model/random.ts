// Owns: counter-based random numbers (Philox 4x32-10) keyed by (seed, purpose, …), so that any number can be had without those before it.
// Refuses to know: what the numbers are for. Uses only operations that IEEE 754 defines, so every JavaScript engine gives the same bits.

export interface RandomStream {
  /** The next 32 random bits, as an integer in [0, 2^32). */
  uint32(): number;
  /** The next number in [0, 1), a multiple of 2^-32. */
  uniform(): number;
  /** The next integer in [0, bound), bound at most 2^32; its bias is below bound / 2^32. */
  below(bound: number): number;
  /** The next number of the normal distribution with mean 0 and variance 1. */
  normal(): number;
}

const NUMBER_PART = 1;
const STRING_PART = 2;

/**
 * Makes the stream that belongs to (seed, key). Different keys give independent streams, and making one costs well below a
 * microsecond per part of the key.
 *
 * @param seed an integer, such as `training.seed`
 * @param key what the numbers are for, e.g. `'augment', epoch, sampleId`; numbers must be integers of at most 53 bits
 */
export function randomStream(seed: number, ...key: readonly (string | number)[]): RandomStream {
  const state = new Uint32Array(4);
  absorbNumber(state, seed);
  for (const part of key) {
    if (typeof part === 'number') absorbNumber(state, part);
    else absorbString(state, part);
  }
  return new PhiloxStream(state);
}

class PhiloxStream implements RandomStream {
  private readonly block = new Uint32Array(4);
  private used = 4;
  private blockIndex = 0;
  private spareNormal: number | undefined;
  private readonly state: Uint32Array;

  constructor(state: Uint32Array) {
    this.state = state;
  }

  uint32(): number {
    if (this.used === 4) {
      const high = Math.floor(this.blockIndex / 0x1_0000_0000);
      philox(this.block, this.blockIndex, high, this.state[2]!, this.state[3]!, this.state[0]!, this.state[1]!);
      this.blockIndex += 1;
      this.used = 0;
    }
    return this.block[this.used++]!;
  }

  uniform(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  below(bound: number): number {
    return Math.floor((this.uint32() * bound) / 0x1_0000_0000);
  }

  /** Marsaglia's polar method: no sine or cosine, whose last bit differs between engines. */
  normal(): number {
    if (this.spareNormal !== undefined) {
      const spare = this.spareNormal;
      this.spareNormal = undefined;
      return spare;
    }
    for (;;) {
      // Midpoints of the 2^32 cells: symmetric around 0 and never 0 itself.
      const x = (this.uint32() + 0.5) / 0x8000_0000 - 1;
      const y = (this.uint32() + 0.5) / 0x8000_0000 - 1;
      const square = x * x + y * y;
      if (square >= 1) continue;
      const factor = Math.sqrt((-2 * naturalLog(square)) / square);
      this.spareNormal = y * factor;
      return x * factor;
    }
  }
}

function absorbNumber(state: Uint32Array, value: number): void {
  if (!Number.isSafeInteger(value)) throw new RangeError(`a random stream's key takes integers, not ${value}`);
  absorb(state, value >>> 0, Math.floor(value / 0x1_0000_0000) >>> 0, NUMBER_PART);
}

/** Two FNV-1a style hashes over the UTF-16 units: 64 bits stand for the string. */
function absorbString(state: Uint32Array, value: string): void {
  let first = 0x811c9dc5;
  let second = 0x9747b28c;
  for (let index = 0; index < value.length; index++) {
    const unit = value.charCodeAt(index);
    first = Math.imul(first ^ unit, 0x01000193);
    second = Math.imul(second ^ unit, 0x5bd1e995) ^ (second >>> 15);
  }
  absorb(state, first >>> 0, second >>> 0, STRING_PART);
}

/** Philox as a mixer: the words absorbed and half of the state are the counter, the other half is the key. */
function absorb(state: Uint32Array, low: number, high: number, kind: number): void {
  philox(state, low, high, (state[2]! ^ kind) >>> 0, state[3]!, state[0]!, state[1]!);
}

/**
 * Philox 4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011):
 * encrypts a counter of four words under a key of two, into `out`.
 */
export function philox(
  out: Uint32Array,
  counter0: number,
  counter1: number,
  counter2: number,
  counter3: number,
  key0: number,
  key1: number,
): void {
  let c0 = counter0 | 0;
  let c1 = counter1 | 0;
  let c2 = counter2 | 0;
  let c3 = counter3 | 0;
  let k0 = key0 | 0;
  let k1 = key1 | 0;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The upper 32 bits of the 64-bit product of two unsigned words, by 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const carry = (Math.imul(aLow, bLow) >>> 16) + (Math.imul(aHigh, bLow) >>> 0);
  // Both sums are at most 2^16 - 1 + (2^16 - 1)^2, which still fits 32 bits.
  const middle = (carry & 0xffff) + (Math.imul(aLow, bHigh) >>> 0);
  return (Math.imul(aHigh, bHigh) + (carry >>> 16) + (middle >>> 16)) | 0;
}

/** 1/23, 1/21, …, 1. */
const atanhCoefficients = Float64Array.from({ length: 12 }, (_, index) => 1 / (23 - 2 * index));
const doubleView = new Float64Array(1);
const wordView = new Uint32Array(doubleView.buffer);

/** ln x for normal x > 0, by the series of atanh: within a few units in the last place, and the same bits on every engine. */
export function naturalLog(x: number): number {
  doubleView[0] = x;
  const highWord = wordView[1]!;
  let exponent = ((highWord >>> 20) & 0x7ff) - 1023;
  wordView[1] = (highWord & 0xfffff) | 0x3ff00000;
  let mantissa = doubleView[0];
  if (mantissa > Math.SQRT2) {
    mantissa /= 2;
    exponent += 1;
  }
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  let sum = 0;
  for (let index = 0; index < atanhCoefficients.length; index++) sum = sum * square + atanhCoefficients[index]!;
  return exponent * Math.LN2 + 2 * s * sum;
}
