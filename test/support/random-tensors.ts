// Owns: reproducible random numbers in test tensors. Refuses to know: what is tested.

import { randomStream } from '#model/random.js';
import { Tensor } from '#model/tensorflow/tensor.js';
import { array64 } from './float64-layers.js';
import type { Array64 } from './float64-layers.js';

/** Normal numbers, rounded to float32 so that both precisions start from the same values. */
export function randomArray(shape: readonly number[], ...key: (string | number)[]): Array64 {
  const random = randomStream(1, 'test', ...key);
  const size = shape.reduce((product, side) => product * side, 1);
  return array64(
    shape,
    Float64Array.from({ length: size }, () => Math.fround(random.normal())),
  );
}

export function tensorOf(array: Array64): Tensor {
  return Tensor.of(Float32Array.from(array.data), array.shape);
}

/** Reads a float32 tensor and disposes it. */
export function take(tensor: Tensor): Float32Array {
  const values = tensor.readFloat32();
  tensor.dispose();
  return values;
}
