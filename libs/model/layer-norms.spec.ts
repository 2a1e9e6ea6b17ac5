import { describe, expect, it } from 'vitest';
import { modelOf } from '../../test/support/networks.js';
import { layerFigures, layersOf, pieceSums, piecesOf } from './layer-norms.js';
import { NORM_BLOCK_ELEMENTS } from './optimizer.js';
import { initialState, layoutOf } from './parameters.js';
import { randomStream } from './random.js';

const model = modelOf('resnet18', { classes: 100, imageSize: 64 });
const layout = layoutOf(model);
const layers = layersOf(layout);
const pieces = piecesOf(layers);
const { parameters: before } = initialState(model, layout, 1);
const { parameters: after } = initialState(model, layout, 2);

const random = randomStream(3);
const gradient = Float32Array.from({ length: layout.parameterCount }, () => random.normal());

/** What slices that own blocks in turn give, each with the gradient of its own blocks alone, without gaps. */
function bySlices(slices: number): Float64Array[] {
  return Array.from({ length: slices }, (_, slice) => {
    const own = Array.from(
      { length: Math.ceil(layout.parameterCount / NORM_BLOCK_ELEMENTS) },
      (__, block) => block,
    ).filter((block) => block % slices === slice);
    const parts = own.map((block) => gradient.slice(block * NORM_BLOCK_ELEMENTS, (block + 1) * NORM_BLOCK_ELEMENTS));
    const gapless = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
    own.forEach((_block, index) => gapless.set(parts[index]!, index * NORM_BLOCK_ELEMENTS));
    const vectors = { gradient: Float32Array.from(gapless), before, after };
    const sums = pieces
      .filter(({ block }) => block % slices === slice)
      .flatMap((piece) => {
        const inBlock = piece.from - piece.block * NORM_BLOCK_ELEMENTS;
        return pieceSums(piece, vectors, own.indexOf(piece.block) * NORM_BLOCK_ELEMENTS + inBlock);
      });
    return Float64Array.from(sums);
  });
}

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

describe('figures per layer', () => {
  it('have the same bits for any number of slices', () => {
    const [one, ...others] = [1, 2, 3, 5].map((slices) => layerFigures(layers, pieces, bySlices(slices)));
    for (const other of others) expect(other).toEqual(one);
  });

  it('are those of each layer, under its name, from the images to the loss', () => {
    const figures = layerFigures(layers, pieces, bySlices(2));
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
    expect(Object.keys(figures)).toEqual(
      layers.flatMap(({ name }) => [`gradient/norm/${name}`, `update/ratio/${name}`]),
    );
    for (const { name, offset, size } of layers) {
      let [slopes, moves, weights] = [0, 0, 0];
      for (let i = offset; i < offset + size; i++) {
        slopes += gradient[i]! ** 2;
        moves += (after[i]! - before[i]!) ** 2;
        weights += before[i]! ** 2;
      }
      expect(figures[`gradient/norm/${name}`]! / Math.sqrt(slopes)).toBeCloseTo(1, 10);
      expect(figures[`update/ratio/${name}`]! / Math.sqrt(moves / weights)).toBeCloseTo(1, 10);
    }
  });

  it('give a ratio of 0 for weights that are all zero', () => {
    const figures = layerFigures(layers, pieces, [new Float64Array(3 * pieces.length)]);
    expect(Object.values(figures).every((value) => value === 0)).toBe(true);
  });
});
