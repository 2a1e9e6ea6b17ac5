import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { epochOf, miniBatchPositions, sampleIdAt, sampleIds, stepsPerEpoch } from './sampler.js';

describe('order of an epoch', () => {
  it('visits every id exactly once, whatever the count', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(1000), fc.integer({ min: 1, max: 3000 }), (seed, epoch, count) => {
        expect([...sampleIds(seed, epoch, count, 0, count)].sort((a, b) => a - b)).toEqual(
          Array.from({ length: count }, (_, id) => id),
        );
      }),
      { numRuns: 60 },
    );
    for (let count = 1; count <= 130; count++) expect(new Set(sampleIds(1, 0, count, 0, count)).size).toBe(count);
  });

  it('visits all of CIFAR-10 and of ImageNet', () => {
    for (const count of [50_000, 1_281_167]) {
      const seen = new Uint8Array(count);
      for (const id of sampleIds(3, 2, count, 0, count)) seen[id]! += 1;
      expect(seen.every((times) => times === 1)).toBe(true);
    }
  });

  it('gives the same id one at a time, and from the middle of the largest epoch as fast as from its start', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(99), fc.integer({ min: 1, max: 2 ** 32 }), fc.nat(), (seed, epoch, count, any) => {
        const position = any % count;
        const id = sampleIdAt(seed, epoch, count, position);
        expect(id).toBeLessThan(count);
        expect(sampleIds(seed, epoch, count, position, 1)[0]).toBe(id);
      }),
    );
  });

  it('differs between epochs and seeds, and is no shift of another', () => {
    const orders = [sampleIds(1, 0, 5000, 0, 5000), sampleIds(1, 1, 5000, 0, 5000), sampleIds(2, 0, 5000, 0, 5000)];
    for (const [one, other] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const equal = orders[one]!.filter((id, index) => id === orders[other]![index]).length;
      expect(equal).toBeLessThan(10);
    }
  });

  it('is uniform: over seeds each position gets each id, and pairs, equally often', () => {
    const count = 12;
    const seeds = 24_000;
    const table = new Float64Array(count * count);
    const pairs = new Float64Array(count * count);
    for (let seed = 0; seed < seeds; seed++) {
      const order = sampleIds(seed, 0, count, 0, count);
      order.forEach((id, position) => (table[position * count + id]! += 1));
      pairs[order[0]! * count + order[1]!]! += 1;
    }
    const chiSquare = (found: Float64Array, expected: number): number =>
      found.reduce((sum, value) => sum + (value === 0 ? 0 : (value - expected) ** 2 / expected), 0);
    expect(chiSquare(table, seeds / count)).toBeLessThan(180); // (12 - 1)^2 = 121 degrees of freedom, below one in a thousand
    expect(chiSquare(pairs, seeds / (count * (count - 1)))).toBeLessThan(190); // 131 degrees of freedom
  });

  it('refuses positions outside the epoch', () => {
    expect(() => sampleIdAt(1, 0, 10, 10)).toThrow('outside');
    expect(() => sampleIdAt(1, 0, 10, -1)).toThrow('outside');
  });
});

describe('mini-batches', () => {
  it('cover every position of every epoch exactly once, in order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 600 }), (count, batchSize) => {
        let next = 0;
        for (let step = 0; step < 2 * stepsPerEpoch(count, batchSize); step++) {
          const batch = miniBatchPositions(count, batchSize, step);
          expect(batch.epoch * count + batch.first).toBe(next);
          expect(batch.epoch).toBe(epochOf(count, batchSize, step));
          expect(batch.count).toBeGreaterThan(0);
          expect(batch.count).toBeLessThanOrEqual(batchSize);
          next += batch.count;
        }
        expect(next).toBe(2 * count);
      }),
    );
  });

  it('end an epoch with a short one', () => {
    expect(stepsPerEpoch(50_000, 128)).toBe(391);
    expect(miniBatchPositions(50_000, 128, 390)).toEqual({ epoch: 0, first: 49_920, count: 80 });
    expect(miniBatchPositions(50_000, 128, 391)).toEqual({ epoch: 1, first: 0, count: 128 });
  });

  it('refuse steps that are not whole', () => {
    expect(() => miniBatchPositions(10, 2, -1)).toThrow('step');
    expect(() => miniBatchPositions(10, 2, 0.5)).toThrow('step');
  });
});
