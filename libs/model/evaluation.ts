// Owns: loss and hits over all test images, cut and added up as evaluation tasks are, so that the bits are the system's.
// Refuses to know: when evaluation happens, and who else evaluates.

import type { Dataset } from './datasets/dataset.js';
import type { LossResult } from './layers/loss.js';
import { type EvaluationViews, isSingleView, viewElements } from './evaluation-views.js';
import type { EvaluatedBatch, Network } from './network.js';
import { shardsOf, type Shard } from './reduction.js';
import { evaluateEnsemble, evaluateViews } from './view-scores.js';

export interface EvaluationResult extends LossResult {
  readonly samples: number;
}

/** Shards of test images that one evaluation task has. */
export const EVALUATION_SHARDS_PER_TASK = 4;

export interface EvaluationOptions {
  /** Samples that are computed at once. */
  readonly shardSize: number;
  /** @default the middle of each image */
  readonly views?: EvaluationViews;
  /** Told of every shard's scores [n, classes], for figures beside loss and hits. */
  readonly onShard?: (labels: Int32Array, scores: Float32Array) => void;
}

/**
 * Evaluates all test images with running statistics, shard by shard: each task's loss is the sum of its shards', the whole
 * loss that of the tasks', both in order. Several nets are judged by the mean of their softmax outputs.
 */
export async function evaluateAll(
  networks: readonly Network[],
  dataset: Dataset,
  { shardSize, views, onShard }: EvaluationOptions,
): Promise<EvaluationResult> {
  const shards = shardsOf(dataset.testCount, shardSize);
  let total = noSamples;
  for (let first = 0; first < shards.length; first += EVALUATION_SHARDS_PER_TASK) {
    let task = noSamples;
    for (const shard of shards.slice(first, first + EVALUATION_SHARDS_PER_TASK)) {
      const labels = new Int32Array(shard.count);
      const batch = await evaluateShard(networks, dataset, shard, views, labels);
      onShard?.(labels, batch.scores);
      task = sum(task, { samples: shard.count, ...batch });
    }
    total = sum(total, task);
  }
  return total;
}

async function evaluateShard(
  networks: readonly Network[],
  dataset: Dataset,
  { first, count }: Shard,
  views: EvaluationViews | undefined,
  labels: Int32Array,
): Promise<EvaluatedBatch> {
  const [height, width, channels] = dataset.imageShape;
  if (views !== undefined && !isSingleView(views)) {
    const pixels = new Float32Array(count * viewElements(views, height));
    const groups = await dataset.prepareTestViews(views, first, count, pixels, labels);
    return evaluateViews(networks, pixels, groups, labels);
  }
  const images = new Float32Array(count * height * width * channels);
  await dataset.prepareTest(first, count, images, labels);
  const [network] = networks;
  return networks.length === 1 ? network!.evaluate(images, labels) : evaluateEnsemble(networks, images, labels);
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
