// Owns: how a layer lends its output to the layers behind it, for forward and once more for backward.
// Refuses to know: whether it is kept in between or made again.

import type { Tensor } from '../tensorflow/tensor.js';

/** A layer's output in training. */
export interface Lent {
  /** The output of the last forward, borrowed until it is given back. */
  lend(): Tensor;
  /** Nobody reads it at present. Whoever made it may free it, if he can make it again; a later `lend` is allowed. */
  giveBack(): void;
}
