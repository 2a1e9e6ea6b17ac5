// Owns: getting numbers out of bfloat16 tensors, a type that the addon itself can neither read nor write.
// Refuses to know: rounding and widening in plain JavaScript (reduction does that), layers.

import { bitcast, cast, reshape } from './kernels.js';
import type { Tensor } from './tensor.js';

/** The values of a float32 or bfloat16 tensor as float32; widening is exact. */
export function readAsFloat32(tensor: Tensor): Float32Array {
  if (tensor.dtype === 'float32') return tensor.readFloat32();
  const wide = cast(tensor, 'float32');
  const values = wide.readFloat32();
  wide.dispose();
  return values;
}

/** The bits of a bfloat16 tensor with an even number of elements: pairs of them are read as int32. */
export function readBfloat16Bits(tensor: Tensor): Uint16Array {
  const pairs = reshape(tensor, [tensor.size / 2, 2]);
  const packed = bitcast(pairs, 'int32');
  const words = packed.readInt32();
  packed.dispose();
  pairs.dispose();
  return new Uint16Array(words.buffer, words.byteOffset, tensor.size);
}

/** Whether `readBfloat16Bits` can read it. */
export function hasReadableBits(tensor: Tensor): boolean {
  return tensor.dtype === 'bfloat16' && tensor.size % 2 === 0;
}
