import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addInto, isPowerOfTwo, shardsOf, splitPoint, sumTree, tasksOf, TreeAccumulator } from './reduction.js';

/** The definition of protocol.md in float32, with vectors of one element. */
function recursiveSum(leaves: readonly number[], lo: number, hi: number): number {
  if (hi - lo === 1) return Math.fround(leaves[lo]!);
  let power = 1;
  while (power * 2 < hi - lo) power *= 2;
  return Math.fround(recursiveSum(leaves, lo, lo + power) + recursiveSum(leaves, lo + power, hi));
}

const leavesOf = (max: number) =>
  fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }), { minLength: 1, maxLength: max });

describe('shards', () => {
  it('cover the mini-batch in order; each has two samples or more, none but the last another size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 600 }), fc.integer({ min: 2, max: 70 }), (samples, shardSize) => {
        const shards = shardsOf(samples, shardSize);
        let next = 0;
        for (const [index, shard] of shards.entries()) {
          expect(shard.first).toBe(next);
          expect(shard.count).toBeGreaterThanOrEqual(2);
          if (index < shards.length - 1) expect(shard.count).toBe(shardSize);
          expect(shard.count).toBeLessThanOrEqual(shardSize + 1);
          next += shard.count;
        }
        expect(next).toBe(samples);
      }),
    );
  });

  it('give a single left-over sample to the shard before', () => {
    expect(shardsOf(9, 4)).toEqual([
      { first: 0, count: 4 },
      { first: 4, count: 5 },
    ]);
    expect(shardsOf(10, 4)).toEqual([
      { first: 0, count: 4 },
      { first: 4, count: 4 },
      { first: 8, count: 2 },
    ]);
    expect(shardsOf(1, 4)).toEqual([{ first: 0, count: 1 }]);
    expect(() => shardsOf(0, 4)).toThrow('samples');
  });
});

describe('tasks', () => {
  it('are aligned runs that cover all shards', () => {
    expect(tasksOf(5, 2)).toEqual([
      { firstShard: 0, shardCount: 2 },
      { firstShard: 2, shardCount: 2 },
      { firstShard: 4, shardCount: 1 },
    ]);
    expect(() => tasksOf(5, 3)).toThrow('power of two');
    expect([1, 2, 4, 1024].every(isPowerOfTwo)).toBe(true);
    expect([0, -2, 3, 6, 0.5, Number.NaN, Infinity].some(isPowerOfTwo)).toBe(false);
  });

  it('do not change the sum: a tree over tasks of trees over their shards is the tree over all shards, bitwise', () => {
    fc.assert(
      fc.property(leavesOf(150), fc.integer({ min: 0, max: 8 }), (leaves, k) => {
        const tasks = tasksOf(leaves.length, 2 ** k);
        const roots = tasks.map(({ firstShard, shardCount }) =>
          recursiveSum(leaves, firstShard, firstShard + shardCount),
        );
        expect(recursiveSum(roots, 0, roots.length)).toBe(recursiveSum(leaves, 0, leaves.length));
      }),
      { numRuns: 300 },
    );
  });
});

describe('splitPoint', () => {
  it('is lo plus the largest power of two below the length', () => {
    expect([2, 3, 4, 5, 8, 9, 16, 17].map((hi) => splitPoint(0, hi))).toEqual([1, 2, 2, 4, 4, 8, 8, 16]);
    expect(splitPoint(10, 13)).toBe(12);
    expect(() => splitPoint(3, 4)).toThrow('no split');
  });
});

describe('TreeAccumulator', () => {
  const shuffledLeaves = leavesOf(80).chain((leaves) =>
    fc.tuple(
      fc.constant(leaves),
      fc.shuffledSubarray([...leaves.keys()], { minLength: leaves.length, maxLength: leaves.length }),
    ),
  );

  it('gives the bits of the recursive definition for any order of arrival, adding in place', () => {
    fc.assert(
      fc.property(shuffledLeaves, ([leaves, order]) => {
        const tree = new TreeAccumulator<Float32Array>(leaves.length, (left, right) => {
          addInto(left, right);
          return left;
        });
        for (const [count, leaf] of order.entries()) {
          expect(tree.complete).toBe(false);
          expect(tree.add(leaf, Float32Array.of(leaves[leaf]!))).toBe(count === leaves.length - 1);
        }
        expect(tree.held).toBe(0);
        expect(tree.root![0]).toBe(recursiveSum(leaves, 0, leaves.length));
      }),
      { numRuns: 300 },
    );
  });

  it('holds few buffers when leaves come in index order', () => {
    for (const leaves of [1, 2, 3, 7, 64, 100, 513]) {
      const tree = new TreeAccumulator<number>(leaves, (left, right) => left + right);
      for (let leaf = 0; leaf < leaves; leaf++) {
        tree.add(leaf, 1);
        expect(tree.held).toBeLessThanOrEqual(Math.floor(Math.log2(leaves)) + 1);
      }
      expect(tree.root).toBe(leaves);
    }
  });

  it('merges exactly the neighbours of the tree and names the node', () => {
    const merged: string[] = [];
    const tree = new TreeAccumulator<string>(5, (left, right, { lo, hi }) => {
      merged.push(`${left}+${right}@${lo}-${hi}`);
      return `(${left}${right})`;
    });
    for (const leaf of [4, 2, 0, 3, 1]) tree.add(leaf, String(leaf));
    expect(tree.root).toBe('(((01)(23))4)');
    expect(merged).toEqual(['2+3@2-4', '0+1@0-2', '(01)+(23)@0-4', '((01)(23))+4@0-5']);
  });

  it('refuses a leaf twice or outside, and shows what it holds', () => {
    const tree = new TreeAccumulator<number>(3, (left, right) => left + right);
    tree.add(2, 7);
    expect(tree.has(2)).toBe(true);
    expect(tree.heldValues()).toEqual([7]);
    expect(() => tree.add(2, 7)).toThrow('already');
    expect(() => tree.add(3, 7)).toThrow('outside');
    expect(tree.root).toBeUndefined();
  });
});

describe('sumTree', () => {
  it('adds along the same tree in float64', () => {
    expect(sumTree([])).toBe(0);
    expect(sumTree([1e16, 1, 1, -1e16, 3])).toBe(1e16 + 1 + (1 + -1e16) + 3);
  });
});
