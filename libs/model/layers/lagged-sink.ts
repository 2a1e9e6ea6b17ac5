// Owns: handing gradients on some tensors later than backward made them, in the same order.
// Refuses to know: when that is worth it, and what becomes of them.

import type { TensorEntry } from '../parameters.js';
import { identity } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import type { GradientSink } from './sink.js';

/**
 * A sink that keeps the newest `lag` gradients. On a GPU kernels are queued, and reading a gradient waits for its kernel: read at
 * once, the queue runs dry after each layer; read a few layers later, it is finished while the device has work left. What is kept
 * is a second handle on the same memory; should the pass fail, the scope that it runs in frees it.
 */
export function laggedSink(sink: GradientSink, lag: number): GradientSink {
  if (lag === 0) return sink;
  const kept: { readonly entry: TensorEntry; readonly gradient: Tensor }[] = [];
  const release = (most: number): void => {
    while (kept.length > most) {
      const { entry, gradient } = kept.shift()!;
      sink.onGradient(entry, gradient);
      gradient.dispose();
    }
  };
  return {
    onGradient(entry, gradient) {
      kept.push({ entry, gradient: identity(gradient) });
      release(lag);
    },
    onStatistics(entry, values) {
      // They follow the last gradient.
      release(0);
      sink.onStatistics(entry, values);
    },
  };
}
