import { expect, test } from 'vitest';
import { resolveJobSpec } from '#model/job-spec.js';
import { best, type Measured, memoryOf, shardSizes, shardsPerTask, shares, stepRate, tasksOf } from './candidates.js';

const spec = resolveJobSpec({
  model: { architecture: 'resnet20' },
  dataset: { kind: 'synthetic', size: 1024, classes: 10, imageSize: 32 },
  training: { steps: 1, batchSize: 128, shardSize: 32 },
});
const setting = { workers: 2, threads: 1, shardSize: 32, shardsPerTask: 1 };

test('cores are shared evenly, from a worker per core to one with all', () => {
  expect(shares(1)).toEqual([{ workers: 1, threads: 1 }]);
  expect(shares(12)).toEqual([
    { workers: 12, threads: 1 },
    { workers: 6, threads: 2 },
    { workers: 3, threads: 4 },
    { workers: 1, threads: 12 },
  ]);
});

test('shards stay within the batch and leave every worker one', () => {
  expect(shardSizes(spec.training, 2)).toEqual([16, 64]);
  expect(shardSizes(spec.training, 1)).toEqual([16, 64, 128]);
  expect(shardSizes({ ...spec.training, shardSize: 2 }, 64)).toEqual([]);
});

test('tasks of several shards leave every worker one', () => {
  expect(shardsPerTask(spec.training, setting)).toEqual([2]);
  expect(shardsPerTask(spec.training, { ...setting, shardSize: 8 })).toEqual([2, 4, 8]);
  expect(shardsPerTask(spec.training, { ...setting, workers: 1, shardSize: 128 })).toEqual([]);
  expect(tasksOf(spec, { ...setting, shardSize: 24, shardsPerTask: 2 })).toBe(3);
});

test('a step’s rate counts rounds, so that three tasks on two workers take two', () => {
  const ideal = stepRate(spec, setting, 0.1);
  expect(ideal).toBeGreaterThan(0.95 * (128 / 0.2));
  expect(ideal).toBeLessThan(128 / 0.2);
  expect(stepRate(spec, { ...setting, shardSize: 48 }, 0.1)).toBeLessThan(128 / 0.2);
  // Twice the shards per task: half the gradients on the way.
  expect(stepRate(spec, { ...setting, shardsPerTask: 2 }, 0.2)).toBeGreaterThan(ideal);
});

test('more workers and larger shards need more memory', () => {
  expect(memoryOf(spec, { ...setting, workers: 4 })).toBeGreaterThan(memoryOf(spec, setting));
  expect(memoryOf(spec, { ...setting, shardSize: 64 })).toBeGreaterThan(memoryOf(spec, setting));
});

test('what is within the noise of the best gives way to what was there first', () => {
  const measured = (imagesPerSecond: number): Measured => ({
    ...setting,
    taskSeconds: 1,
    imagesPerSecond,
    workerBytes: 1,
  });
  expect(best([measured(99), measured(100), measured(98.5)])?.imagesPerSecond).toBe(99);
  expect(best([measured(90), measured(100)])?.imagesPerSecond).toBe(100);
  expect(best([])).toBeUndefined();
});
