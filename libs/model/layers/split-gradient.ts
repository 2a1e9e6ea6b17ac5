// Owns: gradients that are sums of two addends, as they come out of a block: kernels that read them add on the way.
// Refuses to know: layers.

import { addV2 } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';

/** The gradient `main + addend`. Whoever holds it owns both tensors. */
export interface SplitGradient {
  readonly main: Tensor;
  readonly addend: Tensor | undefined;
}

export const whole = (main: Tensor): SplitGradient => ({ main, addend: undefined });

/** The sum itself; consumes both addends. */
export function joined({ main, addend }: SplitGradient): Tensor {
  if (addend === undefined) return main;
  const sum = addV2(main, addend);
  main.dispose();
  addend.dispose();
  return sum;
}
