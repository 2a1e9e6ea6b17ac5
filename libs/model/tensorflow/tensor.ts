// Owns: tensors with exactly one owner each, the count of live ones, scopes that clean up after an error.
// Refuses to know: kernels, layers, and what the numbers mean.

import { addon, DTYPE } from './addon.js';
import type { AddonTensor, DType } from './addon.js';

const DTYPE_NAMES = new Map<number, DType>(Object.entries(DTYPE).map(([name, code]) => [code, name as DType]));

let live = 0;
let scope: Set<Tensor> | undefined;

/** Tensors made and not yet disposed in this thread; constants (see `int32Constant`) are not counted. */
export function liveTensors(): number {
  return live;
}

/**
 * A value in TensorFlow's memory. Whoever made it (or was handed it) disposes it, once; a use afterwards throws.
 * Nothing is left to the garbage collector, which does not see the native memory.
 */
export class Tensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly size: number;
  #id: number;

  private constructor(id: number, shape: readonly number[], dtype: DType) {
    this.#id = id;
    this.shape = shape;
    this.dtype = dtype;
    let size = 1;
    for (const side of shape) size *= side;
    this.size = size;
    live += 1;
    scope?.add(this);
  }

  /**
   * Makes a tensor of the values' own type. Where `values` starts at a multiple of 64 bytes of memory, TensorFlow shares
   * that memory instead of copying it: leave it unchanged until the tensor is disposed.
   */
  static of(values: Float32Array | Int32Array, shape: readonly number[]): Tensor {
    const dtype = values instanceof Float32Array ? 'float32' : 'int32';
    return new Tensor(addon().createTensor(shape, DTYPE[dtype], values), shape, dtype);
  }

  /** A scalar of the type string: some bytes, copied. */
  static ofBytes(bytes: Uint8Array): Tensor {
    return new Tensor(addon().createTensor([], DTYPE.string, [bytes]), [], 'string');
  }

  /** Takes over an output of a kernel. */
  static adopt(output: AddonTensor): Tensor {
    const dtype = DTYPE_NAMES.get(output.dtype);
    if (dtype === undefined) {
      addon().deleteTensor(output.id);
      throw new TypeError(`a kernel gave a tensor of TensorFlow's data type ${output.dtype}, which is not used here`);
    }
    return new Tensor(output.id, output.shape, dtype);
  }

  /** The addon's handle. @throws Error when the tensor has been disposed. */
  get id(): number {
    if (this.#id < 0) throw new Error(`use of a disposed ${this.dtype} tensor of shape [${this.shape.join(', ')}]`);
    return this.#id;
  }

  get disposed(): boolean {
    return this.#id < 0;
  }

  /** Frees the memory. @throws Error when it was disposed before: then it had two owners. */
  dispose(): void {
    addon().deleteTensor(this.id);
    this.#id = -1;
    live -= 1;
    scope?.delete(this);
  }

  /** A copy of a float32 tensor's values. */
  readFloat32(): Float32Array {
    if (this.dtype !== 'float32') throw new TypeError(`a ${this.dtype} tensor cannot be read as float32`);
    return addon().tensorDataSync(this.id) as Float32Array;
  }

  /** A copy of an int32 tensor's values. */
  readInt32(): Int32Array {
    if (this.dtype !== 'int32') throw new TypeError(`a ${this.dtype} tensor cannot be read as int32`);
    return addon().tensorDataSync(this.id) as Int32Array;
  }
}

/**
 * Runs `work`; when it throws, disposes every tensor that was made inside and is still alive, so that a failed step
 * leaves no memory behind. When it returns, what is alive belongs to whoever `work` gave it to.
 */
export function disposeOnError<Result>(work: () => Result): Result {
  const outer = scope;
  const mine = new Set<Tensor>();
  scope = mine;
  try {
    const result = work();
    scope = outer;
    if (outer !== undefined) for (const tensor of mine) outer.add(tensor);
    return result;
  } catch (error) {
    scope = undefined;
    for (const tensor of mine) if (!tensor.disposed) tensor.dispose();
    throw error;
  } finally {
    scope = outer;
  }
}

const constants = new Map<string, Tensor>();

/**
 * A small int32 vector that kernels want as an input (shapes, paddings, axes). Made once per thread and kept: there are
 * as many as there are shapes in the nets that run. Never dispose it.
 */
export function int32Constant(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
  return constant(`i${values.join()}|${shape.join()}`, () => Tensor.of(Int32Array.from(values), shape));
}

/** Like `int32Constant`, for anything made by `make`; `key` must tell all of them apart. */
export function constant(key: string, make: () => Tensor): Tensor {
  let tensor = constants.get(key);
  if (tensor === undefined) {
    const outer = scope;
    scope = undefined; // it outlives the step that first needed it
    try {
      tensor = make();
    } finally {
      scope = outer;
    }
    live -= 1;
    constants.set(key, tensor);
  }
  return tensor;
}
