// Owns: what a backward pass reports to, and the store from which layers take their parameters.
// Refuses to know: what becomes of a gradient, and how parameters are uploaded.

import type { TensorEntry } from '../parameters.js';
import type { Tensor } from '../tensorflow/tensor.js';

export interface GradientSink {
  /**
   * Called once per parameter, from the layout's last entry to its first, the moment its gradient exists. The tensor
   * (float32, or bfloat16 for filters in that precision) is valid during the call only; the net disposes it.
   */
  onGradient(entry: TensorEntry, gradient: Tensor): void;
  /** Called once per entry of the layout's statistics, in their order, after the last gradient. */
  onStatistics(entry: TensorEntry, values: Float32Array): void;
}

/** Parameters and running statistics on the device, by torchvision's names. Tensors are lent, never given. */
export interface ParameterSource {
  entry(name: string): TensorEntry;
  tensor(entry: TensorEntry): Tensor;
}

/** Hands a gradient out and disposes it. */
export function emit(sink: GradientSink, entry: TensorEntry, gradient: Tensor): void {
  sink.onGradient(entry, gradient);
  gradient.dispose();
}
