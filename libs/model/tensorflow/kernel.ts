// Owns: the one call through which every TensorFlow kernel runs, and the lists of attributes that kernels take.
// Refuses to know: which kernels there are (kernels.ts lists them).

import { performance } from 'node:perf_hooks';
import { addon, ATTRIBUTE, DTYPE } from './addon.js';
import type { Attribute, DType } from './addon.js';
import { Tensor } from './tensor.js';

/** A kernel refused its inputs or failed; the message names the kernel, the shapes and TensorFlow's reason. */
export class KernelError extends Error {
  override readonly name = 'KernelError';
}

/** Runs a kernel by name. For callers without a function of their own below. @throws KernelError */
export function runKernel(
  name: string,
  attributes: readonly Attribute[],
  inputs: readonly Tensor[],
  outputs: number,
): Tensor[] {
  const ids = inputs.map((tensor) => tensor.id);
  const start = observer === undefined ? 0 : performance.now();
  let results;
  try {
    results = addon().executeOp(name, attributes, ids, outputs);
  } catch (cause) {
    const shapes = inputs.map((tensor) => `${tensor.dtype}[${tensor.shape.join(', ')}]`).join(', ');
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KernelError(`kernel ${name}(${shapes}) failed: ${reason}`, { cause });
  }
  observer?.(name, performance.now() - start, inputs);
  return results.map((output) => Tensor.adopt(output));
}

type KernelObserver = (kernel: string, ms: number, inputs: readonly Tensor[]) => void;
let observer: KernelObserver | undefined;

/** Tells `next` of every kernel that has run in this thread (on a GPU: been queued) and how long; undefined stops it. */
export function observeKernels(next: KernelObserver | undefined): void {
  observer = next;
}

/** Runs a kernel that has one output. */
export function runSingle(name: string, attributes: readonly Attribute[], inputs: readonly Tensor[]): Tensor {
  return runKernel(name, attributes, inputs, 1)[0] as Tensor;
}

// Attributes are the same objects on every call: a step makes thousands of calls.
const attributeLists = new Map<string, readonly Attribute[]>();

export function attributesFor(key: string, make: () => readonly Attribute[]): readonly Attribute[] {
  let list = attributeLists.get(key);
  if (list === undefined) {
    list = make();
    attributeLists.set(key, list);
  }
  return list;
}

export const typeAttribute = (name: string, dtype: DType): Attribute => ({
  name,
  type: ATTRIBUTE.type,
  value: DTYPE[dtype],
});
export const text = (name: string, value: string): Attribute => ({ name, type: ATTRIBUTE.string, value });
export const flag = (name: string, value: boolean): Attribute => ({ name, type: ATTRIBUTE.bool, value });
export const float = (name: string, value: number): Attribute => ({ name, type: ATTRIBUTE.float, value });
export const int = (name: string, value: number): Attribute => ({ name, type: ATTRIBUTE.int, value });
export const ints = (name: string, value: readonly number[]): Attribute => ({ name, type: ATTRIBUTE.int, value });

/** The attribute list [T] that most elementwise kernels take. */
export const ofType = (dtype: DType): readonly Attribute[] =>
  attributesFor(`T${dtype}`, () => [typeAttribute('T', dtype)]);

export const withInt32Index = (dtype: DType, indexName: string): readonly Attribute[] =>
  attributesFor(`${indexName}${dtype}`, () => [typeAttribute('T', dtype), typeAttribute(indexName, 'int32')]);
