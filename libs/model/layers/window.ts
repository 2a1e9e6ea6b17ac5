// Owns: the geometry of a window with torchvision's symmetric padding, for kernels that know only SAME and VALID.
// Refuses to know: tensors, and what the window computes.

import type { WindowPadding } from '../tensorflow/kernels.js';

export interface Window {
  /** Side of the square window. */
  readonly kernel: number;
  readonly stride: number;
}

export interface WindowGeometry {
  readonly padding: WindowPadding;
  /** [before, after] of rows and of columns to add (with 'VALID'); undefined where the kernel pads by itself. */
  readonly explicit: readonly [readonly [number, number], readonly [number, number]] | undefined;
}

/**
 * (kernel - 1) / 2 pixels on every side, as torchvision has it. SAME does that at stride 1 and on odd sides at stride 2;
 * elsewhere SAME is lopsided, so the rows and columns that the window really reads are added by hand. TensorFlow's own
 * EXPLICIT padding would do, but its gradient kernels are 3 to 15 times slower.
 */
export function geometryOf(window: Window, height: number, width: number): WindowGeometry {
  const rows = sidePadding(window, height);
  const columns = sidePadding(window, width);
  if (window.kernel === 1) return { padding: 'VALID', explicit: undefined };
  if (rows.same && columns.same) return { padding: 'SAME', explicit: undefined };
  return { padding: 'VALID', explicit: [rows.added, columns.added] };
}

function sidePadding({ kernel, stride }: Window, side: number): { same: boolean; added: [number, number] } {
  const before = (kernel - 1) / 2;
  const outputs = Math.floor((side + 2 * before - kernel) / stride) + 1;
  const after = Math.max(0, (outputs - 1) * stride + kernel - side - before);
  const sameOutputs = Math.ceil(side / stride);
  const sameTotal = Math.max(0, (sameOutputs - 1) * stride + kernel - side);
  return { same: sameOutputs === outputs && Math.floor(sameTotal / 2) === before, added: [before, after] };
}

/** Rows (or columns) that a window of any odd side gives for `side` of them: the padding makes up for the kernel. */
export function outputSide(stride: number, side: number): number {
  return Math.floor((side - 1) / stride) + 1;
}
