// Curves as pure functions of points: merging what comes live, smoothing, and lining several series up on one axis.
// Refuses to know how they are fetched and drawn.
import type { AlignedData } from 'uplot';
import { downsample, type Point } from '../../src/telemetry/series-summary.js';

export type SeriesPoints = readonly (readonly [step: number, value: number])[];
export type SeriesMap = Readonly<Record<string, SeriesPoints>>;

/** Above this many points a series that grows live is thinned again, to half as many. */
const MAX_LIVE_POINTS = 4000;
/** The same for one of the hundreds of series per layer. */
const MAX_LIVE_POINTS_PER_LAYER = 600;
/** What the series per layer begin with. */
const LAYER_SERIES = ['gradient/norm/', 'update/ratio/'];

/** `fresh` replaces what `known` has between fresh's first and last step, as when steps are run again. Both are in order. */
export function mergePoints(known: SeriesPoints, fresh: SeriesPoints, atMost = MAX_LIVE_POINTS): SeriesPoints {
  const first = fresh[0]?.[0];
  const last = fresh.at(-1)?.[0];
  if (first === undefined || last === undefined) {
    return known;
  }
  const before = known.slice(0, firstIndexAtOrAfter(known, first));
  const after = known.slice(firstIndexAtOrAfter(known, last + 1));
  const merged = [...before, ...fresh, ...after];
  if (merged.length <= atMost) {
    return merged;
  }
  return downsample(
    merged.map(([step, value]): Point => [step, value]),
    atMost / 2,
  );
}

export function mergeSeries(known: SeriesMap, fresh: SeriesMap): SeriesMap {
  const merged: Record<string, SeriesPoints> = { ...known };
  for (const [name, points] of Object.entries(fresh)) {
    merged[name] = mergePoints(
      known[name] ?? [],
      points.filter(([, value]) => Number.isFinite(value)),
      isOfLayer(name) ? MAX_LIVE_POINTS_PER_LAYER : MAX_LIVE_POINTS,
    );
  }
  return merged;
}

export function isOfLayer(name: string): boolean {
  return LAYER_SERIES.some((prefix) => name.startsWith(prefix));
}

/**
 * Exponential mean over the points on both sides of each, so that the curve neither lags nor leans towards zero at its start. The
 * window grows with the number of points, so a curve looks equally smooth however long the job is.
 */
export function smooth(points: SeriesPoints): SeriesPoints {
  const window = Math.min(60, points.length / 40);
  if (window <= 1) {
    return points;
  }
  const keep = 1 - 1 / window;
  const sums = new Float64Array(points.length);
  const weights = new Float64Array(points.length);
  const sweep = (from: number, stride: number): void => {
    let sum = 0;
    let weight = 0;
    for (let at = from; at >= 0 && at < points.length; at += stride) {
      sum = keep * sum + points[at]![1];
      weight = keep * weight + 1;
      sums[at]! += sum;
      weights[at]! += weight;
    }
  };
  sweep(0, 1);
  sweep(points.length - 1, -1);
  return points.map(([step], at) => [step, sums[at]! / weights[at]!]);
}

/** Columns for uPlot: all steps that any of the series has, then each series' values, undefined where it has none. */
export function align(series: readonly SeriesPoints[]): AlignedData {
  const steps = [...new Set(series.flatMap((points) => points.map(([step]) => step)))].sort((a, b) => a - b);
  const columns = series.map((points) => {
    const byStep = new Map(points);
    return steps.map((step) => byStep.get(step));
  });
  return [steps, ...columns];
}

/** The newest value at or before `step` (the very newest when undefined). */
export function valueAt(points: SeriesPoints, step: number | undefined): number | undefined {
  const after = step === undefined ? points.length : firstIndexAtOrAfter(points, step + 1);
  return points[after - 1]?.[1];
}

function firstIndexAtOrAfter(points: SeriesPoints, step: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (points[middle]![0] < step) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
