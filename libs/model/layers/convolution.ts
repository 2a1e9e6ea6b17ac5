// Owns: a convolution's forward and both gradients, with torchvision's padding.
// Refuses to know: bias, normalisation, activation, and where filters come from.

import type { KernelRule } from '../kernel-table.js';
import { conv2d, conv2dBackpropFilter, conv2dBackpropInput } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { cropWindow, padWindow } from './padding.js';
import { pointwise, pointwiseFilterGradient, pointwiseInputGradient } from './pointwise.js';
import { spreadOut, thin } from './thinning.js';
import { geometryOf } from './window.js';
import type { Window, WindowGeometry } from './window.js';

/** What backward needs of one forward pass. */
export interface ConvolutionTrace {
  /** The input as the kernel read it: the layer's own padded or thinned copy, or the borrowed input. */
  readonly input: Tensor;
  readonly ownsInput: boolean;
  readonly inputShape: readonly number[];
  readonly geometry: WindowGeometry;
  /** By which 1x1 windows choose their kernels. */
  readonly rule: KernelRule;
}

/** x [n, h, w, inputs] (borrowed) -> [n, h', w', outputs]. The caller gives the trace back through `releaseTrace`. */
export function convolve(
  x: Tensor,
  filter: Tensor,
  window: Window,
  rule: KernelRule,
): { output: Tensor; trace: ConvolutionTrace } {
  const geometry = geometryOf(window, x.shape[1] ?? 0, x.shape[2] ?? 0);
  const isPoint = window.kernel === 1;
  // A 1x1 window with a stride reads every stride-th pixel only: without the others it has no stride.
  const input = isPoint && window.stride > 1 ? thin(x, window.stride) : padWindow(x, geometry);
  const output = isPoint ? pointwise(input, filter, rule) : conv2d(input, filter, window.stride, geometry.padding);
  return { output, trace: { input, ownsInput: input !== x, inputShape: x.shape, geometry, rule } };
}

/** Gradient with respect to the filter, in the filter's shape. */
export function filterGradient(
  gradient: Tensor,
  filterShape: readonly number[],
  window: Window,
  trace: ConvolutionTrace,
): Tensor {
  if (window.kernel === 1) return pointwiseFilterGradient(trace.input, gradient, filterShape, trace.rule);
  return conv2dBackpropFilter(trace.input, filterShape, gradient, window.stride, trace.geometry.padding);
}

/** Gradient with respect to the input, in the input's shape. */
export function inputGradient(gradient: Tensor, filter: Tensor, window: Window, trace: ConvolutionTrace): Tensor {
  const { input, inputShape, geometry } = trace;
  if (window.kernel > 1) {
    const padded = conv2dBackpropInput(input.shape, filter, gradient, window.stride, geometry.padding);
    return cropWindow(padded, geometry, inputShape);
  }
  const thinned = pointwiseInputGradient(gradient, filter, input.shape, trace.rule);
  if (window.stride === 1) return thinned;
  const spread = spreadOut(thinned, inputShape, window.stride);
  thinned.dispose();
  return spread;
}

export function releaseTrace(trace: ConvolutionTrace): void {
  if (trace.ownsInput) trace.input.dispose();
}
