// Owns: 1x1 convolutions of stride 1, by the convolution kernels or as products of matrices, as a rule says.
// Refuses to know: strides and padding (1x1 windows have no padding, and strides are taken out before), and the rule.

import type { KernelRule, PointwisePass } from '../kernel-table.js';
import { conv2d, conv2dBackpropFilter, conv2dBackpropInput, matMul, reshape } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';

/** x [n, h, w, inputs], filter [1, 1, inputs, outputs] -> [n, h, w, outputs]. */
export function pointwise(x: Tensor, filter: Tensor, rule: KernelRule): Tensor {
  if (!isProduct(rule, 'forward', x.shape, filter.shape)) return conv2d(x, filter, 1, 'VALID');
  return product(x, filter, false, false, [...x.shape.slice(0, 3), filter.shape[3] ?? 0]);
}

export function pointwiseFilterGradient(
  x: Tensor,
  gradient: Tensor,
  filterShape: readonly number[],
  rule: KernelRule,
): Tensor {
  if (!isProduct(rule, 'filterGradient', x.shape, filterShape))
    return conv2dBackpropFilter(x, filterShape, gradient, 1, 'VALID');
  return product(x, gradient, true, false, filterShape);
}

export function pointwiseInputGradient(
  gradient: Tensor,
  filter: Tensor,
  inputShape: readonly number[],
  rule: KernelRule,
): Tensor {
  if (!isProduct(rule, 'inputGradient', inputShape, filter.shape))
    return conv2dBackpropInput(inputShape, filter, gradient, 1, 'VALID');
  return product(gradient, filter, false, true, inputShape);
}

function isProduct(
  rule: KernelRule,
  pass: PointwisePass,
  [, height = 0, width = 0]: readonly number[],
  [, , inputs = 0, outputs = 0]: readonly number[],
): boolean {
  return rule(pass, { pixels: height * width, inputs, outputs }) === 'product';
}

/** Product of two tensors seen as matrices of [all but the last axis, last axis], seen in `shape`. */
function product(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean, shape: readonly number[]): Tensor {
  const [left, right] = [asMatrix(a), asMatrix(b)];
  const matrix = matMul(left, right, transposeA, transposeB);
  left.dispose();
  right.dispose();
  const output = reshape(matrix, shape);
  matrix.dispose();
  return output;
}

function asMatrix(x: Tensor): Tensor {
  const columns = x.shape.at(-1) ?? 0;
  return reshape(x, [x.size / columns, columns]);
}
