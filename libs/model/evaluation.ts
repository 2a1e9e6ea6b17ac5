// Owns: loss and hits over a range of test images, in batches that fit memory.
// Refuses to know: when evaluation happens, and who else evaluates other ranges.

import type { Dataset } from './datasets/dataset.js';
import type { LossResult } from './layers/loss.js';
import type { Network } from './network.js';

export interface EvaluationResult extends LossResult {
  readonly samples: number;
}

/**
 * Evaluates test images [first, first + count) with the net's running statistics.
 * @param batchSize images per pass; results do not depend on it beyond rounding
 */
export async function evaluateRange(
  network: Network,
  dataset: Dataset,
  first: number,
  count: number,
  batchSize: number,
): Promise<EvaluationResult> {
  const pixels = dataset.imageShape.reduce((product, side) => product * side, 1);
  const total = { samples: 0, lossSum: 0, top1Hits: 0, top5Hits: 0 };
  for (let done = 0; done < count; done += batchSize) {
    const samples = Math.min(batchSize, count - done);
    const images = new Float32Array(samples * pixels);
    const labels = new Int32Array(samples);
    await dataset.prepareTest(first + done, samples, images, labels);
    const result = network.evaluate(images, labels);
    total.samples += samples;
    total.lossSum += result.lossSum;
    total.top1Hits += result.top1Hits;
    total.top5Hits += result.top5Hits;
  }
  return total;
}
