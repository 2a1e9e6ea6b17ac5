// Owns: one function per kernel of our own (libs/model/native), which set-up compiles into the addon; processors only.
// Refuses to know: layers. A kernel reads its inputs and disposes none; what it does with their memory is said at each.

import type { Attribute, DType } from './addon.js';
import { attributesFor, flag, float, int, runKernel, runSingle, typeAttribute } from './kernel.js';
import type { Tensor } from './tensor.js';

/** Which kernels the addon was made with: others may give other bits. */
export function lockstepKernelsVersion(): number {
  const tensor = runSingle('LockstepVersion', [], []);
  const [version = 0] = tensor.readInt32();
  tensor.dispose();
  return version;
}

const count = (tensor: Tensor | undefined): number => (tensor === undefined ? 0 : 1);
const present = (...tensors: (Tensor | undefined)[]): Tensor[] => tensors.filter((tensor) => tensor !== undefined);

function normaliseAttributes(dtype: DType, epsilon: number, rectify: boolean, residuals: number): readonly Attribute[] {
  return attributesFor(`lockstepbn${dtype}${epsilon}${rectify}${residuals}`, () => [
    typeAttribute('T', dtype),
    float('epsilon', epsilon),
    flag('rectify', rectify),
    int('residuals', residuals),
  ]);
}

/**
 * Batch norm of x [..., channels] with its own statistics, then `residual` added, then rectified where asked for.
 * Outputs y, batch mean, batch variance (unbiased) and the inverse deviation that the gradient wants.
 */
export function lockstepBatchNorm(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  residual: Tensor | undefined,
  epsilon: number,
  rectify: boolean,
): Tensor[] {
  const attributes = normaliseAttributes(x.dtype, epsilon, rectify, count(residual));
  return runKernel('LockstepBatchNorm', attributes, present(x, gamma, beta, residual), 4);
}

/** The same with given statistics. Consumes the memory of x, which is the output's afterwards: dispose x unread. */
export function lockstepNormalise(
  x: Tensor,
  parameters: readonly [gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor],
  residual: Tensor | undefined,
  epsilon: number,
  rectify: boolean,
): Tensor {
  const attributes = normaliseAttributes(x.dtype, epsilon, rectify, count(residual));
  return runSingle('LockstepNormalise', attributes, present(x, ...parameters, residual));
}

/** The y that `lockstepBatchNorm` gave for the same arguments, bit by bit, from the mean and inverse deviation that it gave. */
export function lockstepNormaliseAgain(
  x: Tensor,
  parameters: readonly [gamma: Tensor, beta: Tensor, mean: Tensor, inverseDeviation: Tensor],
  residual: Tensor | undefined,
  rectify: boolean,
): Tensor {
  const residuals = count(residual);
  const attributes = attributesFor(`lockstepagain${x.dtype}${rectify}${residuals}`, () => [
    typeAttribute('T', x.dtype),
    flag('rectify', rectify),
    int('residuals', residuals),
  ]);
  return runSingle('LockstepNormaliseAgain', attributes, present(x, ...parameters, residual));
}

/**
 * Gradients of input, gamma and beta, and of the residual where there was one, from the gradient `gradient + addend` of the
 * output. Consumes the memory of `gradient`, in which one of the outputs lies afterwards: dispose it unread.
 * @param pass `output` is wanted where it was rectified with a residual: otherwise x tells what the rectifier let through
 */
export function lockstepBatchNormGrad(
  gradient: Tensor,
  addend: Tensor | undefined,
  x: Tensor,
  vectors: readonly [gamma: Tensor, beta: Tensor, mean: Tensor, inverseDeviation: Tensor],
  pass: { readonly rectified: boolean; readonly output: Tensor | undefined; readonly hadResidual: boolean },
): Tensor[] {
  const residuals = pass.hadResidual ? 1 : 0;
  const { rectified } = pass;
  const output = pass.hadResidual && rectified ? pass.output : undefined;
  const key = `lockstepbngrad${x.dtype}${rectified}${count(addend)}${residuals}`;
  const attributes = attributesFor(key, () => [
    typeAttribute('T', x.dtype),
    flag('rectified', rectified),
    int('addends', count(addend)),
    int('outputs', count(output)),
    int('residuals', residuals),
  ]);
  const inputs = present(gradient, x, ...vectors, addend, output);
  return runKernel('LockstepBatchNormGrad', attributes, inputs, 3 + residuals);
}

const poolAttributes = (dtype: DType): readonly Attribute[] =>
  attributesFor(`lockstep pool${dtype}`, () => [typeAttribute('T', dtype)]);

/**
 * Max pool of x [n, h, w, channels]: 3x3, stride 2, one pixel of padding that never wins. Outputs y and, for the gradient, the
 * place of each winner in its window (the first of equals; a NaN before all numbers).
 */
export function lockstepMaxPool(x: Tensor): Tensor[] {
  return runKernel('LockstepMaxPool', poolAttributes(x.dtype), [x], 2);
}

/** Gradient of the input of shape `inputShape` from the gradient `gradient + addend` of the output. */
export function lockstepMaxPoolGrad(
  gradient: Tensor,
  addend: Tensor | undefined,
  places: Tensor,
  inputShape: readonly number[],
): Tensor {
  const [, height = 0, width = 0] = inputShape;
  const key = `lockstep poolgrad${gradient.dtype}${height}x${width}${count(addend)}`;
  const attributes = attributesFor(key, () => [
    typeAttribute('T', gradient.dtype),
    int('height', height),
    int('width', width),
    int('addends', count(addend)),
  ]);
  return runSingle('LockstepMaxPoolGrad', attributes, present(gradient, places, addend));
}
