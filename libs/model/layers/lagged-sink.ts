// Owns: handing gradients on some tensors later than backward made them, in the same order.
// Refuses to know: when that is worth it, and what becomes of them.

import type { TensorEntry } from '../parameters.js';
import { identity } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import type { GradientSink } from './sink.js';

export interface LaggedSink extends GradientSink {
  /** Hands on all that is kept; to be called when the pass is over. */
  flush(): void;
}

/**
 * A sink that keeps the newest `lag` gradients. On a GPU kernels are queued, and reading a gradient waits for its kernel: read at
 * once, the queue runs dry after each layer; read a few layers later, it is finished while the device has work left. What is kept
 * is a second handle on the same memory; should the pass fail, the scope that it runs in frees it.
 */
export function laggedSink(sink: GradientSink, lag: number): LaggedSink {
  if (lag === 0) return { ...sink, flush: () => undefined };
  const kept: { readonly entry: TensorEntry; readonly gradient: Tensor }[] = [];
  const release = (most: number): void => {
    while (kept.length > most) {
      const { entry, gradient } = kept[0]!;
      sink.onGradient(entry, gradient);
      kept.shift();
      gradient.dispose();
    }
  };
  return {
    onGradient(entry, gradient) {
      kept.push({ entry, gradient: identity(gradient) });
      release(lag);
    },
    onStatistics: (entry, values) => sink.onStatistics(entry, values),
    flush() {
      try {
        release(0);
      } finally {
        // Nobody else frees them when one of them could not be handed on.
        for (const { gradient } of kept.splice(0)) gradient.dispose();
      }
    },
  };
}
