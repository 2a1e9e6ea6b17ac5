// Owns: adding the rows and columns that a window's geometry asks for, and taking them off gradients again.
// Refuses to know: how a geometry comes about (window.ts), and what the window computes.

import { pad, slice } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import type { WindowGeometry } from './window.js';

/** x with the geometry's rows and columns around it; x itself where there are none (check before disposing). */
export function padWindow(x: Tensor, geometry: WindowGeometry, fill?: Tensor): Tensor {
  if (geometry.explicit === undefined) return x;
  return pad(x, [[0, 0], ...geometry.explicit, [0, 0]], fill);
}

export function paddedShape(shape: readonly number[], { explicit }: WindowGeometry): readonly number[] {
  const [n = 0, height = 0, width = 0, channels = 0] = shape;
  if (explicit === undefined) return shape;
  const [rows, columns] = explicit;
  return [n, height + rows[0] + rows[1], width + columns[0] + columns[1], channels];
}

/** The gradient without the rows and columns that `padWindow` added; consumes `gradient`. */
export function cropWindow(gradient: Tensor, geometry: WindowGeometry, inputShape: readonly number[]): Tensor {
  if (geometry.explicit === undefined) return gradient;
  const [rows, columns] = geometry.explicit;
  const cropped = slice(gradient, [0, rows[0], columns[0], 0], inputShape);
  gradient.dispose();
  return cropped;
}
