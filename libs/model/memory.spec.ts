import { describe, expect, it } from 'vitest';
import { peakTensorBytes } from './device-memory.js';
import { resolveJobSpec } from './job-spec.js';
import type { JobSpec } from './job-spec.js';
import { estimateCoordinatorMemory, estimateWorkerMemory, memoryProblem } from './memory.js';

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

  // Bytes of live tensors that the addon's own tensors came to, counted once while the layers ran.
  it.each([
    ['resnet50', 8, 'bfloat16', 381.4],
    ['resnet152', 8, 'float32', 1571.4],
    ['resnet152', 8, 'bfloat16', 797.7],
    ['plain34', 8, 'float32', 332.1],
    ['resnet18', 16, 'bfloat16', 206.8],
  ] as const)('%s, %i images, %s: %f MiB of tensors', (architecture, samples, precision, counted) => {
    const mebibytes = peakTensorBytes(specOf(architecture).model, samples, precision) / 2 ** 20;
    expect(Math.abs(mebibytes / counted - 1)).toBeLessThan(0.02);
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
