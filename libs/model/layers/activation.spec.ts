import { expect, it } from 'vitest';
import { dot64, numericGradient, relativeError } from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { activate, activationGradient, isNotNegative } from './activation.js';
import type { Activation } from './activation.js';

const functions: Record<Activation, (x: number) => number> = {
  relu: (x) => Math.max(0, x),
  leaky_relu: (x) => (x > 0 ? x : Math.fround(0.01) * x),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: (x) => Math.tanh(x),
};

it.each(Object.keys(functions) as Activation[])('%s matches float64 and finite differences', (kind) => {
  const f = functions[kind];
  const x = randomArray([2, 5, 5, 8], 'x', kind);
  const slope = randomArray(x.shape, 'slope');
  const [xTensor, slopeTensor] = [tensorOf(x), tensorOf(slope)];
  const y = activate(kind, xTensor);
  const gradient = activationGradient(kind, slopeTensor, y);
  expect(relativeError(y.readFloat32(), x.data.map(f))).toBeLessThan(1e-6);
  const expected = numericGradient((moved) => dot64(moved.data.map(f), slope.data), x, 1e-6);
  expect(relativeError(take(gradient), expected)).toBeLessThan(2e-6);
  expect(isNotNegative(kind)).toBe(y.readFloat32().every((value) => value >= 0));
  for (const tensor of [xTensor, slopeTensor, y]) tensor.dispose();
});
