// Owns: the three shortcuts of the paper (section 3.3): identity, A (subsampled, zero channels added), projection (B, C).
// Refuses to know: the main path beside it.

import type { KernelRule } from '../kernel-table.js';
import type { ShortcutPlan } from '../resnet.js';
import { pad, slice } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { ConvolutionUnit } from './convolution-unit.js';
import type { Lent } from './lent.js';
import type { GradientSink, ParameterSource } from './sink.js';
import { whole } from './split-gradient.js';
import { spreadOut, thin } from './thinning.js';

export interface Shortcut {
  /** Borrows x. Returns x itself or a new tensor, which is then the caller's. */
  forward(x: Tensor, training: boolean): Tensor;
  /** Consumes the gradient of the sum and returns that of the input. @param x what forward read */
  backward(gradient: Tensor, x: Lent, sink: GradientSink): Tensor;
  reportStatistics(sink: GradientSink): void;
}

/** Undefined for plain nets, which have none. */
export function shortcutOf(plan: ShortcutPlan, source: ParameterSource, rule: KernelRule): Shortcut | undefined {
  switch (plan.kind) {
    case 'none':
      return undefined;
    case 'identity':
      return identity;
    case 'subsample':
      return new Subsample(plan.stride, plan.inputs, plan.outputs);
    case 'projection':
      return new Projection(new ConvolutionUnit(plan.convolution, undefined, source, rule));
  }
}

const identity: Shortcut = {
  forward: (x) => x,
  backward: (gradient) => gradient,
  reportStatistics: () => undefined,
};

class Projection implements Shortcut {
  constructor(private readonly unit: ConvolutionUnit) {}

  forward(x: Tensor, training: boolean): Tensor {
    return this.unit.forward(x, training);
  }

  backward(gradient: Tensor, x: Lent, sink: GradientSink): Tensor {
    return this.unit.backward(whole(gradient), x, sink);
  }

  reportStatistics(sink: GradientSink): void {
    this.unit.reportStatistics(sink);
  }
}

/** Every stride-th row and column; the channels that the input does not have are zero. */
class Subsample implements Shortcut {
  #inputShape: readonly number[] = [];

  constructor(
    private readonly stride: number,
    private readonly inputs: number,
    private readonly outputs: number,
  ) {}

  forward(x: Tensor): Tensor {
    this.#inputShape = x.shape;
    const thinned = this.stride === 1 ? x : thin(x, this.stride);
    if (this.outputs === this.inputs) return thinned;
    const widened = pad(thinned, [...UNPADDED, [0, this.outputs - this.inputs]]);
    if (thinned !== x) thinned.dispose();
    return widened;
  }

  backward(gradient: Tensor): Tensor {
    const narrow = [...gradient.shape.slice(0, 3), this.inputs];
    const narrowed = this.outputs === this.inputs ? gradient : slice(gradient, [0, 0, 0, 0], narrow);
    if (narrowed !== gradient) gradient.dispose();
    if (this.stride === 1) return narrowed;
    const spread = spreadOut(narrowed, this.#inputShape, this.stride);
    narrowed.dispose();
    return spread;
  }

  reportStatistics(): void {}
}

const UNPADDED: readonly (readonly [number, number])[] = [
  [0, 0],
  [0, 0],
  [0, 0],
];
