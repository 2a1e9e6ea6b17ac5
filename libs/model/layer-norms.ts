// Owns: norms per layer of gradients and updates, from sums over the parts of each layer that lie in one block of the vector.
// Refuses to know: threads and slices. Who owns a block sums its pieces, and pieces are added along the tree: so the number of
// owners shows in no bit.

import { NORM_BLOCK_ELEMENTS } from './optimizer.js';
import type { ParameterLayout } from './parameters.js';
import { sumTree } from './reduction.js';
import { eachTile, tilesFor } from './simd/tiles.js';

/** A layer with weights: a convolution or the dense layer, by torchvision's module name. */
export interface Layer {
  readonly name: string;
  /** Its weights are elements [offset, offset + size) of the flat vector. */
  readonly offset: number;
  readonly size: number;
}

/** The part of a layer's weights that lies in one block. Blocks hold NORM_BLOCK_ELEMENTS elements, the last one fewer. */
export interface Piece {
  /** Index in the layers. */
  readonly layer: number;
  readonly block: number;
  /** Elements [from, to) of the flat vector. */
  readonly from: number;
  readonly to: number;
}

/**
 * The layers with weights, from the images to the loss. Biases, scales and shifts belong to none: beside a filter of
 * a hundredth of their size their norms would hide it.
 */
export function layersOf({ parameters }: Pick<ParameterLayout, 'parameters'>): Layer[] {
  return parameters
    .filter(({ role }) => role === 'filter' || role === 'dense')
    .map(({ name, offset, size }) => ({ name: name.replace(/\.weight$/, ''), offset, size }));
}

/** All pieces, in order; those of a block lie side by side, as do those of a layer. */
export function piecesOf(layers: readonly Layer[]): Piece[] {
  const pieces: Piece[] = [];
  for (const [layer, { offset, size }] of layers.entries()) {
    const end = offset + size;
    for (let from = offset; from < end;) {
      const block = Math.floor(from / NORM_BLOCK_ELEMENTS);
      const to = Math.min(end, (block + 1) * NORM_BLOCK_ELEMENTS);
      pieces.push({ layer, block, from, to });
      from = to;
    }
  }
  return pieces;
}

/** What a step started from and came to: `before` and `after` are whole vectors, `gradient` need hold the piece alone. */
export interface StepVectors {
  readonly gradient: Float32Array;
  readonly before: Float32Array;
  readonly after: Float32Array;
}

/** Numbers per piece that `pieceSums` gives. */
const SUMS = 3;
/** Running sums of each kind: element i of a piece goes to number i mod 4, what is left at its end to the first. */
const CHAINS = 4;

/**
 * Sums over a piece, in float64 and in a fixed order: squares of the gradient, of what the weights moved by, and of the
 * weights before.
 * @param gradientAt element of `gradient` that belongs to the piece's first
 */
export function pieceSums({ from, to }: Piece, vectors: StepVectors, gradientAt: number): [number, number, number] {
  const { gradient, before, after } = vectors;
  const tiles = tilesFor(before);
  const { sums } = tiles;
  sums.fill(0, 0, SUMS * CHAINS);
  const shift = gradientAt - from;
  const whole = to - ((to - from) % CHAINS);
  eachTile(from, whole, (first, last) =>
    tiles.kernels.addStepSquares(
      tiles.bring(0, gradient, first + shift, last + shift),
      tiles.bring(1, before, first, last),
      tiles.bring(2, after, first, last),
      tiles.sumsAt,
      last - first,
    ),
  );
  for (let index = whole; index < to; index++) {
    sums[0]! += gradient[index + shift]! ** 2;
    sums[CHAINS]! += (after[index]! - before[index]!) ** 2;
    sums[2 * CHAINS]! += before[index]! ** 2;
  }
  const sum = (kind: number): number => {
    const first = kind * CHAINS;
    return sums[first]! + sums[first + 1]! + (sums[first + 2]! + sums[first + 3]!);
  };
  return [sum(0), sum(1), sum(2)];
}

/**
 * The metrics of a step for each layer: `gradient/norm/<layer>`, the norm of its gradient before clipping, and
 * `update/ratio/<layer>`, how far its weights moved as a share of their norm (0 where they were all zero). A ratio around
 * 1e-3 is usual; a layer far below it hardly learns, one far above it forgets.
 *
 * @param sums what each owner gave: `pieceSums` of its pieces in their order; block b belongs to owner b mod (number of owners)
 */
export function layerFigures(
  layers: readonly Layer[],
  pieces: readonly Piece[],
  sums: readonly Float64Array[],
): Record<string, number> {
  const [gradients, moves, weights] = columnsOf(pieces, sums);
  const figures: Record<string, number> = {};
  let first = 0;
  for (const [layer, { name }] of layers.entries()) {
    let end = first;
    while (pieces[end]?.layer === layer) end += 1;
    const weight = sumTree(weights, first, end);
    figures[`gradient/norm/${name}`] = Math.sqrt(sumTree(gradients, first, end));
    figures[`update/ratio/${name}`] = weight === 0 ? 0 : Math.sqrt(sumTree(moves, first, end) / weight);
    first = end;
  }
  return figures;
}

/** The owners' sums in the order of pieces, each kind in an array of its own. */
function columnsOf(
  pieces: readonly Piece[],
  sums: readonly Float64Array[],
): [gradients: Float64Array, moves: Float64Array, weights: Float64Array] {
  const taken = sums.map(() => 0);
  const columns = Array.from({ length: SUMS }, () => new Float64Array(pieces.length));
  for (const [index, { block }] of pieces.entries()) {
    const owner = block % sums.length;
    for (const column of columns) column[index] = sums[owner]![taken[owner]!++]!;
  }
  return columns as [Float64Array, Float64Array, Float64Array];
}
