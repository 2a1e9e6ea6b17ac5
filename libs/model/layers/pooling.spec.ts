import { expect, it } from 'vitest';
import { dot64, globalAverage64, numericGradient, relativeError } from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors } from '../tensorflow/tensor.js';
import { globalAverage, globalAverageGradient } from './pooling.js';

it('global average', () => {
  const before = liveTensors();
  const x = randomArray([2, 3, 5, 4], 'x');
  const expected = globalAverage64(x);
  const slope = randomArray(expected.shape, 'slope');
  const xTensor = tensorOf(x);
  expect(relativeError(take(globalAverage(xTensor)), expected.data)).toBeLessThan(1e-6);
  const gradient = globalAverageGradient(tensorOf(slope), x.shape, 'float32');
  const byInput = numericGradient((moved) => dot64(globalAverage64(moved).data, slope.data), x);
  expect(relativeError(take(gradient), byInput)).toBeLessThan(1e-6);
  xTensor.dispose();
  expect(liveTensors()).toBe(before);
});
