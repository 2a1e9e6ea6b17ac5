import { describe, expect, it } from 'vitest';
import { randomBatch, randomParameters, roundedForm } from '../../test/support/networks.js';
import { peakBytes } from '../../test/support/tensor-bytes.js';
import { peakTensorBytes } from './device-memory.js';
import { resolveJobSpec } from './job-spec.js';
import type { JobSpec, ModelSpec } from './job-spec.js';
import { estimateCoordinatorMemory, estimateWorkerMemory, memoryProblem } from './memory.js';
import { Network } from './network.js';
import type { Precision } from './network.js';

function specOf(architecture: string, training: object = {}): JobSpec {
  return resolveJobSpec({
    model: { architecture },
    dataset: { kind: 'synthetic', size: 1024, classes: 1000, imageSize: 224 },
    training: { batchSize: 64, shardSize: 8, ...training },
  });
}
const bytesOf = (architecture: string, training?: object): number =>
  estimateWorkerMemory(specOf(architecture, training));

describe('the estimate of a worker', () => {
  it('grows with the shard, the depth and the width of numbers', () => {
    expect(bytesOf('resnet152')).toBeGreaterThan(bytesOf('resnet50'));
    expect(bytesOf('resnet50', { shardSize: 16 })).toBeGreaterThan(bytesOf('resnet50'));
    expect(bytesOf('resnet50', { precision: 'bfloat16' })).toBeLessThan(bytesOf('resnet50'));
    expect(bytesOf('resnet50', { shardsPerTask: 4 })).toBeGreaterThan(bytesOf('resnet50', { shardsPerTask: 2 }));
  });

  it.each<[string, number, Precision, Partial<ModelSpec>]>([
    ['resnet50', 8, 'float32', {}],
    ['resnet50', 8, 'bfloat16', {}],
    ['resnet50-v1.5', 8, 'float32', { shortcut: 'C' }],
    ['resnet50', 8, 'float32', { batchNorm: false }],
    ['resnet50', 8, 'float32', { activation: 'leaky_relu' }],
    ['plain34', 8, 'float32', {}],
    ['resnet18', 16, 'bfloat16', { shortcut: 'A' }],
    ['resnet20', 64, 'float32', { imageSize: 32 }],
  ])('replays what a pass of %s on %i images in %s allocates, %o', (architecture, samples, precision, changes) => {
    const model = { ...specOf(architecture).model, imageSize: 96, classes: 10, ...changes };
    const network = Network.create(model, precision);
    const { parameters, statistics } = randomParameters(network, model);
    const { images, labels } = randomBatch(samples, model.imageSize, model.classes);
    const exactly = { parameters, exact: new Float32Array(0) };
    const { bits, exact } = roundedForm(network, parameters);
    const form = precision === 'float32' ? exactly : { parameters: bits, exact };
    const counted = peakBytes(() => {
      network.lendParameters({ ...form, statistics, wait: () => undefined });
      network.trainShard(images, labels, 1, { onGradient: () => undefined, onStatistics: () => undefined });
    });
    network.dispose();
    const replayed = peakTensorBytes(model, samples, precision) + (precision === 'float32' ? images.byteLength : 0);
    expect(Math.abs(replayed / counted - 1), `${replayed} of ${counted} bytes`).toBeLessThan(0.01);
  });

  // Counted the same way, at the size that admission meets.
  it.each([
    ['float32', 1319.5],
    ['bfloat16', 671.4],
  ] as const)('resnet152 with 8 images in %s: %f MiB of tensors', (precision, counted) => {
    const mebibytes = peakTensorBytes(specOf('resnet152').model, 8, precision) / 2 ** 20;
    expect(Math.abs(mebibytes / counted - 1)).toBeLessThan(0.01);
  });

  it.each(['A', 'B', 'C'] as const)('takes every form of the net, shortcut %s', (shortcut) => {
    for (const architecture of ['resnet8', 'plain8', 'resnet50-v1.5', 'plain50']) {
      for (const batchNorm of [true, false]) {
        const model = { ...specOf(architecture).model, shortcut, batchNorm };
        const bytes = peakTensorBytes(model, 4, 'float32');
        expect(Number.isSafeInteger(bytes)).toBe(true);
        expect(peakTensorBytes(model, 8, 'float32')).toBeGreaterThan(bytes);
      }
    }
  });
});

it('the coordinator needs its versions, the tree and what is staged', () => {
  const spec = specOf('resnet152', { precision: 'bfloat16' });
  const parameters = 60_192_808;
  const bytes = (tasks: number, staging: number): number => estimateCoordinatorMemory(spec, tasks, staging);
  expect(bytes(1, 0)).toBeGreaterThan(3 * 8 * parameters);
  expect(bytes(8, 0) - bytes(1, 0)).toBeGreaterThanOrEqual(3 * 4 * parameters);
  expect(bytes(8, 1e12) - bytes(8, 0)).toBeCloseTo(7 * 2 * parameters, -7);
});

it('says what would help where memory is short', () => {
  expect(memoryProblem('A worker', 3e9, 4e9)).toBeUndefined();
  expect(memoryProblem('A worker', 3.51e9, 2e9)).toMatch(/3\.5 GB .* has 2\.0 GB: lower training\.shardSize/);
});
