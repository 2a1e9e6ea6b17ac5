// Owns: one function per TensorFlow kernel that the layers use: attributes in, tensors out, in NHWC.
// Refuses to know: layers and ownership of inputs: a kernel reads its inputs and disposes none of them.

import type { Attribute, DType } from './addon.js';
import {
  attributesFor,
  flag,
  float,
  int,
  ints,
  ofType,
  runKernel,
  runSingle,
  text,
  typeAttribute,
  withInt32Index,
} from './kernel.js';
import { int32Constant } from './tensor.js';
import type { Tensor } from './tensor.js';

export type WindowPadding = 'SAME' | 'VALID';

// --- convolution ---

function convolutionAttributes(dtype: DType, stride: number, padding: WindowPadding): readonly Attribute[] {
  return attributesFor(`conv${dtype}${stride}${padding}`, () => [
    typeAttribute('T', dtype),
    ints('strides', [1, stride, stride, 1]),
    flag('use_cudnn_on_gpu', true),
    text('padding', padding),
    ints('explicit_paddings', []),
    text('data_format', 'NHWC'),
    ints('dilations', [1, 1, 1, 1]),
  ]);
}

/** x [n, h, w, inputs], filter [kh, kw, inputs, outputs] -> [n, h', w', outputs]. */
export function conv2d(x: Tensor, filter: Tensor, stride: number, padding: WindowPadding): Tensor {
  return runSingle('Conv2D', convolutionAttributes(x.dtype, stride, padding), [x, filter]);
}

/** Gradient with respect to the filter of shape `filterShape`. */
export function conv2dBackpropFilter(
  x: Tensor,
  filterShape: readonly number[],
  gradient: Tensor,
  stride: number,
  padding: WindowPadding,
): Tensor {
  const attributes = convolutionAttributes(x.dtype, stride, padding);
  return runSingle('Conv2DBackpropFilter', attributes, [x, int32Constant(filterShape), gradient]);
}

/** Gradient with respect to the input of shape `inputShape`. */
export function conv2dBackpropInput(
  inputShape: readonly number[],
  filter: Tensor,
  gradient: Tensor,
  stride: number,
  padding: WindowPadding,
): Tensor {
  const attributes = convolutionAttributes(gradient.dtype, stride, padding);
  return runSingle('Conv2DBackpropInput', attributes, [int32Constant(inputShape), filter, gradient]);
}

export function biasAdd(x: Tensor, bias: Tensor): Tensor {
  return runSingle('BiasAdd', ofType(x.dtype), [x, bias]);
}

/** Sums over all axes but the last. */
export function biasAddGrad(gradient: Tensor): Tensor {
  return runSingle('BiasAddGrad', ofType(gradient.dtype), [gradient]);
}

// --- batch norm ---

function batchNormAttributes(dtype: DType, epsilon: number, training: boolean): readonly Attribute[] {
  return attributesFor(`bn${dtype}${epsilon}${training}`, () => [
    typeAttribute('T', dtype),
    typeAttribute('U', 'float32'),
    float('epsilon', epsilon),
    text('data_format', 'NHWC'),
    flag('is_training', training),
  ]);
}

/** Outputs y, batch mean, batch variance (unbiased) and the three reserves that the gradient wants. */
export function fusedBatchNorm(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  runningMean: Tensor,
  runningVariance: Tensor,
  epsilon: number,
  training: boolean,
): Tensor[] {
  return runKernel(
    'FusedBatchNormV3',
    batchNormAttributes(x.dtype, epsilon, training),
    [x, gamma, beta, runningMean, runningVariance],
    6,
  );
}

/** Outputs the gradients of input, gamma and beta, and two empty tensors. */
export function fusedBatchNormGrad(
  gradient: Tensor,
  x: Tensor,
  gamma: Tensor,
  reserves: readonly Tensor[],
  epsilon: number,
): Tensor[] {
  const attributes = batchNormAttributes(x.dtype, epsilon, true);
  return runKernel('FusedBatchNormGradV3', attributes, [gradient, x, gamma, ...reserves], 5);
}

// --- activations ---

/**
 * In bfloat16 the rectifier runs on the bits as int16: a value below zero is a negative integer too, and the integer
 * kernel is three times as fast (the other converts to float32 and back). Negative NaNs become 0 that way.
 */
