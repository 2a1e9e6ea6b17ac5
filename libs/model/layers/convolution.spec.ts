import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { convolution64, dot64, numericGradient, relativeError } from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors } from '../tensorflow/tensor.js';
import { convolve, filterGradient, inputGradient } from './convolution.js';
import { geometryOf } from './window.js';

let before = 0;
beforeEach(() => {
  before = liveTensors();
});
afterEach(() => {
  expect(liveTensors()).toBe(before);
});

const cases = [1, 3, 7].flatMap((kernel) =>
  [1, 2].flatMap((stride) =>
    [7, 8].flatMap((side) =>
      // Only 1x1 windows have a choice.
      (kernel === 1 ? (['convolution', 'product'] as const) : (['convolution'] as const)).map((served) => ({
        ...{ kernel, stride, side, served },
      })),
    ),
  ),
);

describe('convolution against float64 and finite differences', () => {
  it.each(cases)('kernel $kernel, stride $stride, side $side, by $served', ({ kernel, stride, side, served }) => {
    const window = { kernel, stride, rule: () => served };
    const x = randomArray([2, side, side, 3], 'x');
    const filter = randomArray([kernel, kernel, 3, 4], 'filter');
    const expected = convolution64(x, filter, stride);
    const slope = randomArray(expected.shape, 'slope');
    const [xTensor, filterTensor, slopeTensor] = [tensorOf(x), tensorOf(filter), tensorOf(slope)];

    const output = convolve(xTensor, filterTensor, window);
    const filterSlope = filterGradient(xTensor, slopeTensor, filter.shape, window);
    const inputSlope = inputGradient(slopeTensor, filterTensor, window, x.shape);

    expect(output.shape).toEqual(expected.shape);
    expect(inputSlope.shape).toEqual(x.shape);
    expect(relativeError(take(output), expected.data)).toBeLessThan(1e-6);
    const byFilter = numericGradient((moved) => dot64(convolution64(x, moved, stride).data, slope.data), filter);
    const byInput = numericGradient((moved) => dot64(convolution64(moved, filter, stride).data, slope.data), x);
    expect(relativeError(take(filterSlope), byFilter)).toBeLessThan(1e-6);
    expect(relativeError(take(inputSlope), byInput)).toBeLessThan(1e-6);
    for (const tensor of [xTensor, filterTensor, slopeTensor]) tensor.dispose();
  });
});

describe('window geometry', () => {
  it('pads by hand only where SAME would be lopsided', () => {
    expect(geometryOf({ kernel: 3, stride: 1 }, 8, 8)).toEqual({ padding: 'SAME', explicit: undefined });
    expect(geometryOf({ kernel: 3, stride: 2 }, 7, 7)).toEqual({ padding: 'SAME', explicit: undefined });
    expect(geometryOf({ kernel: 1, stride: 2 }, 8, 8)).toEqual({ padding: 'VALID', explicit: undefined });
    const threeByThree = {
      padding: 'VALID',
      explicit: [
        [1, 0],
        [1, 0],
      ],
    };
    expect(geometryOf({ kernel: 3, stride: 2 }, 8, 8)).toEqual(threeByThree);
    const stem = {
      padding: 'VALID',
      explicit: [
        [3, 2],
        [3, 2],
      ],
    };
    expect(geometryOf({ kernel: 7, stride: 2 }, 224, 224)).toEqual(stem);
  });
});
