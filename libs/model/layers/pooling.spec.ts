import { expect, it } from 'vitest';
import {
  dot64,
  globalAverage64,
  maxPool64,
  numericGradient,
  relativeError,
} from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors } from '../tensorflow/tensor.js';
import { whole } from './split-gradient.js';
import { globalAverage, globalAverageGradient, StemMaxPool } from './pooling.js';

it.each([
  { side: 7, notNegative: true },
  { side: 8, notNegative: true },
  { side: 7, notNegative: false },
  { side: 8, notNegative: false },
])('max pool, side $side, values not negative: $notNegative', ({ side, notNegative }) => {
  const before = liveTensors();
  const raw = randomArray([2, side, side, 3], 'x');
  const x = { shape: raw.shape, data: notNegative ? raw.data.map(Math.abs) : raw.data.map((value) => value - 3) };
  const expected = maxPool64(x);
  const slope = randomArray(expected.shape, 'slope');
  const [xTensor, slopeTensor] = [tensorOf({ ...x, data: x.data.map(Math.fround) }), tensorOf(slope)];
  const pool = new StemMaxPool(notNegative);
  const output = pool.forward(xTensor, true);
  expect(output.shape).toEqual(expected.shape);
  expect(relativeError(output.readFloat32(), expected.data)).toBeLessThan(1e-6);
  const gradient = pool.backward(whole(slopeTensor));
  const byInput = numericGradient((moved) => dot64(maxPool64(moved).data, slope.data), x, 1e-7);
  expect(relativeError(take(gradient), byInput)).toBeLessThan(1e-6);
  xTensor.dispose();
  expect(liveTensors()).toBe(before);
});

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