export function relu(x: Tensor): Tensor {
  return x.dtype === 'bfloat16' ? asInt16([x], ([bits]) => relu(bits)) : runSingle('Relu', ofType(x.dtype), [x]);
}

/** `y` may be the rectifier's input or its output: only the sign counts. */
export function reluGrad(gradient: Tensor, y: Tensor): Tensor {
  if (y.dtype === 'bfloat16') return asInt16([gradient, y], ([bits, yBits]) => reluGrad(bits, yBits as Tensor));
  return runSingle('ReluGrad', ofType(y.dtype), [gradient, y]);
}

/** Runs a kernel on the bits of bfloat16 tensors and gives its result as bfloat16; no bits are copied on the way. */
function asInt16(
  inputs: readonly [Tensor, ...Tensor[]],
  compute: (bits: readonly [Tensor, ...Tensor[]]) => Tensor,
): Tensor {
  const bits = inputs.map((input) => bitcast(input, 'int16')) as [Tensor, ...Tensor[]];
  const result = compute(bits);
  for (const view of bits) view.dispose();
  const output = bitcast(result, 'bfloat16');
  result.dispose();
  return output;
}

function leakyAttributes(dtype: DType, slope: number): readonly Attribute[] {
  return attributesFor(`leaky${dtype}${slope}`, () => [typeAttribute('T', dtype), float('alpha', slope)]);
}

export function leakyRelu(x: Tensor, slope: number): Tensor {
  return runSingle('LeakyRelu', leakyAttributes(x.dtype, slope), [x]);
}

export function leakyReluGrad(gradient: Tensor, y: Tensor, slope: number): Tensor {
  return runSingle('LeakyReluGrad', leakyAttributes(y.dtype, slope), [gradient, y]);
}

export function sigmoid(x: Tensor): Tensor {
  return runSingle('Sigmoid', ofType(x.dtype), [x]);
}

export function sigmoidGrad(gradient: Tensor, y: Tensor): Tensor {
  return runSingle('SigmoidGrad', ofType(y.dtype), [y, gradient]);
}

export function tanh(x: Tensor): Tensor {
  return runSingle('Tanh', ofType(x.dtype), [x]);
}

export function tanhGrad(gradient: Tensor, y: Tensor): Tensor {
  return runSingle('TanhGrad', ofType(y.dtype), [y, gradient]);
}

// --- pooling ---

function poolAttributes(dtype: DType, window: number, stride: number, padding: WindowPadding): readonly Attribute[] {
  return attributesFor(`pool${dtype}${window}${stride}${padding}`, () => [
    typeAttribute('T', dtype),
    ints('ksize', [1, window, window, 1]),
    ints('strides', [1, stride, stride, 1]),
    text('padding', padding),
    ints('explicit_paddings', []),
    text('data_format', 'NHWC'),
  ]);
}

export function maxPool(x: Tensor, window: number, stride: number, padding: WindowPadding): Tensor {
  return runSingle('MaxPool', poolAttributes(x.dtype, window, stride, padding), [x]);
}

export function maxPoolGrad(
  x: Tensor,
  y: Tensor,
  gradient: Tensor,
  window: number,
  stride: number,
  padding: WindowPadding,
): Tensor {
  return runSingle('MaxPoolGrad', poolAttributes(x.dtype, window, stride, padding), [x, y, gradient]);
}

/** Mean over the axes, which are dropped. */
export function mean(x: Tensor, axes: readonly number[]): Tensor {
  const attributes = attributesFor(`mean${x.dtype}`, () => [
    typeAttribute('T', x.dtype),
    typeAttribute('Tidx', 'int32'),
    flag('keep_dims', false),
  ]);
  return runSingle('Mean', attributes, [x, int32Constant(axes)]);
}

// --- shapes ---

export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  return runSingle('Reshape', withInt32Index(x.dtype, 'Tshape'), [x, int32Constant(shape)]);
}

