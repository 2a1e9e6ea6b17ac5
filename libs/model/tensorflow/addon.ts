// Owns: loading the native addon of @tensorflow/tfjs-node-gpu, without tfjs's own JavaScript, and the addon's types.
// Refuses to know: what the kernels are for; how the library got onto the machine (that is set-up's business).

import { createRequire } from 'node:module';

/** What the addon returns for each output of a kernel. */
export interface AddonTensor {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: number;
}

/** A kernel attribute as the addon wants it: `type` is one of ATTRIBUTE's numbers. */
export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: string | number | boolean | readonly number[];
}

export interface Addon {
  readonly TF_Version: string;
  /** Shares the array's memory where it is aligned to 64 bytes, copies it otherwise. */
  createTensor(shape: readonly number[], dtype: number, values: Float32Array | Int32Array): number;
  /** Strings of bytes, copied. */
  createTensor(shape: readonly number[], dtype: typeof DTYPE.string, values: readonly Uint8Array[]): number;
  deleteTensor(id: number): void;
  /** Copies; supports float32 and int32 only. */
  tensorDataSync(id: number): Float32Array | Int32Array;
  /**
   * Copies a float32 or bfloat16 tensor into an array of its length: as float32, or as the bits of bfloat16 (rounded to nearest
   * even); a uint8 tensor into bytes. Ours; processors only. `attributes` is [T].
   */
  readInto(id: number, attributes: readonly Attribute[], array: Float32Array | Uint16Array | Uint8Array): void;
  /** Gives memory that was freed back to the system, all over the process. Ours. */
  trimMemory(): void;
  executeOp(name: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): AddonTensor[];
  isUsingGpuDevice(): boolean;
  getNumOfTensors(): number;
}

/** TensorFlow's numbers of data types (tensorflow/c/tf_datatype.h). */
export const DTYPE = { float32: 1, int32: 3, uint8: 4, int16: 5, string: 7, bfloat16: 14 } as const;
export type DType = keyof typeof DTYPE;

/** TensorFlow's numbers of attribute types (TF_AttrType). */
export const ATTRIBUTE = { string: 0, int: 1, float: 2, bool: 3, type: 4 } as const;

export class TensorFlowUnavailableError extends Error {
  override readonly name = 'TensorFlowUnavailableError';
}

const ADDON_PATH = '@tensorflow/tfjs-node-gpu/lib/napi-v8/tfjs_binding.node';
const REMEDY = "run 'npx lockstep setup', then 'npx lockstep doctor'";

let loaded: Addon | undefined;

/**
 * The addon, loaded on first use (0.2 s, and every thread has its own context). TensorFlow reads thread counts and
 * oneDNN switches from the process environment at this moment, so whoever starts the process must have set them before.
 * @throws TensorFlowUnavailableError when it is missing or its library cannot be loaded, with what to do.
 */
export function addon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  const require = createRequire(import.meta.url);
  let path: string;
  try {
    path = require.resolve(ADDON_PATH);
  } catch (cause) {
    throw new TensorFlowUnavailableError(`the TensorFlow addon is not built: ${REMEDY}`, { cause });
  }
  try {
    return require(path) as Addon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TensorFlowUnavailableError(`the TensorFlow addon does not load (${reason}): ${REMEDY}`, { cause });
  }
}

/** Part of a numerics class: what the addon computes with. */
export function tensorFlowIdentity(): { version: string; device: 'gpu' | 'cpu' } {
  return { version: addon().TF_Version, device: addon().isUsingGpuDevice() ? 'gpu' : 'cpu' };
}
