// Owns: the stem's 3x3 max pool and the global average pool before the dense layer.
// Refuses to know: the rest of the net.

import { broadcastTo, cast, maxPool, maxPoolGrad, mean, multiply, reshape } from '../tensorflow/kernels.js';
import type { DType } from '../tensorflow/addon.js';
import { constant, Tensor } from '../tensorflow/tensor.js';
import { cropWindow, padWindow } from './padding.js';
import { joined } from './split-gradient.js';
import type { SplitGradient } from './split-gradient.js';
import { geometryOf } from './window.js';
import type { WindowGeometry } from './window.js';

const STEM_WINDOW = { kernel: 3, stride: 2 } as const;

/** Below every value that a net in working order has; still finite in bfloat16. */
const LOWEST = -3e38;

interface MaxPoolTrace {
  readonly input: Tensor;
  readonly ownsInput: boolean;
  readonly inputShape: readonly number[];
  readonly output: Tensor;
  readonly geometry: WindowGeometry;
}

/** 3x3, stride 2, one pixel of padding that never wins. */
export class StemMaxPool {
  #trace: MaxPoolTrace | undefined;

  /** @param notNegative whether x has no value below zero, so that zeros will do as padding (the cheaper kernel) */
  constructor(private readonly notNegative: boolean) {}

  /** Borrows x. In training the pool owns what it returns, else the caller does. */
  forward(x: Tensor, training: boolean): Tensor {
    const geometry = geometryOf(STEM_WINDOW, x.shape[1] ?? 0, x.shape[2] ?? 0);
    // SAME pads max pools with 'nothing'; only the padding by hand has to be filled.
    const fill = this.notNegative ? undefined : lowest(x.dtype);
    const input = padWindow(x, geometry, fill);
    const output = maxPool(input, STEM_WINDOW.kernel, STEM_WINDOW.stride, geometry.padding);
    const trace = { input, ownsInput: input !== x, inputShape: x.shape, output, geometry };
    if (training) this.#trace = trace;
    else if (trace.ownsInput) input.dispose();
    return output;
  }

  /** Consumes the gradient and the trace of the last forward. */
  backward(split: SplitGradient): Tensor {
    const trace = this.#trace;
    if (trace === undefined) throw new Error('max pool: backward without a forward pass in training');
    this.#trace = undefined;
    const gradient = joined(split);
    const { kernel, stride } = STEM_WINDOW;
    const padded = maxPoolGrad(trace.input, trace.output, gradient, kernel, stride, trace.geometry.padding);
    gradient.dispose();
    trace.output.dispose();
    if (trace.ownsInput) trace.input.dispose();
    return cropWindow(padded, trace.geometry, trace.inputShape);
  }
}

function lowest(dtype: DType): Tensor {
  return constant(`lowest ${dtype}`, () => {
    const value = Tensor.of(Float32Array.of(LOWEST), []);
    if (dtype === 'float32') return value;
    const rounded = cast(value, dtype);
    value.dispose();
    return rounded;
  });
}

/** [n, h, w, channels] of any precision (borrowed) -> [n, channels] in float32. */
export function globalAverage(x: Tensor): Tensor {
  if (x.dtype === 'float32') return mean(x, [1, 2]);
  const wide = cast(x, 'float32');
  const average = mean(wide, [1, 2]);
  wide.dispose();
  return average;
}

/** Gradient [n, channels] in float32 (consumed) -> [n, h, w, channels] in the input's precision. */
export function globalAverageGradient(gradient: Tensor, inputShape: readonly number[], dtype: DType): Tensor {
  const [n = 0, height = 0, width = 0, channels = 0] = inputShape;
  const share = constant(`share ${height * width}`, () => Tensor.of(Float32Array.of(1 / (height * width)), []));
  const scaled = multiply(gradient, share);
  gradient.dispose();
  const rounded = dtype === 'float32' ? scaled : cast(scaled, dtype);
  if (rounded !== scaled) scaled.dispose();
  const pixel = reshape(rounded, [n, 1, 1, channels]);
  rounded.dispose();
  const spread = broadcastTo(pixel, inputShape);
  pixel.dispose();
  return spread;
}
