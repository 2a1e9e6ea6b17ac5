import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockElements, pullTable } from '#proto/blocks.js';
import { Arrivals, isLost, isThere, ParametersLost, waitForElements } from './arrivals.js';

const count = 4 * blockElements + 5;
const table = pullTable(count, 7, 3);
const nobodyMinds = (): void => undefined;

describe('Arrivals', () => {
  it('tell how much is there without a gap, in any order of blocks, and nothing before all that is small', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...table], { minLength: table.length }), (order) => {
        const arrivals = new Arrivals(table);
        const there = new Set<number>();
        for (const range of order) {
          arrivals.note(range);
          arrivals.note(range);
          there.add(range.index);
          const small = table.filter(({ region }) => region !== 'parameters').every(({ index }) => there.has(index));
          const gap = table.find(({ index }) => !there.has(index));
          const whole = gap === undefined || gap.region !== 'parameters' ? count : gap.first;
          expect(isThere(arrivals.word, 0)).toBe(small);
          if (small) expect(isThere(arrivals.word, whole)).toBe(true);
          expect(isThere(arrivals.word, whole + 1)).toBe(false);
        }
      }),
    );
  });

  it('let those who wait go on, and tell them when it is in vain or no longer wanted', () => {
    const arrivals = new Arrivals(table);
    for (const range of table.slice(1)) arrivals.note(range);
    let looks = 0;
    const arriving = (): void => {
      looks += 1;
      if (looks === 2) arrivals.note(table[0]!);
    };
    waitForElements(arrivals.word, count, arriving);
    expect(looks).toBe(2);
    const other = new Arrivals(table);
    const unwanted = (): void => {
      throw new Error('unwanted');
    };
    expect(() => waitForElements(other.word, 1, unwanted)).toThrow('unwanted');
    other.giveUp();
    expect(isLost(other.word)).toBe(true);
    expect(() => waitForElements(other.word, 1, nobodyMinds)).toThrow(ParametersLost);
  });
});
