import { describe, expect, it } from 'vitest';
import { modelOf } from '../../test/support/networks.js';
import {
  gradientNorms,
  inPieceOrder,
  layersOf,
  movesOf,
  piecesOf,
  squaresOf,
  updateRatios,
} from './layer-norms.js';
import { NORM_BLOCK_ELEMENTS } from './optimizer.js';
import { initialState, layoutOf } from './parameters.js';

const model = modelOf('resnet18', { classes: 100, imageSize: 64 });
const layout = layoutOf(model);
const layers = layersOf(layout);
const pieces = piecesOf(layers);
const { parameters: before } = initialState(model, layout, 1);
const { parameters: after } = initialState(model, layout, 2);

/** What slices that own blocks in turn give, each from a gapless vector of its own blocks, put together again. */
function bySlices(slices: number, valuesOf: (block: number) => number[]): Float64Array {
  const blocks = Math.ceil(layout.parameterCount / NORM_BLOCK_ELEMENTS);
  const own = Array.from({ length: slices }, (): number[] => []);
  for (let block = 0; block < blocks; block++) own[block % slices]!.push(...valuesOf(block));
  return inPieceOrder(own, pieces);
}

function blockOf(x: Float32Array, block: number): Float32Array {
  return x.slice(block * NORM_BLOCK_ELEMENTS, (block + 1) * NORM_BLOCK_ELEMENTS);
}

const inBlock = (block: number) => pieces.filter((piece) => piece.block === block);
const squares = (slices: number, x: Float32Array): Float64Array =>
  bySlices(slices, (block) => squaresOf(blockOf(x, block), block * NORM_BLOCK_ELEMENTS, inBlock(block)));
const moves = (slices: number): Float64Array =>
  bySlices(slices, (block) =>
    movesOf(blockOf(before, block), blockOf(after, block), block * NORM_BLOCK_ELEMENTS, inBlock(block)),
  );

describe('pieces', () => {
  it('cover each layer in order, each in one block', () => {
    expect(pieces.length).toBeGreaterThan(layers.length);
    for (const [layer, { offset, size }] of layers.entries()) {
      let covered = offset;
      for (const { block, from, to } of pieces.filter((piece) => piece.layer === layer)) {
        expect(from).toBe(covered);
        covered = to;
        expect(Math.floor(from / NORM_BLOCK_ELEMENTS)).toBe(block);
        expect(Math.floor((to - 1) / NORM_BLOCK_ELEMENTS)).toBe(block);
      }
      expect(covered).toBe(offset + size);
    }
  });
});

describe('norms', () => {
  it('have the same bits for any number of slices', () => {
    const [one, ...others] = [1, 2, 3, 5].map((slices) => ({
      norms: gradientNorms(layers, pieces, squares(slices, before)),
      ratios: updateRatios(layers, pieces, moves(slices), squares(slices, before)),
    }));
    for (const other of others) expect(other).toEqual(one);
  });

  it('are those of each layer, under its name', () => {
    const norms = gradientNorms(layers, pieces, squares(2, before));
    const ratios = updateRatios(layers, pieces, moves(2), squares(2, before));
    expect(layers.map(({ name }) => name)).toEqual([
      'conv1',
      ...[1, 2, 3, 4].flatMap((stage) => [
        `layer${stage}.0.conv1`,
        `layer${stage}.0.conv2`,
        ...(stage === 1 ? [] : [`layer${stage}.0.downsample.0`]),
        `layer${stage}.1.conv1`,
        `layer${stage}.1.conv2`,
      ]),
      'fc',
    ]);
    for (const { name } of layers) {
      const { offset, size } = layout.parameters.find((entry) => entry.name === `${name}.weight`)!;
      const [weights, moved] = [0, 0].map(() => ({ sum: 0 }));
      for (let i = offset; i < offset + size; i++) {
        weights!.sum += before[i]! ** 2;
        moved!.sum += (after[i]! - before[i]!) ** 2;
      }
      expect(norms[`gradient/norm/${name}`]! / Math.sqrt(weights!.sum)).toBeCloseTo(1, 10);
      expect(ratios[`update/ratio/${name}`]! / Math.sqrt(moved!.sum / weights!.sum)).toBeCloseTo(1, 10);
    }
  });

  it('give a ratio of 0 for weights that are all zero', () => {
    const nothing = new Float64Array(pieces.length);
    expect(Object.values(updateRatios(layers, pieces, nothing, nothing)).every((ratio) => ratio === 0)).toBe(true);
  });
});
