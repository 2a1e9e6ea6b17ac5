// Owns: the stem's max pool by TensorFlow's kernels, for devices that our own do not run on.
// Refuses to know: when it is used (max-pool.ts chooses).

import { cast, maxPool, maxPoolGrad } from '../tensorflow/kernels.js';
import type { DType } from '../tensorflow/addon.js';
import { constant, Tensor } from '../tensorflow/tensor.js';
import type { MaxPoolRoute } from './max-pool.js';
import { cropWindow, padWindow } from './padding.js';
import { joined } from './split-gradient.js';
import { geometryOf } from './window.js';

const WINDOW = { kernel: 3, stride: 2 } as const;

/** Below every value that a net in working order has; still finite in bfloat16. */
const LOWEST = -3e38;

export const composedMaxPool: MaxPoolRoute = {
  keepsInput: true,

  forward(x, notNegative) {
    const geometry = geometryOf(WINDOW, x.shape[1] ?? 0, x.shape[2] ?? 0);
    // SAME pads max pools with 'nothing'; only the padding by hand has to be filled, with zeros where nothing is less.
    const input = padWindow(x, geometry, notNegative ? undefined : lowest(x.dtype));
    const output = maxPool(input, WINDOW.kernel, WINDOW.stride, geometry.padding);
    const inputShape = x.shape;
    return {
      output,
      dispose: () => {
        if (input !== x) input.dispose();
      },
      backward(gradient) {
        const sum = joined(gradient);
        const padded = maxPoolGrad(input, output, sum, WINDOW.kernel, WINDOW.stride, geometry.padding);
        sum.dispose();
        this.dispose();
        return cropWindow(padded, geometry, inputShape);
      },
    };
  },
};

function lowest(dtype: DType): Tensor {
  return constant(`lowest ${dtype}`, () => {
    const value = Tensor.of(Float32Array.of(LOWEST), []);
    if (dtype === 'float32') return value;
    const rounded = cast(value, dtype);
    value.dispose();
    return rounded;
  });
}
