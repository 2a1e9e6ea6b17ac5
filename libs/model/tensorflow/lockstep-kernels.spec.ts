import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { kernelHash } from '../../../test/support/kernel-hash.js';
import { runInNode } from '../../../test/support/node-bundle.js';
import { randomArray } from '../../../test/support/random-tensors.js';
import { KernelError } from './kernel.js';
import { addV2, cast, fusedBatchNorm, fusedBatchNormGrad, relu, reluGrad } from './kernels.js';
import {
  lockstepBatchNorm,
  lockstepBatchNormGrad,
  lockstepKernelsVersion,
  lockstepMaxPool,
  lockstepNormaliseAgain,
} from './lockstep-kernels.js';
import { liveTensors, Tensor } from './tensor.js';

const epsilon = 1e-5;
const tensors: Tensor[] = [];
let before = 0;
const own = <Made extends Tensor | Tensor[]>(made: Made): Made => {
  tensors.push(...[made].flat());
  return made;
};
const of = (values: readonly number[] | Float32Array, shape: readonly number[]): Tensor =>
  own(Tensor.of(Float32Array.from(values), shape));
const random = (shape: readonly number[], key: string): Tensor =>
  of(Float32Array.from(randomArray(shape, key).data), shape);
const narrow = (tensor: Tensor): Tensor => own(cast(tensor, 'bfloat16'));
const wide = (tensor: Tensor): Float32Array =>
  (tensor.dtype === 'float32' ? tensor : own(cast(tensor, 'float32'))).readFloat32();
/** Largest difference, in units of the larger of 1 and the expected value. */
const difference = (found: Float32Array, expected: Float32Array): number =>
  found.reduce(
    (worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!) / Math.max(1, Math.abs(expected[i]!))),
    0,
  );

beforeEach(() => {
  before = liveTensors();
});
afterEach(() => {
  for (const tensor of tensors.splice(0)) if (!tensor.disposed) tensor.dispose();
  expect(liveTensors()).toBe(before);
});

describe('bits', () => {
  it('are the same on every instruction set and for any number of threads', async () => {
    const portable = kernelHash(0);
    expect(kernelHash(1)).toBe(portable);
    expect(kernelHash(2)).toBe(portable);
    for (const threads of ['1', '2', '5']) {
      const found = await runInNode('test/support/kernel-hash.ts', ['2'], { TF_NUM_INTRAOP_THREADS: threads });
      expect(found.trim(), `${threads} threads`).toBe(portable);
    }
    before = liveTensors(); // the hash leaves its tensors
  }, 120_000);

  it('have a version', () => {
    expect(lockstepKernelsVersion()).toBeGreaterThan(0);
  });
});

