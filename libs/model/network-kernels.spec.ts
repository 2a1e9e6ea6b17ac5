import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { relativeError } from '../../test/support/float64-layers.js';
import { modelOf, pass, randomBatch, randomParameters } from '../../test/support/networks.js';
import { kernelKey, pointwiseShapes } from './kernel-table.js';
import type { KernelTable, PointwiseKernel } from './kernel-table.js';
import { Network } from './network.js';
import type { Precision } from './network.js';
import { planOf } from './resnet.js';
import { observeKernels } from './tensorflow/kernel.js';

const model = modelOf('resnet50', { imageSize: 64 });
const all = (kernel: PointwiseKernel): KernelTable =>
  Object.fromEntries(
    pointwiseShapes(model).map((shape) => [
      kernelKey(shape),
      { forward: kernel, inputGradient: kernel, filterGradient: kernel },
    ]),
  );

/** A pass over images of which there are as many as in no table, with the kernels that ran. */
function passWith(kernels: KernelTable | undefined, precision: Precision) {
  const network = Network.create(model, precision, { kernels });
  const { parameters, statistics } = randomParameters(network, model);
  network.loadParameters(parameters, statistics);
  const { images, labels } = randomBatch(3, model.imageSize, model.classes);
  const counts: Record<string, number> = {};
  observeKernels((name) => (counts[name] = (counts[name] ?? 0) + 1));
  const { gradient } = pass(network, images, labels, 1 / 3);
  network.dispose();
  return { gradient, counts, hash: createHash('sha256').update(new Uint8Array(gradient.buffer)).digest('hex') };
}

afterEach(() => observeKernels(undefined));

describe.each([
  ['float32', 1e-4],
  ['bfloat16', 0.4],
] as const)('resnet50 in %s', (precision, bound) => {
  it('takes the kernels that its table names, for every 1x1 convolution and whatever the number of images', () => {
    const byConvolution = passWith(all('convolution'), precision);
    const byProduct = passWith(all('product'), precision);
    const plan = planOf(model);
    const windows = plan.blocks.flatMap(({ convolutions, shortcut }) =>
      shortcut.kind === 'projection' ? [...convolutions, shortcut.convolution] : convolutions,
    );
    const points = windows.filter(({ kernel }) => kernel === 1).length;
    const others = windows.length - points + 1;
    // The dense layer's own: forward and two gradients.
    expect(byConvolution.counts).toMatchObject({ MatMul: 3, Conv2D: points + others });
    expect(byProduct.counts).toMatchObject({ MatMul: 3 + 3 * points, Conv2D: others, Conv2DBackpropFilter: others });
    expect(byProduct.hash).not.toBe(byConvolution.hash);
    expect(relativeError(byProduct.gradient, byConvolution.gradient)).toBeLessThan(bound);
  });

  it('gives the same bits twice by the same table, and others by another', () => {
    const [first = ''] = Object.keys(all('product'));
    const mixed = { ...all('product'), [first]: all('convolution')[first]! };
    const hashes = [mixed, mixed, undefined].map((table) => passWith(table, precision).hash);
    expect(hashes[1]).toBe(hashes[0]);
    expect(hashes[2]).not.toBe(hashes[0]);
  });
});
