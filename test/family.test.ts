// The bits do not depend on who computed them, for the bottleneck nets too: resnet50 at 64x64 with one worker, three workers and
// a plain loop in one process, in both precisions, with the options of training that change the update.
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
