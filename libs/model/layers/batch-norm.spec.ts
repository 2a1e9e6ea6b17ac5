import { expect, it } from 'vitest';
import { batchNorm64, dot64, moments64, numericGradient, relativeError } from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors } from '../tensorflow/tensor.js';
import { BATCH_NORM_EPSILON, batchNormGradients, normaliseBatch, normaliseRunning } from './batch-norm.js';

it('matches float64 and finite differences, and reports mean and unbiased variance', () => {
  const before = liveTensors();
  const x = randomArray([3, 4, 4, 5], 'x');
  const gamma = randomArray([5], 'gamma');
  const beta = randomArray([5], 'beta');
  const slope = randomArray(x.shape, 'slope');
  const [xTensor, gammaTensor, betaTensor, slopeTensor] = [x, gamma, beta, slope].map(tensorOf) as [
    ReturnType<typeof tensorOf>,
    ReturnType<typeof tensorOf>,
    ReturnType<typeof tensorOf>,
    ReturnType<typeof tensorOf>,
  ];

  const { output, trace } = normaliseBatch(xTensor, gammaTensor, betaTensor);
  const gradients = batchNormGradients(slopeTensor, xTensor, gammaTensor, trace);

  expect(relativeError(take(output), batchNorm64(x, gamma, beta, BATCH_NORM_EPSILON).data)).toBeLessThan(1e-6);
  const { mean, variance, count } = moments64(x);
  expect(relativeError(take(trace.batchMean), mean)).toBeLessThan(1e-6);
  const unbiased = variance.map((value) => (value * count) / (count - 1));
  expect(relativeError(take(trace.batchVariance), unbiased)).toBeLessThan(1e-6);
  const loss = (a = x, b = gamma, c = beta): number => dot64(batchNorm64(a, b, c, BATCH_NORM_EPSILON).data, slope.data);
  expect(
    relativeError(
      take(gradients.input),
      numericGradient((moved) => loss(moved), x),
    ),
  ).toBeLessThan(2e-6);
  expect(
    relativeError(
      take(gradients.gamma),
      numericGradient((moved) => loss(x, moved), gamma),
    ),
  ).toBeLessThan(1e-6);
  expect(
    relativeError(
      take(gradients.beta),
      numericGradient((moved) => loss(x, gamma, moved), beta),
    ),
  ).toBeLessThan(1e-6);
  for (const tensor of [xTensor, gammaTensor, betaTensor, slopeTensor]) tensor.dispose();
  expect(liveTensors()).toBe(before);
});

it('normalises with given statistics in evaluation', () => {
  const before = liveTensors();
  const x = randomArray([2, 3, 3, 4], 'x');
  const [xTensor, gamma, beta, mean, variance] = [
    x,
    ...['gamma', 'beta', 'mean'].map((key) => randomArray([4], key)),
    { shape: [4], data: Float64Array.of(0.5, 1, 2, 4) },
  ].map(tensorOf) as ReturnType<typeof tensorOf>[] & { length: 5 };
  const [g, b, m, v] = [gamma, beta, mean, variance].map((tensor) => tensor!.readFloat32());
  const output = normaliseRunning(xTensor!, gamma!, beta!, mean!, variance!);
  const expected = x.data.map(
    (value, i) => ((value - m![i % 4]!) / Math.sqrt(v![i % 4]! + BATCH_NORM_EPSILON)) * g![i % 4]! + b![i % 4]!,
  );
  expect(relativeError(take(output), expected)).toBeLessThan(1e-6);
  for (const tensor of [xTensor, gamma, beta, mean, variance]) tensor!.dispose();
  expect(liveTensors()).toBe(before);
});
