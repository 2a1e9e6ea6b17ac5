// Owns: loss and hits over all test images, cut and added up as evaluation tasks are, so that the bits are the system's.
// Refuses to know: when evaluation happens, and who else evaluates.

import type { Dataset } from './datasets/dataset.js';
import type { LossResult } from './layers/loss.js';
import type { Network } from './network.js';
import { shardsOf } from './reduction.js';

export interface EvaluationResult extends LossResult {
  readonly samples: number;
}

/** Shards of test images that one evaluation task has. */
export const EVALUATION_SHARDS_PER_TASK = 4;

/**
 * Evaluates all test images with the net's running statistics, shard by shard: each task's loss is the sum of its shards',
 * the whole loss that of the tasks', both in order.
 */
export async function evaluateAll(network: Network, dataset: Dataset, shardSize: number): Promise<EvaluationResult> {
  const pixels = dataset.imageShape.reduce((product, side) => product * side, 1);
  const shards = shardsOf(dataset.testCount, shardSize);
  let total = noSamples;
  for (let first = 0; first < shards.length; first += EVALUATION_SHARDS_PER_TASK) {
    let task = noSamples;
    for (const shard of shards.slice(first, first + EVALUATION_SHARDS_PER_TASK)) {
      const images = new Float32Array(shard.count * pixels);
      const labels = new Int32Array(shard.count);
      await dataset.prepareTest(shard.first, shard.count, images, labels);
      task = sum(task, { samples: shard.count, ...network.evaluate(images, labels) });
    }
    total = sum(total, task);
  }
  return total;
}

const noSamples: EvaluationResult = { samples: 0, lossSum: 0, top1Hits: 0, top5Hits: 0 };

function sum(a: EvaluationResult, b: EvaluationResult): EvaluationResult {
  return {
    samples: a.samples + b.samples,
    lossSum: a.lossSum + b.lossSum,
    top1Hits: a.top1Hits + b.top1Hits,
    top5Hits: a.top5Hits + b.top5Hits,
  };
}
