import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { modelOf } from '../../test/support/networks.js';
import { fitsShapes, fixedKernels, kernelKey, pointwiseShapes } from './kernel-table.js';
import type { PointwiseKernel } from './kernel-table.js';
import { quickerKernel, tryKernels } from './kernel-trial.js';
import { observeKernels } from './tensorflow/kernel.js';
import { liveTensors } from './tensorflow/tensor.js';

const model = modelOf('resnet18', { imageSize: 32 });
const shapes = pointwiseShapes(model);
const fixed = Object.fromEntries(shapes.map((shape) => [kernelKey(shape), fixedKernels(shape)]));
const job = { model, shardSize: 4, precision: 'float32' } as const;

describe('the quicker kernel', () => {
  const pairs = (...products: number[]) => products.map((product) => ({ convolution: 1, product }));

  it('is another than the usual one only where it is so clearly, in three of four pairs', () => {
    expect(quickerKernel(pairs(0.9, 0.9, 0.9, 0.9, 5), 'convolution')).toBe('product');
    expect(quickerKernel(pairs(0.9, 0.9, 0.9, 5, 5), 'convolution')).toBe('convolution');
    expect(quickerKernel(pairs(0.98, 0.98, 0.98, 0.1), 'convolution')).toBe('convolution');
    expect(quickerKernel(pairs(1.1, 1.1, 1.1), 'product')).toBe('convolution');
    expect(quickerKernel(pairs(1.02, 1.02, 9), 'product')).toBe('product');
  });

  it('is judged pair by pair, so that a machine which slows down does not show', () => {
    const slowing = [1, 2, 4, 8, 16].map((time) => ({ convolution: time, product: 0.9 * time }));
    expect(quickerKernel(slowing, 'convolution')).toBe('product');
  });

  it('is the usual one after too few pairs', () => {
    expect(quickerKernel(pairs(0.1, 0.1), 'convolution')).toBe('convolution');
  });
});

describe('a trial', () => {
  let before = 0;
  let clock = 0;
  /** A clock that only kernels move on. */
  const costing = (costs: Readonly<Record<PointwiseKernel, number>>): (() => number) => {
    observeKernels((name) => {
      if (name === 'MatMul') clock += costs.product;
      else if (name.startsWith('Conv2D')) clock += costs.convolution;
    });
    return () => clock;
  };

  beforeEach(() => {
    before = liveTensors();
    clock = 0;
  });
  afterEach(() => {
    observeKernels(undefined);
    expect(liveTensors()).toBe(before);
  });

  it.each(['product', 'convolution'] as const)('finds that the %s is quicker', (quicker) => {
    const now = costing({ product: 1, convolution: 1, [quicker]: 0.5 });
    const table = tryKernels(job, { now });
    expect(fitsShapes(table, shapes)).toBe(true);
    for (const kernels of Object.values(table)) expect(new Set(Object.values(kernels))).toEqual(new Set([quicker]));
  });

  it('tries with fewer images where the time does not suffice for a shard', () => {
    const now = costing({ product: 1, convolution: 1 });
    const images = new Set<number>();
    const costs = () => now();
    let counted = 0;
    observeKernels((name, _, inputs) => {
      if (name !== 'Conv2D') return;
      const count = inputs[0]!.shape[0]!;
      images.add(count);
      // As long as it has images.
      clock += count;
      counted += 1;
    });
    tryKernels({ ...job, shardSize: 64 }, { now: costs, budgetMs: 3 * 36 * 10 });
    expect(counted).toBeGreaterThan(0);
    expect(Math.max(...images)).toBeGreaterThan(1);
    expect(Math.max(...images)).toBeLessThan(64);
  });

  it('goes by the fixed rule where the time is up', () => {
    const now = costing({ product: 1, convolution: 2 });
    expect(tryKernels(job, { now, budgetMs: 0 })).toEqual(fixed);
    const table = tryKernels(job, { now, budgetMs: 1 });
    expect(table[kernelKey(shapes.at(-1)!)]).toEqual(fixedKernels(shapes.at(-1)!));
  });

  it.each(['float32', 'bfloat16'] as const)('in %s with the real clock knows every shape', (precision) => {
    expect(fitsShapes(tryKernels({ ...job, precision }), shapes)).toBe(true);
  });

  it('has nothing to try in a net without 1x1 convolutions', () => {
    expect(tryKernels({ ...job, model: modelOf('resnet8', { shortcut: 'A' }) })).toEqual({});
  });
});