describe.each([
  [2, 1, 1, 7],
  [4, 9, 9, 24],
  [3, 14, 14, 33],
] as const)("against TensorFlow's kernels, [%i, %i, %i, %i]", (...shape) => {
  const channels = [shape[3]];

  it('forward and backward with residual and rectifier, float32', () => {
    const [x, side, gradient] = [random(shape, 'x'), random(shape, 'side'), random(shape, 'gradient')];
    const [gamma, beta, none] = [random(channels, 'gamma'), random(channels, 'beta'), of([], [0])];
    const theirs = own(fusedBatchNorm(x, gamma, beta, none, none, epsilon, true)) as [Tensor, Tensor, Tensor, Tensor];
    const sum = own(addV2(theirs[0], side));
    const theirY = own(relu(sum));
    const theirMasked = own(reluGrad(gradient, theirY));
    const theirGradients = own(fusedBatchNormGrad(theirMasked, x, gamma, theirs.slice(3), epsilon));

    const mine = own(lockstepBatchNorm(x, gamma, beta, side, epsilon, true)) as [Tensor, Tensor, Tensor, Tensor];
    expect(difference(wide(mine[0]), wide(theirY))).toBeLessThan(2e-6);
    expect(difference(wide(mine[1]), wide(theirs[1]))).toBeLessThan(2e-6);
    expect(difference(wide(mine[2]), wide(theirs[2]))).toBeLessThan(2e-6);
    const vectors = [gamma, beta, mine[1], mine[3]] as const;
    const pass = { rectified: true, output: theirY, hadResidual: true };
    const gradients = own(lockstepBatchNormGrad(gradient, undefined, x, vectors, pass));
    expect(difference(wide(gradients[3]!), wide(theirMasked))).toBe(0);
    // Two samples of a channel leave nothing but rounding in the gradient of their input.
    for (const index of [0, 1, 2]) {
      expect(difference(wide(gradients[index]!), wide(theirGradients[index]!)), `output ${index}`).toBeLessThan(
        shape[1] === 1 ? 2e-3 : 1e-5,
      );
    }
  });

  it.each(['float32', 'bfloat16'] as const)('the output can be made again, bit by bit, %s', (dtype) => {
    const [x, side] = ['x', 'side'].map((key) => own(cast(random(shape, key), dtype))) as [Tensor, Tensor];
    const [gamma, beta] = [random(channels, 'gamma'), random(channels, 'beta')];
    for (const residual of [undefined, side]) {
      for (const rectify of [false, true]) {
        const made = own(lockstepBatchNorm(x, gamma, beta, residual, epsilon, rectify));
        const [y, mean, , inverse] = made as [Tensor, Tensor, Tensor, Tensor];
        const again = own(lockstepNormaliseAgain(x, [gamma, beta, mean, inverse], residual, rectify));
        expect(wide(again)).toEqual(wide(y));
      }
    }
  });

  it('bfloat16 is float32 rounded', () => {
    const [x, side, gradient] = ['x', 'side', 'gradient'].map((key) => narrow(random(shape, key))) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const [wideX, wideSide, wideGradient] = [x, side, gradient].map((tensor) => own(cast(tensor, 'float32'))) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const [gamma, beta] = [random(channels, 'gamma'), random(channels, 'beta')];
    const exact = own(lockstepBatchNorm(wideX, gamma, beta, wideSide, epsilon, true)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const rounded = own(lockstepBatchNorm(x, gamma, beta, side, epsilon, true)) as [Tensor, Tensor, Tensor, Tensor];
    expect(wide(rounded[0])).toEqual(wide(narrow(exact[0])));
    expect(wide(rounded[1])).toEqual(wide(exact[1]));
    const vectors = [gamma, beta, exact[1], exact[3]] as const;
    const pass = { rectified: true, output: undefined, hadResidual: false };
    const wideGradients = own(lockstepBatchNormGrad(wideGradient, undefined, wideX, vectors, pass));
    const gradients = own(lockstepBatchNormGrad(gradient, undefined, x, vectors, pass));
    expect(wide(gradients[0]!)).toEqual(wide(narrow(wideGradients[0]!)));
    expect(wide(gradients[1]!)).toEqual(wide(wideGradients[1]!));
  });
});

it('keeps its figures where the mean is large beside the spread', () => {
  const shape = [4, 16, 16, 2];
  const spread = randomArray(shape, 'x').data;
  const x = of(
    Float32Array.from(spread, (value) => 4096 + value / 4),
    shape,
  );
  const exact = x.readFloat32();
  const ones = of([1, 1], [2]);
  const outputs = own(lockstepBatchNorm(x, ones, of([0, 0], [2]), undefined, epsilon, false));
  for (const channel of [0, 1]) {
    const own64 = Float64Array.from(exact.filter((_, i) => i % 2 === channel));
    const center = own64.reduce((sum, value) => sum + value, 0) / own64.length;
    const square = own64.reduce((sum, value) => sum + (value - center) ** 2, 0) / (own64.length - 1);
    expect(Math.abs(outputs[1]!.readFloat32()[channel]! / center - 1)).toBeLessThan(1e-7);
    expect(Math.abs(outputs[2]!.readFloat32()[channel]! / square - 1)).toBeLessThan(1e-6);
  }
});

describe('numbers gone wrong', () => {
  const [gamma, beta] = [
    [1, 1],
    [0, 0],
  ];

  it.each([Number.NaN, Infinity, -Infinity])(
    '%f in the input is not hidden by the rectifier, its channel alone',
    (bad) => {
      for (const change of [(tensor: Tensor) => tensor, narrow]) {
        const x = change(of([1, 2, bad, 4, 3, 1, 5, 6], [4, 1, 1, 2]));
        const [y, mean, variance] = own(lockstepBatchNorm(x, of(gamma, [2]), of(beta, [2]), undefined, epsilon, true));
        const values = wide(y!);
        expect([...values.filter((_, i) => i % 2 === 0)].every(Number.isNaN)).toBe(true);
        expect([...values.filter((_, i) => i % 2 === 1)].every(Number.isFinite)).toBe(true);
        expect([...mean!.readFloat32(), ...variance!.readFloat32()].filter(Number.isFinite)).toHaveLength(2);
      }
    },
  );

  it('NaN in a residual and in a gradient comes through', () => {
    const x = of([1, 2, 3, 4, 3, 1, 5, 6], [4, 1, 1, 2]);
    const side = of([0, Number.NaN, 0, 0, 0, 0, 0, 0], [4, 1, 1, 2]);
    const vectors = [of(gamma, [2]), of(beta, [2])] as const;
    const [y, mean, , inverse] = own(lockstepBatchNorm(x, ...vectors, side, epsilon, true)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    expect([...y.readFloat32()].map(Number.isNaN).indexOf(true)).toBe(1);
    const gradient = of([1, Number.NaN, 1, 1, 1, 1, 1, 1], [4, 1, 1, 2]);
    const pass = { rectified: true, output: y, hadResidual: true };
    const outputs = own(lockstepBatchNormGrad(gradient, undefined, x, [...vectors, mean, inverse], pass));
    expect([...outputs[1]!.readFloat32()].map(Number.isNaN)).toEqual([false, true]);
    expect([...outputs[2]!.readFloat32()].map(Number.isNaN)).toEqual([false, true]);
  });

  it('NaN wins in the max pool', () => {
    const x = of([1, 2, Number.NaN, 4, 3, 1, 5, 6, 9, 9, 9, 9, 9, 9, 9, 9], [1, 4, 4, 1]);
    const [y] = own(lockstepMaxPool(x)) as [Tensor, Tensor];
    expect([...y.readFloat32()].map(Number.isNaN)).toEqual([false, true, false, false]);
  });
});

it('one row has no unbiased variance: the biased one, which is zero, is reported', () => {
  const x = of([3, -2, 7], [1, 1, 1, 3]);
  const outputs = own(lockstepBatchNorm(x, of([1, 2, 3], [3]), of([0.5, -1, 2], [3]), undefined, epsilon, false));
  expect([...outputs[0]!.readFloat32()]).toEqual([0.5, -1, 2]);
  expect([...outputs[2]!.readFloat32()]).toEqual([0, 0, 0]);
});

it('refuses shapes that do not belong together, by name', () => {
  const [x, gamma] = [random([2, 2, 2, 4], 'x'), random([4], 'gamma')];
  const attempt = (): Tensor[] => lockstepBatchNorm(x, gamma, random([3], 'beta'), undefined, epsilon, false);
  expect(attempt).toThrow(KernelError);
  expect(attempt).toThrow(/LockstepBatchNorm.*one number per channel/s);
  expect(() => lockstepBatchNorm(x, gamma, gamma, random([2, 2, 1, 4], 's'), epsilon, false)).toThrow(/another shape/);
});
