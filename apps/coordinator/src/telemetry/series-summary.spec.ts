// The thinned picture of a series keeps its ends and its extremes, whatever its length.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeriesSummary, downsample, type Point } from './series-summary.js';

const series = fc
  .array(fc.record({ gap: fc.integer({ min: 1, max: 5 }), value: fc.double({ noNaN: true, min: -1e6, max: 1e6 }) }), {
    minLength: 1,
    maxLength: 400,
  })
  .map((entries) => {
    let step = -1;
    return entries.map(({ gap, value }): Point => [(step += gap), value]);
  });

function summarise(points: readonly Point[], maxBuckets: number): SeriesSummary {
  const summary = new SeriesSummary(maxBuckets);
  for (const [step, value] of points) {
    summary.add(step, value);
  }
  return summary;
}

function expectFaithful(kept: readonly Point[], all: readonly Point[], limit: number): void {
  const known = new Map(all);
  expect(kept.length).toBeLessThanOrEqual(Math.max(4, limit));
  for (const [at, [step, value]] of kept.entries()) {
    expect(known.get(step)).toBe(value);
    expect(step).toBeGreaterThan(at === 0 ? -1 : kept[at - 1]![0]);
  }
  expect(kept[0]).toEqual(all[0]);
  expect(kept.at(-1)).toEqual(all.at(-1));
  const values = kept.map(([, value]) => value);
  const allValues = all.map(([, value]) => value);
  expect(Math.min(...values)).toBe(Math.min(...allValues));
  expect(Math.max(...values)).toBe(Math.max(...allValues));
}

describe('SeriesSummary', () => {
  it('keeps ends and extremes, real points only, in order and within the limit', () => {
    fc.assert(
      fc.property(series, fc.constantFrom(2, 4, 16, 64), fc.integer({ min: 1, max: 300 }), (points, buckets, limit) => {
        expectFaithful(summarise(points, buckets).points(limit), points, limit);
      }),
    );
  });

  it('keeps every point of a series of up to twice as many points as buckets', () => {
    fc.assert(
      fc.property(series, (points) => {
        const some = points.slice(0, 128);
        expect(summarise(some, 64).points(1000)).toEqual(some);
      }),
    );
  });

  it('keeps extremes per stretch, not only overall', () => {
    const summary = new SeriesSummary(64);
    for (let step = 0; step < 100_000; step += 1) {
      summary.add(step, step % 10_000 === 5_000 ? 100 + step : 0);
    }
    const spikes = summary.points(200).filter(([, value]) => value > 0);
    expect(spikes.map(([step]) => step)).toEqual([5, 15, 25, 35, 45, 55, 65, 75, 85, 95].map((n) => n * 1000));
  });

  it('keeps both ends of a plateau', () => {
    const summary = new SeriesSummary(8);
    for (let step = 0; step < 64; step += 1) {
      summary.add(step, step < 32 ? 0.1 : 0.01);
    }
    const steps = summary.points(1000).map(([step]) => step);
    expect(steps).toContain(31);
    expect(steps).toContain(32);
  });

  it('has no points before the first', () => {
    expect(new SeriesSummary().points(100)).toEqual([]);
  });

  it('refuses a number of buckets that cannot be halved', () => {
    expect(() => new SeriesSummary(7)).toThrow(/even number/);
  });
});

describe('downsample', () => {
  it('keeps ends and extremes within the limit', () => {
    fc.assert(
      fc.property(series, fc.integer({ min: 1, max: 100 }), (points, limit) => {
        expectFaithful(downsample(points, limit), points, limit);
      }),
    );
  });
});
