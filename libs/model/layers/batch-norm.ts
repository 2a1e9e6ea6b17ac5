// Owns: batch normalisation (Ioffe and Szegedy 2015, algorithm 1) with torch's conventions: epsilon 1e-5, variance biased
// inside and unbiased in what is reported, together with the addition and the rectifier behind it. Refuses to know: running
// averages (the reducer keeps those), and how the kernels do it: our own on processors, TensorFlow's on other devices.

import { addon } from '../tensorflow/addon.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { composedBatchNorm } from './batch-norm-composed.js';
import { fusedBatchNorm } from './batch-norm-fused.js';
import type { SplitGradient } from './split-gradient.js';

export const BATCH_NORM_EPSILON = 1e-5;

/** What follows the normalisation, in this order. */
export interface Aftermath {
  /** Added; borrowed. */
  readonly residual: Tensor | undefined;
  readonly rectify: boolean;
}

/** What one training pass leaves behind, owned by the caller. */
export interface BatchNormTrace {
  /** [channels] float32; the variance is unbiased, as torch averages it. */
  readonly batchMean: Tensor;
  readonly batchVariance: Tensor;
  /** What the gradient kernel wants to see again. */
  readonly reserves: readonly Tensor[];
}

export interface BatchNormGradients {
  readonly input: Tensor;
  readonly gamma: Tensor;
  readonly beta: Tensor;
  /** The residual's, where there was one. */
  readonly residual: Tensor | undefined;
}

/** What of a forward pass the gradient depends on; all of it is borrowed, but for the trace's reserves. */
export interface NormalisedPass {
  readonly x: Tensor;
  readonly gamma: Tensor;
  readonly beta: Tensor;
  readonly trace: BatchNormTrace;
  readonly rectified: boolean;
  /** What the pass gave. With `normaliseAgain` it is wanted only where it was rectified with a residual. */
  readonly output: Tensor | undefined;
  readonly hadResidual: boolean;
}

export interface BatchNormRoute {
  /** x [n, h, w, channels] (borrowed) is normalised over n, h, w with the batch's own statistics. */
  normalise(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: number,
    after: Aftermath,
  ): { output: Tensor; trace: BatchNormTrace };
  /**
   * The output of a pass again, bit by bit, so that it need not be kept; all is borrowed. Not there where the gradient wants the
   * output anyway.
   */
  readonly normaliseAgain?: (x: Tensor, gamma: Tensor, beta: Tensor, trace: BatchNormTrace, after: Aftermath) => Tensor;
  /** Consumes the gradient of the output. Frees the trace's reserves; the batch statistics stay the caller's. */
  gradients(gradient: SplitGradient, pass: NormalisedPass, epsilon: number): BatchNormGradients;
  /** Normalises with running statistics, for evaluation; consumes x. */
  normaliseRunning(
    x: Tensor,
    parameters: readonly [gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor],
    epsilon: number,
    after: Aftermath,
  ): Tensor;
}

let chosen: BatchNormRoute | undefined;

/** The same for the whole process: which kernels run decides bits. */
export function batchNorm(): BatchNormRoute {
  chosen ??= addon().isUsingGpuDevice() ? composedBatchNorm : fusedBatchNorm;
  return chosen;
}
