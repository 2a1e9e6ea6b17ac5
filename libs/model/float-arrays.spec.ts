import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addBfloat16Into, addInto, allFinite, firstNotFinite, roundToBfloat16, widenBfloat16 } from './float-arrays.js';

const floatBits = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
const roundOne = (value: number): number => {
  const out = new Uint16Array(1);
  roundToBfloat16(Float32Array.of(value), out);
  return out[0]!;
};
const widenOne = (bits: number): number => {
  const out = new Float32Array(1);
  widenBfloat16(Uint16Array.of(bits), out);
  return out[0]!;
};

/** By the definition: of the two bfloat16 neighbours the nearer one, of two equally near the even one; in float64, without bits tricks. */
function nearestBfloat16(value: number): number {
  const magnitude = Math.abs(value);
  const exponent = Math.max(-126, Math.floor(Math.log2(magnitude || 1)));
  const candidates = [exponent - 1, exponent, exponent + 1].filter((one) => one >= -126);
  let unit = 2 ** -133;
  for (const candidate of candidates) if (magnitude >= 2 ** candidate) unit = 2 ** (candidate - 7);
  const scaled = magnitude / unit;
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const rounded = (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below) * unit;
  const result = rounded >= 2 ** 128 ? Infinity : rounded;
  return value < 0 || Object.is(value, -0) ? -result : result;
}

describe('bfloat16', () => {
  it('widens and rounds back to itself for all 65,536 patterns; NaN stays NaN', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = widenOne(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(widenOne(roundOne(value)))).toBe(true);
      else if (roundOne(value) !== bits)
        expect.fail(`${bits.toString(16)} came back as ${roundOne(value).toString(16)}`);
    }
  });

  it('rounds any float32 to nearest, ties to even, as the definition says', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (bits) => {
        const value = floatBits(bits);
        const rounded = widenOne(roundOne(value));
        if (Number.isNaN(value)) expect(rounded).toBeNaN();
        else expect(rounded).toBe(Number.isFinite(value) ? nearestBfloat16(value) : value);
      }),
      { numRuns: 5000 },
    );
  });

  it('handles ties, subnormals, overflow, zeros, infinities and the NaN that would carry into infinity', () => {
    const cases: [float: number, bfloat: number][] = [
      [0x3f808000, 0x3f80], // a tie goes down to even
      [0x3f818000, 0x3f82], // a tie goes up to even
      [0x3f808001, 0x3f81],
      [0x3f807fff, 0x3f80],
      [0x00000001, 0x0000],
      [0x00008000, 0x0000], // a tie between 0 and the smallest subnormal
      [0x00008001, 0x0001],
      [0x00018000, 0x0002],
      [0x007fffff, 0x0080], // the largest subnormal rounds to the smallest normal
      [0x7f7fffff, 0x7f80], // beyond the largest: infinity
      [0xff7fffff, 0xff80],
      [0x7f7f7fff, 0x7f7f],
      [0x80000000, 0x8000],
      [0x7f800000, 0x7f80],
      [0xff800000, 0xff80],
    ];
    for (const [float, bfloat] of cases) expect(roundOne(floatBits(float)).toString(16)).toBe(bfloat.toString(16));
    const out = new Uint16Array(3);
    roundToBfloat16(new Float32Array(Uint32Array.of(0x7f800001, 0x7fffffff, 0xffffffff).buffer), out);
    for (const bits of out) expect(widenOne(bits)).toBeNaN();
  });
});

describe('adding', () => {
  const floats = fc.float32Array({ minLength: 0, maxLength: 70, noNaN: true });

  it('adds in float32, commutes bitwise, and respects its range', () => {
    fc.assert(
      fc.property(floats, floats, fc.nat(70), fc.nat(70), (one, other, a, b) => {
        const length = Math.min(one.length, other.length);
        const x = one.slice(0, length);
        const y = other.slice(0, length);
        const sum = x.slice();
        addInto(sum, y);
        const turned = y.slice();
        addInto(turned, x);
        expect(new Uint32Array(turned.buffer)).toEqual(new Uint32Array(sum.buffer));
        expect([...sum]).toEqual([...x].map((value, index) => Math.fround(value + y[index]!)));
        const [from, to] = [Math.min(a, b, length), Math.min(Math.max(a, b), length)];
        const part = x.slice();
        addInto(part, y, from, to);
        expect([...part]).toEqual([...x].map((value, index) => (index >= from && index < to ? sum[index] : value)));
      }),
    );
  });

  it('adds bfloat16 as widening and then adding does, on shared memory too', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.float({ noNaN: true }), fc.integer({ min: 0, max: 0xffff })), { maxLength: 50 }),
        (pairs) => {
          const acc = new Float32Array(new SharedArrayBuffer(4 * pairs.length));
          acc.set(pairs.map(([value]) => value));
          const bits = Uint16Array.from(pairs, ([, value]) => value);
          const widened = new Float32Array(pairs.length);
          widenBfloat16(bits, widened);
          const expected = Float32Array.from(acc);
          addInto(expected, widened);
          addBfloat16Into(acc, bits);
          expect([...acc]).toEqual([...expected]);
        },
      ),
    );
  });

  it('refuses arrays of different lengths', () => {
    expect(() => addInto(new Float32Array(2), new Float32Array(3))).toThrow('2 and 3');
    expect(() => addBfloat16Into(new Float32Array(2), new Uint16Array(3))).toThrow('2 and 3');
    expect(() => roundToBfloat16(new Float32Array(2), new Uint16Array(3))).toThrow('3 and 2');
  });
});

describe('checking', () => {
  it('finds what is not finite, in float32 and in bits of bfloat16', () => {
    fc.assert(
      fc.property(fc.float32Array({ maxLength: 40 }), (x) => {
        expect(allFinite(x)).toBe(x.every(Number.isFinite));
        expect(firstNotFinite(x)).toBe(x.findIndex((value) => !Number.isFinite(value)));
      }),
    );
    fc.assert(
      fc.property(fc.uint16Array({ maxLength: 40 }), (bits) => {
        const wide = [...bits].map(widenOne);
        expect(firstNotFinite(bits)).toBe(wide.findIndex((value) => !Number.isFinite(value)));
      }),
    );
    const long = new Float32Array(40_000);
    long[33_333] = Infinity;
    expect(firstNotFinite(long)).toBe(33_333);
    expect(firstNotFinite(long, 10, 33_333)).toBe(-1);
    expect(allFinite(Float32Array.of(1, Number.NaN, 2), 2)).toBe(true);
    expect(allFinite(Float32Array.of(3e38, 3e38, -3e38, 3e38))).toBe(true);
  });
});
