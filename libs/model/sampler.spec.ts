import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { epochOf, epochOrder, miniBatchPositions, type SampleOrder, sampleIds, stepsPerEpoch } from './sampler.js';

const order = (seed: number): SampleOrder => ({ seed, shuffle: { kind: 'global' } });

describe('order of an epoch', () => {
  it('visits every id exactly once, whatever the count', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(1000), fc.integer({ min: 1, max: 3000 }), (seed, epoch, count) => {
        expect([...sampleIds(order(seed), epoch, count, 0, count)].sort((a, b) => a - b)).toEqual(
          Array.from({ length: count }, (_, id) => id),
        );
      }),
      { numRuns: 60 },
    );
    for (let count = 1; count <= 130; count++)
      expect(new Set(sampleIds(order(1), 0, count, 0, count)).size).toBe(count);
  });

  it('visits all of CIFAR-10 and of ImageNet', () => {
    for (const count of [50_000, 1_281_167]) {
      const seen = new Uint8Array(count);
      for (const id of sampleIds(order(3), 2, count, 0, count)) seen[id]! += 1;
      expect(seen.every((times) => times === 1)).toBe(true);
    }
  });

  it('gives the same id one at a time, and from the middle of the largest epoch as fast as from its start', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(99), fc.integer({ min: 1, max: 2 ** 32 }), fc.nat(), (seed, epoch, count, any) => {
        const position = any % count;
        const id = epochOrder(order(seed), epoch, count)(position);
        expect(id).toBeLessThan(count);
        expect(sampleIds(order(seed), epoch, count, position, 1)[0]).toBe(id);
      }),
    );
  });

  it('differs between epochs and seeds, and is no shift of another', () => {
    const orders = [
      sampleIds(order(1), 0, 5000, 0, 5000),
      sampleIds(order(1), 1, 5000, 0, 5000),
      sampleIds(order(2), 0, 5000, 0, 5000),
    ];
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
      const ids = sampleIds(order(seed), 0, count, 0, count);
      ids.forEach((id, position) => (table[position * count + id]! += 1));
      pairs[ids[0]! * count + ids[1]!]! += 1;
    }
    const chiSquare = (found: Float64Array, expected: number): number =>
      found.reduce((sum, value) => sum + (value === 0 ? 0 : (value - expected) ** 2 / expected), 0);
    expect(chiSquare(table, seeds / count)).toBeLessThan(180); // (12 - 1)^2 = 121 degrees of freedom, below one in a thousand
    expect(chiSquare(pairs, seeds / (count * (count - 1)))).toBeLessThan(190); // 131 degrees of freedom
  });

  it('refuses positions outside the epoch', () => {
    expect(() => epochOrder(order(1), 0, 10)(10)).toThrow('outside');
    expect(() => epochOrder(order(1), 0, 10)(-1)).toThrow('outside');
  });
});

describe('blocks', () => {
  const blockOrder = (seed: number, blockSamples: number, windowBlocks: number): SampleOrder => ({
    seed,
    shuffle: { kind: 'block', blockSamples, windowBlocks },
  });
  const sizes = fc.record({
    seed: fc.nat(),
    epoch: fc.nat(99),
    count: fc.integer({ min: 1, max: 2000 }),
    block: fc.integer({ min: 1, max: 300 }),
    window: fc.integer({ min: 1, max: 12 }),
  });

  it('visit every id exactly once, whatever their sizes', () => {
    fc.assert(
      fc.property(sizes, ({ seed, epoch, count, block, window }) => {
        const ids = sampleIds(blockOrder(seed, block, window), epoch, count, 0, count);
        expect([...ids].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, id) => id));
      }),
      { numRuns: 300 },
    );
    const count = 1_281_167;
    const seen = new Uint8Array(count);
    for (const id of sampleIds(blockOrder(3, 1024, 16), 2, count, 0, count)) seen[id]! += 1;
    expect(seen.every((times) => times === 1)).toBe(true);
  });

  it('stay together: a window touches no more of them than it may', () => {
    fc.assert(
      fc.property(sizes, ({ seed, epoch, count, block, window }) => {
        const ids = sampleIds(blockOrder(seed, block, window), epoch, count, 0, count);
        const windows: Set<number>[] = [];
        // Blocks come in whole: each is in one window, which ends when all samples of its blocks are visited.
        let left = 0;
        for (const id of ids) {
          const of = Math.floor(id / block);
          if (left === 0) windows.push(new Set());
          const now = windows.at(-1)!;
          if (!now.has(of)) {
            now.add(of);
            left += Math.min(block, count - of * block);
          }
          left -= 1;
        }
        expect(Math.max(...windows.map((blocks) => blocks.size))).toBeLessThanOrEqual(window);
        expect(windows.flatMap((blocks) => [...blocks]).length).toBe(Math.ceil(count / block));
      }),
      { numRuns: 200 },
    );
  });

  it('mix all samples of a window, and come in another order each epoch', () => {
    const one = sampleIds(blockOrder(1, 50, 4), 0, 1000, 0, 1000);
    const other = sampleIds(blockOrder(1, 50, 4), 1, 1000, 0, 1000);
    expect(one.filter((id, at) => id === other[at]).length).toBeLessThan(10);
    const first = one.subarray(0, 200);
    const blocks = new Set([...first].map((id) => Math.floor(id / 50)));
    expect(blocks.size).toBe(4);
    // Every quarter of the window has samples of each of its blocks.
    for (let at = 0; at < 200; at += 50)
      expect(new Set([...first.subarray(at, at + 50)].map((id) => Math.floor(id / 50)))).toEqual(blocks);
  });

  it('are drawn fairly: each id, the last short block among them, may come at each position', () => {
    const count = 7;
    const seeds = 21_000;
    const table = new Float64Array(count * count);
    for (let seed = 0; seed < seeds; seed++) {
      sampleIds(blockOrder(seed, 2, 2), 0, count, 0, count).forEach(
        (id, position) => (table[position * count + id]! += 1),
      );
    }
    // Of 4 + 3 or 3 + 4 samples, the fourth never is of the window that holds the short block.
    const never = 3 * count + 6;
    for (const [cell, value] of table.entries()) {
      if (cell === never) expect(value).toBe(0);
      else expect(value).toBeGreaterThan(seeds / count / 3);
    }
  });

  it('give the same id one at a time, from anywhere', () => {
    const whole = sampleIds(blockOrder(5, 30, 3), 4, 1000, 0, 1000);
    for (const position of [999, 0, 500, 91, 90, 89, 1]) {
      expect(epochOrder(blockOrder(5, 30, 3), 4, 1000)(position)).toBe(whole[position]);
    }
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
