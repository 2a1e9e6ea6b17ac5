// Owns: batch norm by TensorFlow's kernels, one after the other: for devices that our own kernels do not run on.
// Refuses to know: when it is used (batch-norm.ts chooses).

import { addV2, fusedBatchNorm, fusedBatchNormGrad, relu, reluGrad } from '../tensorflow/kernels.js';
import { constant, Tensor } from '../tensorflow/tensor.js';
import type { Aftermath, BatchNormRoute } from './batch-norm.js';
import { joined } from './split-gradient.js';

export const composedBatchNorm: BatchNormRoute = {
  normalise(x, gamma, beta, epsilon, after) {
    const none = constant('empty', () => Tensor.of(new Float32Array(0), [0]));
    const outputs = fusedBatchNorm(x, gamma, beta, none, none, epsilon, true);
    const [normalised, batchMean, batchVariance, ...reserves] = outputs as [Tensor, Tensor, Tensor, ...Tensor[]];
    return { output: finish(normalised, after), trace: { batchMean, batchVariance, reserves } };
  },

  gradients(gradient, { x, gamma, trace, rectified, output, hadResidual }, epsilon) {
    let current = joined(gradient);
    if (rectified) {
      if (output === undefined) throw new Error('the gradient of a rectifier wants its output');
      current = replaced(current, reluGrad(current, output));
    }
    const outputs = fusedBatchNormGrad(current, x, gamma, trace.reserves, epsilon);
    const [input, gammaGradient, betaGradient, ...unused] = outputs as [Tensor, Tensor, Tensor, ...Tensor[]];
    for (const tensor of [...unused, ...trace.reserves]) tensor.dispose();
    if (!hadResidual) current.dispose();
    return { input, gamma: gammaGradient, beta: betaGradient, residual: hadResidual ? current : undefined };
  },

  normaliseRunning(x, [gamma, beta, mean, variance], epsilon, after) {
    const outputs = fusedBatchNorm(x, gamma, beta, mean, variance, epsilon, false);
    const [normalised, ...unused] = outputs as [Tensor, ...Tensor[]];
    for (const tensor of [x, ...unused]) tensor.dispose();
    return finish(normalised, after);
  },
};

/** Consumes x. */
function finish(x: Tensor, { residual, rectify }: Aftermath): Tensor {
  const sum = residual === undefined ? x : replaced(x, addV2(x, residual));
  return rectify ? replaced(sum, relu(sum)) : sum;
}

function replaced(old: Tensor, next: Tensor): Tensor {
  old.dispose();
  return next;
}
