// Owns: batch normalisation (Ioffe and Szegedy 2015, algorithm 1) with torch's conventions: epsilon 1e-5, variance biased
// inside and unbiased in what is reported. Refuses to know: running averages (the reducer keeps those).

import { fusedBatchNorm, fusedBatchNormGrad } from '../tensorflow/kernels.js';
import { constant, Tensor } from '../tensorflow/tensor.js';

export const BATCH_NORM_EPSILON = 1e-5;

/** What one training pass leaves behind, owned by the caller. */
export interface BatchNormTrace {
  /** [channels] float32; the variance is unbiased, as torch averages it. */
  readonly batchMean: Tensor;
  readonly batchVariance: Tensor;
  /** What the gradient kernel wants to see again. */
  readonly reserves: readonly Tensor[];
}

/** Normalises x [n, h, w, channels] over n, h, w with the batch's own statistics. */
export function normaliseBatch(x: Tensor, gamma: Tensor, beta: Tensor): { output: Tensor; trace: BatchNormTrace } {
  const none = constant('empty', () => Tensor.of(new Float32Array(0), [0]));
  const [output, batchMean, batchVariance, ...reserves] = fusedBatchNorm(
    x,
    gamma,
    beta,
    none,
    none,
    BATCH_NORM_EPSILON,
    true,
  ) as [Tensor, Tensor, Tensor, ...Tensor[]];
  return { output, trace: { batchMean, batchVariance, reserves } };
}

/** Normalises x with running statistics, for evaluation. */
export function normaliseRunning(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor): Tensor {
  const [output, ...rest] = fusedBatchNorm(x, gamma, beta, mean, variance, BATCH_NORM_EPSILON, false) as [
    Tensor,
    ...Tensor[],
  ];
  for (const tensor of rest) tensor.dispose();
  return output;
}

export interface BatchNormGradients {
  readonly input: Tensor;
  readonly gamma: Tensor;
  readonly beta: Tensor;
}

/** Frees the trace's reserves; the batch statistics stay the caller's. */
export function batchNormGradients(
  gradient: Tensor,
  x: Tensor,
  gamma: Tensor,
  trace: BatchNormTrace,
): BatchNormGradients {
  const outputs = fusedBatchNormGrad(gradient, x, gamma, trace.reserves, BATCH_NORM_EPSILON);
  const [input, gammaGradient, betaGradient, ...unused] = outputs as [Tensor, Tensor, Tensor, ...Tensor[]];
  for (const tensor of unused) tensor.dispose();
  for (const tensor of trace.reserves) tensor.dispose();
  return { input, gamma: gammaGradient, beta: betaGradient };
}
