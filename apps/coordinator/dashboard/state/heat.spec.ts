// Layers in order, steps in columns, numbers as colours.
import { describe, expect, it } from 'vitest';
import { colorOf, columnOf, heatOf, shareOf, stepOf } from './heat.js';
import type { SeriesPoints } from './series.js';

const points = (...values: number[]): SeriesPoints => values.map((value, index) => [index + 1, value] as const);

describe('heatOf', () => {
  it('puts layers in the order of depth, whatever the order of the series', () => {
    const names = ['fc', 'layer10.0.conv1', 'layer2.10.conv1', 'layer2.9.conv2', 'layer2.9.conv1', 'conv1'];
    const series = Object.fromEntries(names.map((name) => [`gradient/norm/${name}`, points(1)]));
    expect(heatOf({ ...series, 'train/loss': points(1) }, 'gradient/norm/', 10)?.layers).toEqual([
      'conv1',
      'layer2.9.conv1',
      'layer2.9.conv2',
      'layer2.10.conv1',
      'layer10.0.conv1',
      'fc',
    ]);
  });

  it('gathers steps into columns, by their mean, and leaves empty what has no points', () => {
    const series = { 'r/a': points(1, 3, 5, 7), 'r/b': [[4, 2]] as SeriesPoints, 'r/c': [] as SeriesPoints };
    const heat = heatOf(series, 'r/', 2)!;
    expect(heat).toMatchObject({ layers: ['a', 'b'], first: 1, last: 4, columns: 2, low: 2, high: 6 });
    expect([...heat.values]).toEqual([2, 6, NaN, 2]);
    expect([0, 1].map((column) => stepOf(column, heat))).toEqual([1, 3]);
    expect([1, 2, 3, 4].map((step) => columnOf(step, heat))).toEqual([0, 0, 1, 1]);
    expect(heatOf(series, 'r/', 100)?.columns).toBe(4);
  });

  it('goes on with the value before where thinning left no point, but not beyond the last', () => {
    const thinned = {
      'r/a': [
        [1, 2],
        [4, 3],
      ] as SeriesPoints,
      'r/b': points(1, 1, 1, 1, 1),
    };
    expect([...heatOf(thinned, 'r/', 5)!.values]).toEqual([2, 2, 2, 3, NaN, 1, 1, 1, 1, 1]);
  });

  it('is nothing without such series', () => {
    expect(heatOf({ 'gradient/norm': points(1) }, 'gradient/norm/', 10)).toBeNull();
  });
});

it('colours by the logarithm, from dark to light', () => {
  const scale = { low: 1e-4, high: 1 };
  expect([1e-4, 1e-2, 1, 0, NaN].map((value) => shareOf(value, scale))).toEqual([0, 0.5, 1, 0, NaN]);
  expect(shareOf(3, { low: 3, high: 3 })).toBe(1);
  const lightness = [0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => {
    const [red, green, blue] = colorOf(share);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  });
  expect(lightness).toEqual(lightness.toSorted((a, b) => a - b));
});
