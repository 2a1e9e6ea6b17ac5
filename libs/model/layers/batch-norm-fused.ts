// Owns: batch norm by our own kernels, which add and rectify on the way (libs/model/native/batch_norm.cc).
// Refuses to know: devices that these kernels do not run on.

import {
  lockstepBatchNorm,
  lockstepBatchNormGrad,
  lockstepNormalise,
  lockstepNormaliseAgain,
} from '../tensorflow/lockstep-kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import type { BatchNormRoute } from './batch-norm.js';

export const fusedBatchNorm: BatchNormRoute = {
  normalise(x, gamma, beta, epsilon, { residual, rectify }) {
    const outputs = lockstepBatchNorm(x, gamma, beta, residual, epsilon, rectify);
    const [output, batchMean, batchVariance, inverseDeviation] = outputs as [Tensor, Tensor, Tensor, Tensor];
    return { output, trace: { batchMean, batchVariance, reserves: [inverseDeviation] } };
  },

  normaliseAgain(x, gamma, beta, { batchMean, reserves }, { residual, rectify }) {
    const [inverseDeviation] = reserves as [Tensor];
    return lockstepNormaliseAgain(x, [gamma, beta, batchMean, inverseDeviation], residual, rectify);
  },

  gradients({ main, addend }, { x, gamma, beta, trace, rectified, output, hadResidual }) {
    const [inverseDeviation] = trace.reserves as [Tensor];
    const outputs = lockstepBatchNormGrad(main, addend, x, [gamma, beta, trace.batchMean, inverseDeviation], {
      rectified,
      output,
      hadResidual,
    });
    const [input, gammaGradient, betaGradient, residual] = outputs as [Tensor, Tensor, Tensor, Tensor | undefined];
    main.dispose();
    addend?.dispose();
    inverseDeviation.dispose();
    return { input, gamma: gammaGradient, beta: betaGradient, residual };
  },

  normaliseRunning(x, parameters, epsilon, { residual, rectify }) {
    const output = lockstepNormalise(x, parameters, residual, epsilon, rectify);
    x.dispose();
    return output;
  },
};
