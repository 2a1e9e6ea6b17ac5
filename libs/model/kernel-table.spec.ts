import { describe, expect, it } from 'vitest';
import { modelOf } from '../../test/support/networks.js';
import {
  fitsShapes,
  fixedKernels,
  fixedRule,
  kernelKey,
  pointwiseShapes,
  ruleOf,
  tableInShort,
} from './kernel-table.js';
import type { KernelTable } from './kernel-table.js';

const products = { forward: 'product', inputGradient: 'product', filterGradient: 'product' } as const;
const convolutions = { forward: 'convolution', inputGradient: 'convolution', filterGradient: 'convolution' } as const;
const keysOf = (architecture: string, changes: object = {}): string[] =>
  pointwiseShapes(modelOf(architecture, changes)).map(kernelKey);

describe('the shapes of a net', () => {
  it('are each there once, however deep it is, in the order of forward', () => {
    const of50 = keysOf('resnet50', { imageSize: 224 });
    expect(of50).toEqual(keysOf('resnet152', { imageSize: 224 }));
    expect(of50).toHaveLength(15);
    expect(of50.slice(0, 5)).toEqual(['3136x64x256', '3136x64x64', '3136x256x64', '784x256x512', '784x256x128']);
    expect(of50.at(-1)).toBe('49x2048x512');
  });

  it('of the stride in the 3x3 include what the 1x1 before it sees', () => {
    expect(keysOf('resnet50-v1.5', { imageSize: 224 })).toContain('3136x256x128');
    expect(keysOf('resnet50', { imageSize: 224 })).not.toContain('3136x256x128');
  });

  it('are those of the projections in nets of basic blocks, and none without projections', () => {
    expect(keysOf('resnet18', { imageSize: 32 })).toEqual(['16x64x128', '4x128x256', '1x256x512']);
    expect(keysOf('resnet20', { imageSize: 32, shortcut: 'B' })).toEqual(['256x16x32', '64x32x64']);
    expect(keysOf('resnet20', { imageSize: 32, shortcut: 'A' })).toEqual([]);
    expect(keysOf('plain34', { imageSize: 224 })).toEqual([]);
  });
});

describe('a rule', () => {
  it('without a table takes products for few pixels and for all filters', () => {
    expect(ruleOf(undefined)).toBe(fixedRule);
    const many = { pixels: 65, inputs: 8, outputs: 8 };
    expect(fixedKernels(many)).toEqual({ ...convolutions, filterGradient: 'product' });
    expect(fixedKernels({ ...many, pixels: 64 })).toEqual(products);
  });

  it('of a table says what that says, and goes by the fixed rule elsewhere', () => {
    const known = { pixels: 64, inputs: 8, outputs: 16 };
    const rule = ruleOf({ [kernelKey(known)]: { ...convolutions, inputGradient: 'product' } });
    expect(rule('forward', known)).toBe('convolution');
    expect(rule('inputGradient', known)).toBe('product');
    expect(rule('filterGradient', known)).toBe('convolution');
    expect(rule('forward', { ...known, outputs: 8 })).toBe('product');
  });
});

describe('a table', () => {
  const shapes = pointwiseShapes(modelOf('resnet18', { imageSize: 32 }));
  const table: KernelTable = Object.fromEntries(shapes.map((shape) => [kernelKey(shape), products]));

  it('fits the net whose shapes it has, all and no others', () => {
    expect(fitsShapes(table, shapes)).toBe(true);
    expect(fitsShapes(table, shapes.slice(1))).toBe(false);
    expect(fitsShapes(table, [...shapes.slice(1), { pixels: 9, inputs: 1, outputs: 1 }])).toBe(false);
  });

  it('in short is the same for the same table in any order, and another for any other', () => {
    const short = tableInShort(table);
    expect(short).toMatch(/^1x1 convolutions by MatMul: 9 of 9 \(table [0-9a-f]{8}\)$/);
    expect(tableInShort(Object.fromEntries(Object.entries(table).toReversed()))).toBe(short);
    const [first, second] = Object.keys(table) as [string, string];
    const less = { ...products, forward: 'convolution' } as const;
    expect(tableInShort({ ...table, [first]: less })).toContain('8 of 9');
    expect(tableInShort({ ...table, [first]: less })).not.toBe(tableInShort({ ...table, [second]: less }));
    expect(tableInShort({})).toBeUndefined();
  });
});
