// Owns: the global average pool before the dense layer.
// Refuses to know: the rest of the net.

import { broadcastTo, cast, mean, multiply, reshape } from '../tensorflow/kernels.js';
import type { DType } from '../tensorflow/addon.js';
import { constant, Tensor } from '../tensorflow/tensor.js';

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
