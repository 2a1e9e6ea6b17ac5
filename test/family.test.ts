// The bits do not depend on who computed them, for the bottleneck nets too: resnet50 at 64x64 with one worker, three workers and
// a plain loop in one process, in both precisions, with the options of training that change the update; and a plateau schedule.
import { describe, expect, it } from 'vitest';
import { hashesOf } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { startSystem } from './support/system.js';

const specOf = (precision: string): object => ({
  model: { architecture: 'resnet50', zeroLastGamma: true },
  dataset: { kind: 'synthetic', size: 40, testSize: 10, classes: 10, imageSize: 64 },
  training: {
    steps: 3,
    batchSize: 16,
    shardSize: 4,
    precision,
    // What is measured may differ from system to system: test/kernels.test.ts.
    kernels: 'fixed',
    labelSmoothing: 0.1,
    optimizer: { nesterov: true, decayBatchNorm: false, clipNorm: 1 },
    schedule: { kind: 'cosine', learningRate: 0.02, warmupEpochs: 0.5 },
  },
  evaluation: { everyEpochs: 0 },
  checkpoint: { everySteps: 0 },
});

describe.each(['float32', 'bfloat16'])('resnet50 in %s', (precision) => {
  it('ends with the same bits for one worker, three workers and a plain loop', async () => {
    const spec = specOf(precision);
    const plain = hashesOf(await trainPlainly(spec));
    for (const workers of [1, 3]) {
      const system = await startSystem({ workers });
      expect(hashesOf(await system.train(spec)), `${workers} workers`).toEqual(plain);
      await system.stop();
    }
  }, 240_000);
});

it('a plateau schedule lowers the rate at the same steps, and so ends with the same bits', async () => {
  const spec = {
    model: { architecture: 'resnet8' },
    dataset: { kind: 'synthetic', size: 90, testSize: 40, classes: 10, imageSize: 32 },
    training: {
      epochs: 6,
      batchSize: 32,
      shardSize: 8,
      schedule: { kind: 'plateau', learningRate: 0.4, patience: 1, threshold: 0.2, gamma: 0.5 },
    },
    checkpoint: { everySteps: 4 },
  };
  const plain = await trainPlainly(spec);
  const system = await startSystem({ workers: 2 });
  const job = await system.train(spec);
  expect(hashesOf(job)).toEqual(hashesOf(plain));
  const series = await system.api.metrics(job.id, '?series=learning_rate,gradient/norm/conv1,update/ratio/fc');
  const rates = new Set(series['learning_rate']?.map(([, rate]) => rate));
  expect(rates.size).toBeGreaterThan(1);
  for (const name of ['gradient/norm/conv1', 'update/ratio/fc']) {
    expect(series[name]).toHaveLength(plain.steps);
    expect(series[name]?.every(([, value]) => value > 0)).toBe(true);
  }
});
