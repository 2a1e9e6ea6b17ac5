// Owns: taking every stride-th pixel of an image, and putting gradients back there.
// Refuses to know: who thins (1x1 convolutions with a stride, shortcut A).

import { pad, reshape, slice, stridedSlice, stridedSliceGrad } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';

/** [n, h, w, c] seen as [n, h/s, s, w/s, s*c]: where s divides the sides, the pixels kept are one plain slice of it. */
function grouped(
  [n = 0, height = 0, width = 0, channels = 0]: readonly number[],
  stride: number,
): number[] | undefined {
  if (height % stride !== 0 || width % stride !== 0) return undefined;
  return [n, height / stride, stride, width / stride, stride * channels];
}

/**
 * x [n, h, w, c] (borrowed) -> rows and columns 0, stride, 2 stride, …
 * A strided slice does it too, but twenty times more slowly: it is left to sides that the stride does not divide.
 */
export function thin(x: Tensor, stride: number): Tensor {
  const groups = grouped(x.shape, stride);
  if (groups === undefined) return stridedSlice(x, x.shape, [1, stride, stride, 1]);
  const [n = 0, rows = 0, , columns = 0] = groups;
  const channels = x.shape[3] ?? 0;
  const view = reshape(x, groups);
  const kept = slice(view, [0, 0, 0, 0, 0], [n, rows, 1, columns, channels]);
  view.dispose();
  const output = reshape(kept, [n, rows, columns, channels]);
  kept.dispose();
  return output;
}

/** The gradient of `thin`: the given one (borrowed) where pixels were taken, zero elsewhere, in the input's shape. */
export function spreadOut(gradient: Tensor, inputShape: readonly number[], stride: number): Tensor {
  const groups = grouped(inputShape, stride);
  if (groups === undefined) return stridedSliceGrad(gradient, inputShape, [1, stride, stride, 1]);
  const [n = 0, rows = 0, , columns = 0] = groups;
  const channels = inputShape[3] ?? 0;
  const view = reshape(gradient, [n, rows, 1, columns, channels]);
  const spread = pad(view, [
    [0, 0],
    [0, 0],
    [0, stride - 1],
    [0, 0],
    [0, (stride - 1) * channels],
  ]);
  view.dispose();
  const output = reshape(spread, inputShape);
  spread.dispose();
  return output;
}
