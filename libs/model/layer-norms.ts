// Owns: norms per layer of gradients and updates, from sums over the parts of each layer that lie in one block of the vector.
// Refuses to know: threads and slices. Who owns a block sums its pieces, and pieces are added along the tree: so the number of
// owners shows in no bit.

import { NORM_BLOCK_ELEMENTS, sumOfSquares } from './optimizer.js';
import type { ParameterLayout } from './parameters.js';
import { sumTree } from './reduction.js';

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
    for (let from = offset; from < end; ) {
      const block = Math.floor(from / NORM_BLOCK_ELEMENTS);
      const to = Math.min(end, (block + 1) * NORM_BLOCK_ELEMENTS);
      pieces.push({ layer, block, from, to });
      from = to;
    }
  }
  return pieces;
}

/**
 * Sum of squares over each of the pieces, in float64.
 * @param first element of the flat vector that `x[0]` is
 */
export function squaresOf(x: Float32Array, first: number, pieces: readonly Piece[]): number[] {
  return pieces.map(({ from, to }) => sumOfSquares(x, from - first, to - first));
}

/**
 * Sum of the squares of after - before over each of the pieces, in float64.
 * @param first element of the flat vector that `before[0]` and `after[0]` are
 */
export function movesOf(before: Float32Array, after: Float32Array, first: number, pieces: readonly Piece[]): number[] {
  return pieces.map(({ from, to }) => {
    let even = 0;
    let odd = 0;
    let index = from - first;
    const end = to - first;
    for (; index + 1 < end; index += 2) {
      const one = after[index]! - before[index]!;
      const other = after[index + 1]! - before[index + 1]!;
      even += one * one;
      odd += other * other;
    }
    if (index < end) even += (after[index]! - before[index]!) ** 2;
    return even + odd;
  });
}

/** Norm of each layer's gradient, before clipping, under `gradient/norm/<layer>`. */
export function gradientNorms(
  layers: readonly Layer[],
  pieces: readonly Piece[],
  squares: ArrayLike<number>,
): Record<string, number> {
  const sums = layerSums(layers, pieces, squares);
  return Object.fromEntries(layers.map(({ name }, layer) => [`gradient/norm/${name}`, Math.sqrt(sums[layer]!)]));
}

/**
 * How far each layer's weights moved in a step, as a share of their norm before it, under `update/ratio/<layer>`. Around 1e-3
 * is usual; a layer far below it hardly learns, one far above it forgets. 0 where the weights are all zero.
 */
export function updateRatios(
  layers: readonly Layer[],
  pieces: readonly Piece[],
  moves: ArrayLike<number>,
  weights: ArrayLike<number>,
): Record<string, number> {
  const [moved, before] = [layerSums(layers, pieces, moves), layerSums(layers, pieces, weights)];
  return Object.fromEntries(
    layers.map(({ name }, layer) => {
      const weight = before[layer]!;
      return [`update/ratio/${name}`, weight === 0 ? 0 : Math.sqrt(moved[layer]! / weight)];
    }),
  );
}

/** The sum over each layer's pieces, along the tree. */
function layerSums(layers: readonly Layer[], pieces: readonly Piece[], values: ArrayLike<number>): number[] {
  let from = 0;
  return layers.map((_, layer) => {
    let to = from;
    while (pieces[to]?.layer === layer) to += 1;
    const sum = sumTree(values, from, to);
    from = to;
    return sum;
  });
}

/** Values per piece of all owners, in order of pieces, where blocks were dealt to the owners in turn: block b to b mod owners. */
export function inPieceOrder(values: readonly ArrayLike<number>[], pieces: readonly Piece[]): Float64Array {
  const taken = values.map(() => 0);
  return Float64Array.from(pieces, ({ block }) => {
    const owner = block % values.length;
    return values[owner]![taken[owner]!++]!;
  });
}
