import { describe, expect, it } from 'vitest';
import {
  crossEntropy64,
  dense64,
  dot64,
  numericGradient,
  relativeError,
} from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors } from '../tensorflow/tensor.js';
import { dense, denseGradients } from './dense.js';
import { countHits, crossEntropy } from './loss.js';

it('dense layer against float64 and finite differences', () => {
  const before = liveTensors();
  const [x, weight, bias] = [randomArray([3, 6], 'x'), randomArray([6, 4], 'weight'), randomArray([4], 'bias')];
  const slope = randomArray([3, 4], 'slope');
  const tensors = [x, weight, bias, slope].map(tensorOf);
  const [xTensor, weightTensor, biasTensor, slopeTensor] = tensors;
  const output = dense(xTensor!, weightTensor!, biasTensor!);
  const gradients = denseGradients(slopeTensor!, xTensor!, weightTensor!);
  expect(relativeError(take(output), dense64(x, weight, bias).data)).toBeLessThan(1e-6);
  const loss = (a = x, b = weight, c = bias): number => dot64(dense64(a, b, c).data, slope.data);
  expect(
    relativeError(
      take(gradients.input),
      numericGradient((moved) => loss(moved), x),
    ),
  ).toBeLessThan(1e-6);
  expect(
    relativeError(
      take(gradients.weight),
      numericGradient((moved) => loss(x, moved), weight),
    ),
  ).toBeLessThan(1e-6);
  expect(
    relativeError(
      take(gradients.bias),
      numericGradient((moved) => loss(x, weight, moved), bias),
    ),
  ).toBeLessThan(1e-6);
  for (const tensor of tensors) tensor.dispose();
  expect(liveTensors()).toBe(before);
});

it.each([0, 0.1])('cross-entropy with label smoothing %d', (smoothing) => {
  const before = liveTensors();
  const logits = randomArray([5, 7], 'logits');
  const labels = Int32Array.of(0, 3, 6, 2, 2);
  const tensor = tensorOf(logits);
  const { result, gradient } = crossEntropy(tensor, labels, smoothing, 0.25);
  expect(result.lossSum / crossEntropy64(logits, labels, smoothing)).toBeCloseTo(1, 6);
  const expected = numericGradient((moved) => 0.25 * crossEntropy64(moved, labels, smoothing), logits);
  expect(relativeError(take(gradient!), expected)).toBeLessThan(1e-6);
  tensor.dispose();
  expect(liveTensors()).toBe(before);
});

describe('hits', () => {
  const scores = Float32Array.of(5, 4, 3, 2, 1, 0, 0, 9, 9, 1, 1, 1, 1, 1, 1, NaN, 1, 1, 1, 1, 1);
  it('counts the highest and the five highest, lower index first among equals, never NaN', () => {
    expect(countHits(scores, Int32Array.of(0, 0, 0))).toEqual({ top1Hits: 2, top5Hits: 3 });
    expect(countHits(scores.subarray(0, 7), Int32Array.of(4))).toEqual({ top1Hits: 0, top5Hits: 1 });
    expect(countHits(scores.subarray(0, 7), Int32Array.of(5))).toEqual({ top1Hits: 0, top5Hits: 0 });
    expect(countHits(scores.subarray(7, 14), Int32Array.of(1))).toEqual({ top1Hits: 0, top5Hits: 1 });
    expect(countHits(scores.subarray(14), Int32Array.of(1))).toEqual({ top1Hits: 0, top5Hits: 0 });
  });
});