/** `paddings` holds [before, after] per axis; `fill` is a scalar of x's type, zero where it is left out. */
export function pad(x: Tensor, paddings: readonly (readonly [number, number])[], fill?: Tensor): Tensor {
  const table = int32Constant(paddings.flat(), [paddings.length, 2]);
  const attributes = withInt32Index(x.dtype, 'Tpaddings');
  return fill === undefined
    ? runSingle('Pad', attributes, [x, table])
    : runSingle('PadV2', attributes, [x, table, fill]);
}

export function slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor {
  return runSingle('Slice', withInt32Index(x.dtype, 'Index'), [x, int32Constant(begin), int32Constant(size)]);
}

function stridedAttributes(dtype: DType): readonly Attribute[] {
  return attributesFor(`strided${dtype}`, () => [
    typeAttribute('T', dtype),
    typeAttribute('Index', 'int32'),
    int('begin_mask', 0),
    int('end_mask', 0),
    int('ellipsis_mask', 0),
    int('new_axis_mask', 0),
    int('shrink_axis_mask', 0),
  ]);
}

export function stridedSlice(x: Tensor, end: readonly number[], strides: readonly number[]): Tensor {
  const begin = int32Constant(end.map(() => 0));
  return runSingle('StridedSlice', stridedAttributes(x.dtype), [x, begin, int32Constant(end), int32Constant(strides)]);
}

/** Puts the gradient back where `stridedSlice` took its elements from; zero elsewhere. */
export function stridedSliceGrad(gradient: Tensor, inputShape: readonly number[], strides: readonly number[]): Tensor {
  const begin = int32Constant(inputShape.map(() => 0));
  const end = int32Constant(inputShape);
  const inputs = [end, begin, end, int32Constant(strides), gradient];
  return runSingle('StridedSliceGrad', stridedAttributes(gradient.dtype), inputs);
}

export function broadcastTo(x: Tensor, shape: readonly number[]): Tensor {
  return runSingle('BroadcastTo', withInt32Index(x.dtype, 'Tidx'), [x, int32Constant(shape)]);
}

// --- arithmetic ---

/** Another handle on the same memory. */
export function identity(x: Tensor): Tensor {
  return runSingle('Identity', ofType(x.dtype), [x]);
}

export function addV2(a: Tensor, b: Tensor): Tensor {
  return runSingle('AddV2', ofType(a.dtype), [a, b]);
}

export function multiply(a: Tensor, b: Tensor): Tensor {
  return runSingle('Mul', ofType(a.dtype), [a, b]);
}

/** a [m, k] times b [k, n], either transposed first. */
export function matMul(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  const attributes = attributesFor(`matmul${a.dtype}${transposeA}${transposeB}`, () => [
    typeAttribute('T', a.dtype),
    flag('transpose_a', transposeA),
    flag('transpose_b', transposeB),
  ]);
  return runSingle('MatMul', attributes, [a, b]);
}

/** To another type, rounding to nearest even. */
export function cast(x: Tensor, dtype: DType): Tensor {
  const attributes = attributesFor(`cast${x.dtype}${dtype}`, () => [
    typeAttribute('SrcT', x.dtype),
    typeAttribute('DstT', dtype),
    flag('Truncate', false),
  ]);
  return runSingle('Cast', attributes, [x]);
}

/** The same bits under another type; [n, 2] of bfloat16 become [n] of int32. */
export function bitcast(x: Tensor, dtype: DType): Tensor {
  const attributes = attributesFor(`bitcast${x.dtype}${dtype}`, () => [
    typeAttribute('T', x.dtype),
    typeAttribute('type', dtype),
  ]);
  return runSingle('Bitcast', attributes, [x]);
}

// --- loss ---

/** logits [n, classes], labels int32 [n] -> losses [n] and the gradient of their sum [n, classes]. */
export function sparseSoftmaxCrossEntropy(logits: Tensor, labels: Tensor): Tensor[] {
  const attributes = attributesFor('sparse', () => [typeAttribute('T', 'float32'), typeAttribute('Tlabels', 'int32')]);
  return runKernel('SparseSoftmaxCrossEntropyWithLogits', attributes, [logits, labels], 2);
}

/** Like the sparse one, with a distribution over the classes per sample [n, classes]. */
export function softmaxCrossEntropy(logits: Tensor, targets: Tensor): Tensor[] {
  return runKernel('SoftmaxCrossEntropyWithLogits', ofType('float32'), [logits, targets], 2);
}
