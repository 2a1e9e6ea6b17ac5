// Owns: getting numbers out of float32 and bfloat16 tensors into arrays that are there already, as either.
// Refuses to know: what the numbers are, layers.

import { roundToBfloat16 } from '../float-arrays.js';
import { addon } from './addon.js';
import { ofType } from './kernel.js';
import { bitcast, cast, reshape } from './kernels.js';
import type { Tensor } from './tensor.js';

/**
 * Copies a float32 or bfloat16 tensor's numbers into an array of its length: as float32 (widening is exact), or as the bits of
 * bfloat16, rounded to nearest even.
 */
export function readInto(tensor: Tensor, array: Float32Array | Uint16Array): void {
  if (!addon().isUsingGpuDevice()) addon().readInto(tensor.id, ofType(tensor.dtype), array);
  else readByCopy(tensor, array);
}

/** The same by what the package's own addon can do, for devices that ours does not read from. */
export function readByCopy(tensor: Tensor, array: Float32Array | Uint16Array): void {
  if (array instanceof Uint16Array && tensor.dtype === 'bfloat16' && tensor.size % 2 === 0) {
    array.set(readBits(tensor));
    return;
  }
  const wide = tensor.dtype === 'float32' ? tensor : cast(tensor, 'float32');
  if (array instanceof Float32Array) array.set(wide.readFloat32());
  else roundToBfloat16(wide.readFloat32(), array);
  if (wide !== tensor) wide.dispose();
}

/** The addon can read no bfloat16: pairs of them are read as int32. */
function readBits(tensor: Tensor): Uint16Array {
  const pairs = reshape(tensor, [tensor.size / 2, 2]);
  const packed = bitcast(pairs, 'int32');
  const words = packed.readInt32();
  packed.dispose();
  pairs.dispose();
  return new Uint16Array(words.buffer, words.byteOffset, tensor.size);
}
