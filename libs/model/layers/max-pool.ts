// Owns: the stem's max pool: 3x3, stride 2, one pixel of padding that never wins; by our own kernels on processors, by
// TensorFlow's on other devices. Refuses to know: the rest of the net.

import { addon } from '../tensorflow/addon.js';
import { lockstepMaxPool, lockstepMaxPoolGrad } from '../tensorflow/lockstep-kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { composedMaxPool } from './max-pool-composed.js';
import type { Lent } from './lent.js';
import type { SplitGradient } from './split-gradient.js';

/** A forward pass of the pool. The output is the caller's, and must not be disposed before `backward`. */
export interface PooledPass {
  readonly output: Tensor;
  /** Consumes the gradient and what the pass kept; returns the gradient of the input. */
  backward(gradient: SplitGradient): Tensor;
  /** Frees what the pass kept, where there is no backward. */
  dispose(): void;
}

export interface MaxPoolRoute {
  /** Whether `backward` reads x, so that it must not be disposed before. */
  readonly keepsInput: boolean;
  /** Borrows x. @param notNegative whether x has no value below zero */
  forward(x: Tensor, notNegative: boolean): PooledPass;
}

export const fusedMaxPool: MaxPoolRoute = {
  keepsInput: false,

  forward(x) {
    const [output, places] = lockstepMaxPool(x) as [Tensor, Tensor];
    const inputShape = x.shape;
    return {
      output,
      dispose: () => places.dispose(),
      backward({ main, addend }) {
        const input = lockstepMaxPoolGrad(main, addend, places, inputShape);
        for (const tensor of [main, addend, places]) tensor?.dispose();
        return input;
      },
    };
  },
};

let chosen: MaxPoolRoute | undefined;

function maxPool(): MaxPoolRoute {
  chosen ??= addon().isUsingGpuDevice() ? composedMaxPool : fusedMaxPool;
  return chosen;
}

export class StemMaxPool implements Lent {
  #pass: PooledPass | undefined;

  /** @param notNegative whether x has no value below zero */
  constructor(private readonly notNegative: boolean) {}

  /** Whether what forward reads must be kept for backward. */
  get keepsInput(): boolean {
    return maxPool().keepsInput;
  }

  /** Borrows x. In training the pool owns what it returns, else the caller does. */
  forward(x: Tensor, training: boolean): Tensor {
    const pass = maxPool().forward(x, this.notNegative);
    if (training) this.#pass = pass;
    else pass.dispose();
    return pass.output;
  }

  lend(): Tensor {
    return this.#passed().output;
  }

  giveBack(): void {}

  /** Consumes the gradient and the trace of the last forward. */
  backward(gradient: SplitGradient): Tensor {
    const pass = this.#passed();
    this.#pass = undefined;
    const input = pass.backward(gradient);
    pass.output.dispose();
    return input;
  }

  #passed(): PooledPass {
    if (this.#pass === undefined) throw new Error('max pool: backward without a forward pass in training');
    return this.#pass;
  }
}
