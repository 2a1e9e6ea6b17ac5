// Owns: the activations, each with a gradient that needs its output only, so that no input is kept for backward.
// Refuses to know: where in a net they stand.

import type { ModelSpec } from '../job-spec.js';
import {
  leakyRelu,
  leakyReluGrad,
  relu,
  reluGrad,
  sigmoid,
  sigmoidGrad,
  tanh,
  tanhGrad,
} from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';

export type Activation = ModelSpec['activation'];

/** torch's default slope of the leaky rectifier left of zero. */
export const LEAKY_SLOPE = 0.01;

interface ActivationKernels {
  forward(x: Tensor): Tensor;
  /** `y` is what forward returned. */
  backward(gradient: Tensor, y: Tensor): Tensor;
  /** Outputs are never below zero, so zero padding cannot win a max pool. */
  readonly notNegative: boolean;
}

const KERNELS: Readonly<Record<Activation, ActivationKernels>> = {
  relu: { forward: relu, backward: reluGrad, notNegative: true },
  leaky_relu: {
    forward: (x) => leakyRelu(x, LEAKY_SLOPE),
    backward: (gradient, y) => leakyReluGrad(gradient, y, LEAKY_SLOPE),
    notNegative: false,
  },
  sigmoid: { forward: sigmoid, backward: sigmoidGrad, notNegative: true },
  tanh: { forward: tanh, backward: tanhGrad, notNegative: false },
};

export function activate(kind: Activation, x: Tensor): Tensor {
  return KERNELS[kind].forward(x);
}

/** Gradient with respect to the activation's input, from the gradient and the activation's output `y`. */
export function activationGradient(kind: Activation, gradient: Tensor, y: Tensor): Tensor {
  return KERNELS[kind].backward(gradient, y);
}

export function isNotNegative(kind: Activation): boolean {
  return KERNELS[kind].notNegative;
}
