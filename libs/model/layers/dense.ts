// Owns: the fully connected layer's forward and gradients, in float32 whatever the net's precision.
// Refuses to know: loss and pooling.

import { biasAdd, biasAddGrad, matMul } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';

/** x [n, inputs] times weight [inputs, outputs] plus bias [outputs]; borrows all three. */
export function dense(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const product = matMul(x, weight, false, false);
  const output = biasAdd(product, bias);
  product.dispose();
  return output;
}

export interface DenseGradients {
  readonly input: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/** Borrows everything; the three gradients are the caller's. */
export function denseGradients(gradient: Tensor, x: Tensor, weight: Tensor): DenseGradients {
  return {
    bias: biasAddGrad(gradient),
    weight: matMul(x, gradient, true, false),
    input: matMul(gradient, weight, false, true),
  };
}
