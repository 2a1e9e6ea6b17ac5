import { expect, it } from 'vitest';
import { ClassTable, highest } from './class-table.js';

it('counts hits and mistakes class by class', () => {
  const table = new ClassTable(3);
  table.add(Int32Array.of(0, 0, 2), Float32Array.of(0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.5, 0.3, 0.2));
  table.add(Int32Array.of(0), Float32Array.of(0.1, 0.6, 0.3));
  expect(table.rows).toEqual([
    { label: 0, samples: 3, top1Hits: 1, top5Hits: 3 },
    { label: 2, samples: 1, top1Hits: 0, top5Hits: 1 },
  ]);
  expect(table.worstConfusions(5)).toEqual([
    { label: 0, predicted: 1, count: 2 },
    { label: 2, predicted: 0, count: 1 },
  ]);
  expect(table.worstConfusions(1)).toHaveLength(1);
});

it('takes scores that are not numbers for misses', () => {
  const table = new ClassTable(2);
  table.add(Int32Array.of(1), Float32Array.of(NaN, NaN));
  expect(table.rows).toEqual([{ label: 1, samples: 1, top1Hits: 0, top5Hits: 0 }]);
  expect(table.worstConfusions(5)).toEqual([]);
});

it('ranks scores, of equal ones the lower index first', () => {
  expect(highest([1, 5, 5, 2, 9, 0], 4)).toEqual([4, 1, 2, 3]);
  expect(highest([3, NaN, 1], 5)).toEqual([0, 2]);
});
