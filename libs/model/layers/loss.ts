// Owns: softmax cross-entropy, its gradient, and the counting of hits among the highest scores.
// Refuses to know: the net that made the logits.

import { multiply, softmaxCrossEntropy, sparseSoftmaxCrossEntropy } from '../tensorflow/kernels.js';
import { Tensor } from '../tensorflow/tensor.js';

export interface LossResult {
  /** Sum of the samples' losses, in natural units (nats). */
  readonly lossSum: number;
  /** Samples whose label has the highest, or one of the five highest, scores. */
  readonly top1Hits: number;
  readonly top5Hits: number;
}

/**
 * Loss and hits of logits [n, classes] in float32 (borrowed) and, with a scale, the gradient of (sum of losses) * scale.
 * With smoothing s the target of a sample is 1 - s on its label plus s / classes everywhere (Szegedy et al. 2016).
 * @throws RangeError on a label that is no class: kernels differ in what they make of it
 */
export function crossEntropy(
  logits: Tensor,
  labels: Int32Array,
  labelSmoothing: number,
  scale: number | undefined,
): { result: LossResult; gradient: Tensor | undefined } {
  checkLabels(labels, logits.shape[1] ?? 0);
  const [losses, slope] = labelSmoothing > 0 ? smoothed(logits, labels, labelSmoothing) : sparse(logits, labels);
  const values = losses.readFloat32();
  losses.dispose();
  let lossSum = 0;
  for (const value of values) lossSum += value;
  const result = { lossSum, ...countHits(logits.readFloat32(), labels) };
  let gradient: Tensor | undefined;
  if (scale !== undefined) {
    const factor = Tensor.of(Float32Array.of(scale), []);
    gradient = multiply(slope, factor);
    factor.dispose();
  }
  slope.dispose();
  return { result, gradient };
}

function checkLabels(labels: Int32Array, classes: number): void {
  for (const [sample, label] of labels.entries()) {
    if (label < 0 || label >= classes) {
      throw new RangeError(`label ${label} of sample ${sample} is not one of ${classes} classes`);
    }
  }
}

function sparse(logits: Tensor, labels: Int32Array): [losses: Tensor, slope: Tensor] {
  const labelTensor = Tensor.of(labels, [labels.length]);
  const outputs = sparseSoftmaxCrossEntropy(logits, labelTensor);
  labelTensor.dispose();
  return outputs as [Tensor, Tensor];
}

function smoothed(logits: Tensor, labels: Int32Array, smoothing: number): [losses: Tensor, slope: Tensor] {
  const classes = logits.shape[1] ?? 0;
  const targets = new Float32Array(labels.length * classes).fill(smoothing / classes);
  for (const [sample, label] of labels.entries())
    targets[sample * classes + label] = 1 - smoothing + smoothing / classes;
  const targetTensor = Tensor.of(targets, [labels.length, classes]);
  const outputs = softmaxCrossEntropy(logits, targetTensor);
  targetTensor.dispose();
  return outputs as [Tensor, Tensor];
}

/** Of equal scores the lower index ranks first; a score that is not a number makes its sample a miss. */
export function countHits(scores: Float32Array, labels: Int32Array): { top1Hits: number; top5Hits: number } {
  const classes = labels.length === 0 ? 0 : scores.length / labels.length;
  let top1Hits = 0;
  let top5Hits = 0;
  for (let sample = 0; sample < labels.length; sample++) {
    const label = labels[sample] ?? 0;
    const row = sample * classes;
    const own = scores[row + label] ?? NaN;
    let better = 0;
    for (let index = 0; index < classes; index++) {
      const other = scores[row + index] ?? NaN;
      if (!(index < label ? other < own : other <= own)) better += 1;
    }
    if (better < 1) top1Hits += 1;
    if (better < 5) top5Hits += 1;
  }
  return { top1Hits, top5Hits };
}
