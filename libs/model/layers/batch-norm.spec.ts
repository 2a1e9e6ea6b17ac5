import { describe, expect, it } from 'vitest';
import {
  batchNorm64,
  dot64,
  moments64,
  numericGradient,
  relativeError,
  type Array64,
} from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors, type Tensor } from '../tensorflow/tensor.js';
import { composedBatchNorm } from './batch-norm-composed.js';
import { fusedBatchNorm } from './batch-norm-fused.js';
import { BATCH_NORM_EPSILON as epsilon } from './batch-norm.js';

const routes = { fused: fusedBatchNorm, composed: composedBatchNorm };
const forms = [
  { route: 'fused', residual: false, rectify: false },
  { route: 'fused', residual: false, rectify: true },
  { route: 'fused', residual: true, rectify: false },
  { route: 'fused', residual: true, rectify: true },
  { route: 'composed', residual: false, rectify: true },
  { route: 'composed', residual: true, rectify: true },
  { route: 'composed', residual: true, rectify: false },
] as const;
const tensorsOf = <Keys extends string>(arrays: Record<Keys, Array64>): Record<Keys, Tensor> =>
  Object.fromEntries(Object.entries<Array64>(arrays).map(([key, array]) => [key, tensorOf(array)])) as never;

const bitsOf = ({ buffer, byteOffset, length }: Float32Array): Int32Array => new Int32Array(buffer, byteOffset, length);

describe.each(forms)('batch norm, $route, residual: $residual, rectified: $rectify', ({ route, residual, rectify }) => {
  const arrays = {
    x: randomArray([3, 4, 4, 5], 'x'),
    gamma: randomArray([5], 'gamma'),
    beta: randomArray([5], 'beta'),
    side: randomArray([3, 4, 4, 5], 'side'),
  };
  const finish = (data: Float64Array, side: Float64Array): Float64Array =>
    data.map((value, i) => {
      const sum = residual ? value + side[i]! : value;
      return rectify ? Math.max(0, sum) : sum;
    });

  it('matches float64 and finite differences, and reports mean and unbiased variance', () => {
    const before = liveTensors();
    const { x, gamma, beta, side } = arrays;
    const slope = randomArray(x.shape, 'slope');
    const addend = randomArray(x.shape, 'addend');
    const tensors = tensorsOf(arrays);
    const after = { residual: residual ? tensors.side : undefined, rectify };
    const { output, trace } = routes[route].normalise(tensors.x, tensors.gamma, tensors.beta, epsilon, after);
    const forward = (a: Array64, b: Array64, c: Array64, d: Array64): Float64Array =>
      finish(batchNorm64(a, b, c, epsilon).data, d.data);
    expect(relativeError(output.readFloat32(), forward(x, gamma, beta, side))).toBeLessThan(1e-6);
    const { mean, variance, count } = moments64(x);
    expect(relativeError(trace.batchMean.readFloat32(), mean)).toBeLessThan(1e-6);
    const unbiased = variance.map((value) => (value * count) / (count - 1));
    expect(relativeError(trace.batchVariance.readFloat32(), unbiased)).toBeLessThan(1e-6);

    const again = routes[route].normaliseAgain?.(tensors.x, tensors.gamma, tensors.beta, trace, after);
    if (again !== undefined) expect(bitsOf(take(again))).toEqual(bitsOf(output.readFloat32()));
    const wanted = rectify && (residual || again === undefined) ? output : undefined;
    const pass = { ...tensors, trace, rectified: rectify, output: wanted, hadResidual: residual };
    const gradient = { main: tensorOf(slope), addend: tensorOf(addend) };
    const gradients = routes[route].gradients(gradient, pass, epsilon);
    const weights = slope.data.map((value, i) => value + addend.data[i]!);
    const numeric = (moved: keyof typeof arrays): Float64Array =>
      numericGradient((value) => {
        const at: typeof arrays = { ...arrays, [moved]: value };
        return dot64(forward(at.x, at.gamma, at.beta, at.side), weights);
      }, arrays[moved]);
    expect(relativeError(take(gradients.input), numeric('x'))).toBeLessThan(2e-6);
    expect(relativeError(take(gradients.gamma), numeric('gamma'))).toBeLessThan(1e-6);
    expect(relativeError(take(gradients.beta), numeric('beta'))).toBeLessThan(1e-6);
    if (residual) expect(relativeError(take(gradients.residual as Tensor), numeric('side'))).toBeLessThan(1e-6);
    else expect(gradients.residual).toBeUndefined();
    for (const tensor of [...Object.values(tensors), output, trace.batchMean, trace.batchVariance]) tensor.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('normalises with given statistics in evaluation', () => {
    const before = liveTensors();
    const { x, side, ...parameters } = tensorsOf({
      ...arrays,
      mean: randomArray([5], 'mean'),
      variance: { shape: [5], data: Float64Array.of(0.5, 1, 2, 4, 0.1) },
    });
    const { gamma, beta, mean, variance } = parameters;
    const [g, b, m, v] = [gamma, beta, mean, variance].map((tensor) => tensor.readFloat32());
    const after = { residual: residual ? side : undefined, rectify };
    const output = routes[route].normaliseRunning(x, [gamma, beta, mean, variance], epsilon, after);
    const normalised = arrays.x.data.map(
      (value, i) => ((value - m![i % 5]!) / Math.sqrt(v![i % 5]! + epsilon)) * g![i % 5]! + b![i % 5]!,
    );
    expect(relativeError(take(output), finish(normalised, arrays.side.data))).toBeLessThan(1e-6);
    for (const tensor of [side, ...Object.values(parameters)]) tensor.dispose();
    expect(liveTensors()).toBe(before);
  });
});
