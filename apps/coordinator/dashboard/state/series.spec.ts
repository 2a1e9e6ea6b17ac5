// Live curves end up as the series that was sent, in order and bounded.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { align, mergePoints, mergeSeries, smooth, valueAt, type SeriesPoints } from './series.js';

const range = (from: number, to: number, value: (step: number) => number): SeriesPoints =>
  Array.from({ length: to - from }, (_, n) => [from + n, value(from + n)]);

describe('curves', () => {
  it('gives one whole series from overlapping pieces in any order', () => {
    const whole = range(0, 60, Math.sqrt);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(60), fc.nat(20)), { maxLength: 20 }), (pieces) => {
        let merged: SeriesPoints = [];
        for (const [from, count] of [...pieces, [0, 30], [30, 30]] as const) {
          merged = mergePoints(merged, whole.slice(from, from + count));
        }
        expect(merged).toEqual(whole);
      }),
    );
  });

  it('replaces points of steps that are run again', () => {
    const merged = mergePoints(
      range(0, 6, () => 1),
      range(3, 5, () => 2),
    );
    expect(merged.map(([, value]) => value)).toEqual([1, 1, 1, 2, 2, 1]);
  });

  it('stays bounded and keeps a spike while it grows', () => {
    let merged: SeriesPoints = [];
    for (let step = 0; step < 20_000; step += 100) {
      merged = mergePoints(
        merged,
        range(step, step + 100, (at) => (at === 777 ? 50 : Math.sin(at))),
      );
      expect(merged.length).toBeLessThanOrEqual(4000);
    }
    expect(merged).toContainEqual([777, 50]);
    expect(merged.at(-1)![0]).toBe(19_999);
  });

  it('passes over values that are no numbers and leaves other series alone', () => {
    const fresh = {
      a: [
        [1, null as unknown as number],
        [2, 5],
      ],
    } as const;
    expect(mergeSeries({ b: [[1, 1]] }, fresh)).toEqual({ a: [[2, 5]], b: [[1, 1]] });
  });

  it('smooths around the mean without a bias at the start, and leaves short series as they are', () => {
    expect(smooth(range(0, 20, Math.sin))).toEqual(range(0, 20, Math.sin));
    for (const [, value] of smooth(range(0, 1000, () => 3))) {
      expect(value).toBeCloseTo(3, 10);
    }
    const slope = smooth(range(0, 1000, (step) => step));
    expect(slope[500]![1]).toBeCloseTo(500, 6);
  });

  it('lines series up on one axis', () => {
    expect(
      align([
        [
          [1, 10],
          [3, 30],
        ],
        [[2, 20]],
      ]),
    ).toEqual([
      [1, 2, 3],
      [10, undefined, 30],
      [undefined, 20, undefined],
    ]);
  });

  it('finds the value that held at a step', () => {
    const points = range(5, 8, (step) => step * 10);
    expect([undefined, 4, 6, 99].map((step) => valueAt(points, step))).toEqual([70, undefined, 60, 70]);
  });
});
