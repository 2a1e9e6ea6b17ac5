import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { naturalLog, philox, randomStream } from './random.js';

function philoxWords(counter: readonly number[], key: readonly number[]): number[] {
  const out = new Uint32Array(4);
  philox(out, counter[0]!, counter[1]!, counter[2]!, counter[3]!, key[0]!, key[1]!);
  return [...out];
}

describe('philox', () => {
  it("gives the published answers of the generator's authors", () => {
    expect(philoxWords([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(philoxWords([ones, ones, ones, ones], [ones, ones])).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ]);
    expect(philoxWords([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });
});

describe('randomStream', () => {
  const take = (stream: { uint32(): number }, count: number): number[] =>
    Array.from({ length: count }, () => stream.uint32());

  it('depends on the key alone', () => {
    const part = fc.oneof(fc.nat(), fc.string(), fc.maxSafeInteger());
    fc.assert(
      fc.property(fc.nat(), fc.array(part, { maxLength: 4 }), (seed, key) => {
        expect(take(randomStream(seed, ...key), 9)).toEqual(take(randomStream(seed, ...key), 9));
      }),
    );
  });

  it('gives other numbers for other keys, a number and its digits included', () => {
    const keys: (string | number)[][] = [
      [],
      [0],
      ['0'],
      [1],
      ['1'],
      [1, 0],
      [0, 1],
      ['a', 'b'],
      ['ab'],
      ['b', 'a'],
      [2 ** 40],
      [-1],
    ];
    const firsts = [0, 1].flatMap((seed) => keys.map((key) => take(randomStream(seed, ...key), 2).join()));
    expect(new Set(firsts).size).toBe(firsts.length);
  });

  it('keeps its numbers from release to release: recorded once, checkpoints rely on them', () => {
    const stream = randomStream(1, 'augment', 3, 12345);
    expect(take(stream, 5)).toMatchInlineSnapshot(`
      [
        3890070601,
        684296088,
        3121564508,
        2596490204,
        1061678551,
      ]
    `);
    expect(stream.normal()).toMatchInlineSnapshot(`1.2683548424558353`);
  });

  it('is uniform: mean, variance and sixteen equal bins', () => {
    const stream = randomStream(7, 'uniform');
    const bins = new Float64Array(16);
    const count = 160_000;
    let sum = 0;
    for (let index = 0; index < count; index++) {
      const value = stream.uniform();
      sum += value;
      bins[Math.floor(value * 16)]! += 1;
    }
    expect(Math.abs(sum / count - 0.5)).toBeLessThan(0.005);
    const chiSquare = bins.reduce((total, found) => total + (found - count / 16) ** 2 / (count / 16), 0);
    expect(chiSquare).toBeLessThan(37.7); // 15 degrees of freedom, one in a thousand
  });

  it('is normal: first four moments', () => {
    const stream = randomStream(7, 'normal');
    const moments = [0, 0, 0, 0];
    const count = 200_000;
    for (let index = 0; index < count; index++) {
      const value = stream.normal();
      for (let power = 1; power <= 4; power++) moments[power - 1]! += value ** power / count;
    }
    for (const [index, expected] of [0, 1, 0, 3].entries())
      expect(Math.abs(moments[index]! - expected)).toBeLessThan(0.06);
  });

  it('refuses keys that are not integers', () => {
    expect(() => randomStream(1, 0.5)).toThrow('integers');
  });
});

describe('naturalLog', () => {
  it('agrees with Math.log to a few units in the last place', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-300, max: 1e300, noNaN: true }), (x) => {
        expect(Math.abs(naturalLog(x) - Math.log(x))).toBeLessThanOrEqual(4e-16 * Math.max(1, Math.abs(Math.log(x))));
      }),
    );
  });
});
