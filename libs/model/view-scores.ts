// Owns: scores averaged over several views and several nets: the mean of their softmax outputs, its loss and hits.
// Refuses to know: where views come from, and single views of one net (network.ts has those).
import type { ViewGroup } from './evaluation-views.js';
import { countHits } from './layers/loss.js';
import type { EvaluatedBatch, Network } from './network.js';

/** The nets' mean scores of a batch, each image seen once. @param images [n, side, side, channels] */
export function evaluateEnsemble(
  networks: readonly Network[],
  images: Float32Array,
  labels: Int32Array,
): EvaluatedBatch {
  const sums = new ScoreSums(labels.length);
  for (const network of networks) {
    const logits = network.predict(images, labels.length);
    const classes = logits.length / labels.length;
    for (let row = 0; row < labels.length; row++) sums.add(row, logits.subarray(row * classes, (row + 1) * classes));
  }
  return sums.judged(labels);
}

/**
 * The nets' mean scores over all views of each sample.
 *
 * @param pixels the samples' views, one after the other without holes
 * @param views of each sample
 */
export function evaluateViews(
  networks: readonly Network[],
  pixels: Float32Array,
  views: readonly (readonly ViewGroup[])[],
  labels: Int32Array,
): EvaluatedBatch {
  const sums = new ScoreSums(labels.length);
  let at = 0;
  for (const [sample, groups] of views.entries()) {
    for (const { height, width, count } of groups) {
      const end = at + count * height * width * CHANNELS;
      const seen = pixels.subarray(at, end);
      for (const network of networks) {
        const logits = network.predict(seen, count, { height, width });
        const classes = logits.length / count;
        for (let view = 0; view < count; view++)
          sums.add(sample, logits.subarray(view * classes, (view + 1) * classes));
      }
      at = end;
    }
  }
  return sums.judged(labels);
}

const CHANNELS = 3;

/** Softmax, in float64 and with the largest logit taken off first. */
export function softmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const shares = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

/** Sums of softmax outputs by sample; every one of a sample counts alike. */
class ScoreSums {
  readonly #sums: (Float64Array | undefined)[];
  readonly #counts: Uint32Array;

  constructor(samples: number) {
    this.#sums = Array.from({ length: samples });
    this.#counts = new Uint32Array(samples);
  }

  add(sample: number, logits: Float32Array): void {
    const shares = softmax(logits);
    const sum = this.#sums[sample];
    this.#counts[sample]! += 1;
    if (sum === undefined) this.#sums[sample] = shares;
    else for (let index = 0; index < sum.length; index++) sum[index]! += shares[index]!;
  }

  judged(labels: Int32Array): EvaluatedBatch {
    const classes = this.#sums[0]?.length ?? 0;
    const scores = new Float32Array(labels.length * classes);
    let lossSum = 0;
    for (const [sample, sum] of this.#sums.entries()) {
      if (sum === undefined) throw new RangeError(`sample ${sample} has no views`);
      const mean = sum.map((share) => share / this.#counts[sample]!);
      scores.set(mean, sample * classes);
      // A share that underflows to 0 is the smallest there is, not an infinite loss.
      lossSum -= Math.log(Math.max(mean[labels[sample]!]!, Number.MIN_VALUE));
    }
    return { lossSum, ...countHits(scores, labels), scores };
  }
}
