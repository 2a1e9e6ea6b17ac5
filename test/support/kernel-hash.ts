// Owns: a small program that runs our own kernels on odd shapes and prints a hash of all they gave, which must not depend on
// threads or instruction sets. Refuses to know: what the numbers should be. Usage: kernel-hash LEVEL

import { createHash } from 'node:crypto';
import { randomStream } from '#model/random.js';
import { flag, float, int, runKernel, typeAttribute } from '#model/tensorflow/kernel.js';
import { bitcast, cast } from '#model/tensorflow/kernels.js';
import type { DType } from '#model/tensorflow/addon.js';
import { Tensor } from '#model/tensorflow/tensor.js';

/** One row, rows beyond a tile, channels around the widths of vectors and beyond a tile. */
const SHAPES = [
  [1, 1, 1, 1],
  [2, 1, 1, 33],
  [3, 7, 7, 5],
  [2, 12, 13, 16],
  [1, 9, 15, 64],
  [2, 5, 3, 1030],
] as const;

function values(shape: readonly number[], key: string, dtype: DType): Tensor {
  const random = randomStream(5, key, shape.join());
  const size = shape.reduce((product, side) => product * side, 1);
  const exact = Tensor.of(
    Float32Array.from({ length: size }, () => 3 * random.normal() + 1),
    shape,
  );
  if (dtype === 'float32') return exact;
  const rounded = cast(exact, dtype);
  exact.dispose();
  return rounded;
}

/** @param level 0: portable, 1: at most AVX2, 2: the best that this processor has */
export function kernelHash(level: number): string {
  const hash = createHash('sha256');
  const add = (tensor: Tensor): void => {
    if (tensor.dtype === 'bfloat16') hash.update(`${cast(tensor, 'float32').readFloat32().join()}\n`);
    else if (tensor.dtype === 'float32') hash.update(`${bitcast(tensor, 'int32').readInt32().join()}\n`);
  };
  for (const dtype of ['float32', 'bfloat16'] as const) {
    const type = typeAttribute('T', dtype);
    for (const shape of SHAPES) {
      const channels = [shape[3]];
      const [x, side] = [values(shape, 'x', dtype), values(shape, 'side', dtype)];
      const [gamma, beta] = [values(channels, 'gamma', 'float32'), values(channels, 'beta', 'float32')];
      for (const residuals of [[], [side]]) {
        const counts = [flag('rectify', true), int('residuals', residuals.length), int('level', level)];
        const attributes = [type, float('epsilon', 1e-5), ...counts];
        const outputs = runKernel('LockstepBatchNorm', attributes, [x, gamma, beta, ...residuals], 4);
        const [y, mean, , inverse] = outputs as [Tensor, Tensor, Tensor, Tensor];
        outputs.forEach(add);
        const again = [type, flag('rectify', true), int('residuals', residuals.length), int('level', level)];
        runKernel('LockstepNormaliseAgain', again, [x, gamma, beta, mean, inverse, ...residuals], 1).forEach(add);
        const backward = [type, flag('rectified', true), int('addends', 1), int('outputs', residuals.length)];
        runKernel(
          'LockstepBatchNormGrad',
          [...backward, int('residuals', residuals.length), int('level', level)],
          [values(shape, 'gradient', dtype), x, gamma, beta, mean, inverse, side, ...(residuals.length > 0 ? [y] : [])],
          3 + residuals.length,
        ).forEach(add);
        const variance = values(channels, 'x', 'float32');
        const positive = Tensor.of(variance.readFloat32().map(Math.abs), channels);
        const copy = values(shape, 'x', dtype);
        runKernel('LockstepNormalise', attributes, [copy, gamma, beta, mean, positive, ...residuals], 1).forEach(add);
      }
      const [pooled, places] = runKernel('LockstepMaxPool', [type, int('level', level)], [x], 2) as [Tensor, Tensor];
      add(pooled);
      const sides = [int('height', shape[1]), int('width', shape[2]), int('addends', 0), int('level', level)];
      runKernel('LockstepMaxPoolGrad', [type, ...sides], [pooled, places], 1).forEach(add);
    }
  }
  return hash.digest('hex');
}

const [level] = process.argv.slice(2);
if (level !== undefined && /^[012]$/.test(level)) console.log(kernelHash(Number(level)));
