// Owns: in which form workers take a net's parameters: all in float32, or what kernels want in bfloat16 as its bits and the rest, exactly,
// in a vector of its own. Refuses to know: who rounds, how the vectors travel, and what uploads them.
import type { Precision } from './network.js';
import type { ParameterLayout, TensorEntry } from './parameters.js';

/** Elements [from, to) of the flat parameters. */
export interface ElementRange {
  readonly from: number;
  readonly to: number;
}

/**
 * Whether kernels of a bfloat16 net take this entry in float32: all but filters and the biases behind convolutions. The dense
 * layer, which comes last, is computed in float32.
 */
export function staysFloat32(layout: ParameterLayout, entry: TensorEntry): boolean {
  return entry.role !== 'filter' && (entry.role !== 'bias' || entry === layout.parameters.at(-1));
}

/** What the exact vector consists of, in its order; nothing where the flat vector itself is exact. Neighbours are joined. */
export function exactRanges(layout: ParameterLayout, precision: Precision): ElementRange[] {
  if (precision === 'float32') return [];
  const ranges: ElementRange[] = [];
  for (const entry of layout.parameters) {
    if (!staysFloat32(layout, entry)) continue;
    const last = ranges.at(-1);
    const to = entry.offset + entry.size;
    if (last?.to === entry.offset) ranges[ranges.length - 1] = { from: last.from, to };
    else ranges.push({ from: entry.offset, to });
  }
  return ranges;
}

export function elementsOf(ranges: readonly ElementRange[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from, 0);
}

/** A version of the parameters and statistics, maybe while it still arrives. */
export interface ParameterVectors {
  /** Flat, in float32, or as bits of bfloat16. */
  readonly parameters: Float32Array | Uint16Array;
  /** Beside bits of bfloat16: the entries that stay float32, in the layout's order. */
  readonly exact: Float32Array;
  readonly statistics: Float32Array;
  /** Returns when elements [0, end) of the parameters are there, and all of the others; throws when they will never be. */
  readonly wait: (end: number) => void;
}
