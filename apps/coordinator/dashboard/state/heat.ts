// The heat map as pure functions: layers in the order of depth, steps gathered into columns, numbers to colours.
// Refuses to know how points are fetched and how the picture is drawn.
import type { SeriesMap } from './series.js';

export interface Heat {
  /** From the images to the loss. */
  readonly layers: readonly string[];
  /** Steps [first, last] that the columns cover evenly. */
  readonly first: number;
  readonly last: number;
  readonly columns: number;
  /** [layers, columns]: the mean of the points in it, or what came before it; NaN before a layer's first point and after its last. */
  readonly values: Float64Array;
  /** Smallest and largest value above 0; the scale of colours is logarithmic between them. */
  readonly low: number;
  readonly high: number;
}

/** Gathers the series `<prefix><layer>` into at most `maxColumns` columns; null where there are none. */
export function heatOf(series: SeriesMap, prefix: string, maxColumns: number): Heat | null {
  const names = Object.keys(series).filter((name) => name.startsWith(prefix) && series[name]!.length > 0);
  if (names.length === 0) {
    return null;
  }
  const layers = names.map((name) => name.slice(prefix.length)).sort(byDepth);
  let first = Infinity;
  let last = -Infinity;
  for (const name of names) {
    first = Math.min(first, series[name]![0]![0]);
    last = Math.max(last, series[name]!.at(-1)![0]);
  }
  const columns = Math.max(1, Math.min(maxColumns, last - first + 1));
  const values = new Float64Array(layers.length * columns);
  const counts = new Uint32Array(values.length);
  for (const [row, layer] of layers.entries()) {
    for (const [step, value] of series[prefix + layer]!) {
      const cell = row * columns + columnOf(step, { first, last, columns });
      values[cell]! += value;
      counts[cell]! += 1;
    }
  }
  let low = Infinity;
  let high = 0;
  for (const [cell, count] of counts.entries()) {
    values[cell] = count === 0 ? NaN : values[cell]! / count;
  }
  for (let row = 0; row < layers.length; row++) {
    fillGaps(values.subarray(row * columns, (row + 1) * columns));
  }
  for (const cell of values.keys()) {
    if (values[cell]! > 0) {
      low = Math.min(low, values[cell]!);
      high = Math.max(high, values[cell]!);
    }
  }
  return { layers, first, last, columns, values, low: Math.min(low, high), high };
}

/** Thinned series leave columns without a point between others that have some. */
function fillGaps(row: Float64Array): void {
  const last = row.findLastIndex((value) => !Number.isNaN(value));
  for (let column = 1; column < last; column++) {
    if (Number.isNaN(row[column]!)) {
      row[column] = row[column - 1]!;
    }
  }
}

export function columnOf(step: number, { first, last, columns }: Pick<Heat, 'first' | 'last' | 'columns'>): number {
  return Math.min(columns - 1, Math.floor(((step - first) * columns) / (last - first + 1)));
}

/** The first step of a column. */
export function stepOf(column: number, { first, last, columns }: Heat): number {
  return first + Math.ceil((column * (last - first + 1)) / columns);
}

/** Where a value lies between the lowest (0) and the highest (1), by its logarithm; NaN for no value, 0 for zero. */
export function shareOf(value: number, { low, high }: Pick<Heat, 'low' | 'high'>): number {
  if (Number.isNaN(value)) {
    return NaN;
  }
  if (value <= 0) {
    return 0;
  }
  return high === low ? 1 : Math.log(value / low) / Math.log(high / low);
}

/** Dark blue, teal, yellow: rising in lightness, so that it also reads without colours. */
const ramp = [
  [33, 18, 92],
  [40, 84, 140],
  [32, 144, 141],
  [122, 200, 95],
  [253, 231, 37],
] as const;

/** Red, green, blue in [0, 255] of a share in [0, 1]. */
export function colorOf(share: number): readonly [number, number, number] {
  const place = Math.min(1, Math.max(0, share)) * (ramp.length - 1);
  const below = Math.min(ramp.length - 2, Math.floor(place));
  const [from, to] = [ramp[below]!, ramp[below + 1]!];
  const mix = (index: 0 | 1 | 2): number => Math.round(from[index] + (place - below) * (to[index] - from[index]));
  return [mix(0), mix(1), mix(2)];
}

/** The stem first, the dense layer last, blocks by their numbers. */
function byDepth(a: string, b: string): number {
  return rankOf(a) - rankOf(b) || a.localeCompare(b, 'en', { numeric: true });
}

function rankOf(layer: string): number {
  if (layer.startsWith('layer')) {
    return 1;
  }
  return layer.startsWith('conv') ? 0 : 2;
}
