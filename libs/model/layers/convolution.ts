// Owns: a convolution's forward and both gradients, with torchvision's padding.
// Refuses to know: bias, normalisation, activation, and where filters come from.

import type { KernelRule } from '../kernel-table.js';
import { conv2d, conv2dBackpropFilter, conv2dBackpropInput } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { cropWindow, paddedShape, padWindow } from './padding.js';
import { pointwise, pointwiseFilterGradient, pointwiseInputGradient } from './pointwise.js';
import { spreadOut, thin } from './thinning.js';
import { geometryOf } from './window.js';
import type { Window, WindowGeometry } from './window.js';

export interface ServedWindow extends Window {
  /** By which 1x1 windows choose their kernels. */
  readonly rule: KernelRule;
}

/** x [n, h, w, inputs] (borrowed) -> [n, h', w', outputs]. */
export function convolve(x: Tensor, filter: Tensor, window: ServedWindow): Tensor {
  const geometry = geometryIn(x.shape, window);
  return reading(x, window, geometry, (input) =>
    window.kernel === 1
      ? pointwise(input, filter, window.rule)
      : conv2d(input, filter, window.stride, geometry.padding),
  );
}

/** Gradient with respect to the filter, in the filter's shape. @param x what `convolve` read; borrowed */
export function filterGradient(
  x: Tensor,
  gradient: Tensor,
  filterShape: readonly number[],
  window: ServedWindow,
): Tensor {
  const geometry = geometryIn(x.shape, window);
  return reading(x, window, geometry, (input) =>
    window.kernel === 1
      ? pointwiseFilterGradient(input, gradient, filterShape, window.rule)
      : conv2dBackpropFilter(input, filterShape, gradient, window.stride, geometry.padding),
  );
}

/** Gradient with respect to the input, in the input's shape. */
export function inputGradient(
  gradient: Tensor,
  filter: Tensor,
  window: ServedWindow,
  inputShape: readonly number[],
): Tensor {
  if (window.kernel > 1) {
    const geometry = geometryIn(inputShape, window);
    const read = paddedShape(inputShape, geometry);
    const padded = conv2dBackpropInput(read, filter, gradient, window.stride, geometry.padding);
    return cropWindow(padded, geometry, inputShape);
  }
  const read = [...gradient.shape.slice(0, 3), inputShape[3] ?? 0];
  const thinned = pointwiseInputGradient(gradient, filter, read, window.rule);
  if (window.stride === 1) return thinned;
  const spread = spreadOut(thinned, inputShape, window.stride);
  thinned.dispose();
  return spread;
}

function geometryIn([, height = 0, width = 0]: readonly number[], window: Window): WindowGeometry {
  return geometryOf(window, height, width);
}

/**
 * Gives `compute` the input as kernels read it: padded, or thinned, as a 1x1 window with a stride has none over every stride-th
 * pixel. Such a copy lives no longer than that: making it again in backward costs less than its memory until then.
 */
function reading(x: Tensor, window: Window, geometry: WindowGeometry, compute: (input: Tensor) => Tensor): Tensor {
  const input = window.kernel === 1 && window.stride > 1 ? thin(x, window.stride) : padWindow(x, geometry);
  const output = compute(input);
  if (input !== x) input.dispose();
  return output;
}
