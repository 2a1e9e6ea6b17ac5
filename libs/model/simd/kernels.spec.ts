import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addBfloat16Into, addInto, firstNotFinite, roundToBfloat16, widenBfloat16 } from '../float-arrays.js';
import { pieceSums } from '../layer-norms.js';
import { sgdRange, sumOfSquares } from '../optimizer.js';
import { randomStream } from '../random.js';
import { plainAdd, plainRound, plainSgd, plainSquares, plainWiden } from './plain.fixture.js';
import { tileElements } from './tiles.js';

/** Zeros of both signs, subnormals, the largest and smallest, infinities, NaNs of several kinds, and bits at random. */
const words = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x3f800000) },
  { weight: 1, arbitrary: fc.constantFrom(0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 0xffffffff }) },
);

/** Where a vector lies: in shared memory or not, and how many elements after the start of its buffer. */
const places = fc.record({ shared: fc.boolean(), skip: fc.integer({ min: 0, max: 9 }) });
type Place = { readonly shared: boolean; readonly skip: number };
const bytes = ({ shared }: Place, length: number) => (shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));

function floats(values: ArrayLike<number>, place: Place): Float32Array {
  const vector = new Float32Array(bytes(place, 4 * (values.length + place.skip)), 4 * place.skip);
  vector.set(values);
  return vector;
}

function halves(values: ArrayLike<number>, place: Place): Uint16Array {
  const vector = new Uint16Array(bytes(place, 2 * (values.length + place.skip)), 2 * place.skip);
  vector.set(values);
  return vector;
}

const ofWords = (bits: readonly number[]): Float32Array => new Float32Array(Uint32Array.from(bits).buffer);

/** Bits as words; which NaN an operation on NaNs gives is left to the processor. */
function bitsOf(x: Float32Array): number[] {
  const copy = x.slice();
  return Array.from(new Uint32Array(copy.buffer), (word, index) => (Number.isNaN(copy[index]!) ? 0x7fc00000 : word));
}

/** Vectors of one length out of rows of words. */
const columns = (width: number) =>
  fc
    .array(fc.array(words, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 45 })
    .map((rows) => Array.from({ length: width }, (_, column) => ofWords(rows.map((row) => row[column]!))));

const settings = fc.record({
  learningRate: fc.constantFrom(0.1, 1e-3, 3.7),
  momentumFactor: fc.constantFrom(0, 0.9),
  nesterov: fc.boolean(),
  weightDecay: fc.constantFrom(0, 1e-4),
  scale: fc.constantFrom(1, 0.3),
});

describe('kernels give the bits of plain loops', () => {
  it('adding, also of bfloat16', () => {
    fc.assert(
      fc.property(columns(2), places, places, ([a, b], one, other) => {
        const expected = a!.slice();
        plainAdd(expected, b!);
        const sum = floats(a!, one);
        addInto(sum, floats(b!, other));
        expect(bitsOf(sum)).toEqual(bitsOf(expected));
        const bits = Uint16Array.from(new Uint32Array(b!.buffer), (word) => word >>> 16);
        const expectedWide = a!.slice();
        plainAdd(expectedWide, plainWiden(bits));
        const sumWide = floats(a!, one);
        addBfloat16Into(sumWide, halves(bits, other));
        expect(bitsOf(sumWide)).toEqual(bitsOf(expectedWide));
      }),
    );
  });

  it('rounding to bfloat16 and widening, NaNs to the bit', () => {
    fc.assert(
      fc.property(columns(1), places, places, ([x], one, other) => {
        const expected = new Uint16Array(x!.length);
        plainRound(x!, expected);
        const rounded = halves(new Uint16Array(expected.length), other);
        roundToBfloat16(floats(x!, one), rounded);
        expect([...rounded]).toEqual([...expected]);
        const wide = floats(new Float32Array(expected.length), one);
        widenBfloat16(rounded, wide);
        expect([...new Uint32Array(wide.slice().buffer)]).toEqual([...new Uint32Array(plainWiden(expected).buffer)]);
      }),
    );
  });

  it('SGD with and without Nesterov and decay, over a range, and whether it is finite', () => {
    fc.assert(
      fc.property(columns(3), settings, places, places, fc.nat(40), ([p, m, g], numbers, one, other, cut) => {
        const length = p!.length;
        const range = { from: Math.min(cut, length - 1), to: length };
        const update = (place: Place, elsewhere: Place) => ({
          ...{ parameters: floats(p!, place), momentum: floats(m!, elsewhere), gradient: floats(g!, place) },
          outParameters: floats(new Float32Array(length), elsewhere),
          outMomentum: floats(new Float32Array(length), place),
          ...{ ...range, ...numbers },
        });
        const found = update(one, other);
        const expected = update({ shared: false, skip: 0 }, { shared: false, skip: 0 });
        expect(sgdRange(found)).toBe(plainSgd(expected));
        expect(bitsOf(found.outParameters)).toEqual(bitsOf(expected.outParameters));
        expect(bitsOf(found.outMomentum)).toEqual(bitsOf(expected.outMomentum));
      }),
    );
  });

  it('sums of squares, whatever their length and place', () => {
    fc.assert(
      fc.property(columns(3), places, places, fc.nat(20), ([g, before, after], one, other, cut) => {
        const from = Math.min(cut, g!.length - 1);
        const count = g!.length - from;
        const [gradient, start, end] = [floats(g!, one), floats(before!, other), floats(after!, one)];
        expect(sumOfSquares(gradient, from, g!.length)).toBe(plainSquares((index) => g![from + index]!, count));
        const piece = { layer: 0, block: 0, from, to: g!.length };
        expect(pieceSums(piece, { gradient, before: start, after: end }, from)).toEqual([
          plainSquares((index) => g![from + index]!, count),
          plainSquares((index) => after![from + index]! - before![from + index]!, count),
          plainSquares((index) => before![from + index]!, count),
        ]);
      }),
    );
  });

  it('over several tiles', () => {
    const random = randomStream(5);
    const length = 2 * tileElements + 13;
    const vector = (): Float32Array => Float32Array.from({ length }, () => random.normal());
    const [p, m, g] = [vector(), vector(), vector()];
    const numbers = { learningRate: 0.1, momentumFactor: 0.9, nesterov: true, weightDecay: 1e-4, scale: 1 };
    const update = () => ({
      ...{ parameters: p, momentum: m, gradient: g, outParameters: new Float32Array(length) },
      ...{ outMomentum: new Float32Array(length), from: 3, to: length, ...numbers },
    });
    const [found, expected] = [update(), update()];
    expect([sgdRange(found), plainSgd(expected)]).toEqual([true, true]);
    expect(bitsOf(found.outParameters)).toEqual(bitsOf(expected.outParameters));
    expect(sumOfSquares(g, 1, length)).toBe(plainSquares((index) => g[index + 1]!, length - 1));
    g[length - 1] = Number.NaN;
    expect(sgdRange(update())).toBe(false);
    expect(firstNotFinite(g)).toBe(length - 1);
    const rounded = [new Uint16Array(length), new Uint16Array(length)] as const;
    roundToBfloat16(p, rounded[0]);
    plainRound(p, rounded[1]);
    expect(rounded[0]).toEqual(rounded[1]);
  });
});
