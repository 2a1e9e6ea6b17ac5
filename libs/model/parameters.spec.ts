import { describe, expect, it } from 'vitest';
import { modelOf } from '../../test/support/networks.js';
import { initialState, layoutOf } from './parameters.js';

const imagenet = { classes: 1000, imageSize: 224 };

describe('layout', () => {
  it.each([
    ['resnet18', 11_689_512],
    ['resnet34', 21_797_672],
    ['resnet50', 25_557_032],
    ['resnet50-v1.5', 25_557_032],
    ['resnet101', 44_549_160],
    ['resnet152', 60_192_808],
  ])('%s has %i parameters', (architecture, count) => {
    expect(layoutOf(modelOf(architecture, imagenet)).parameterCount).toBe(count);
  });

  it.each([
    ['resnet20', 0.27],
    ['resnet32', 0.46],
    ['resnet44', 0.66],
    ['resnet56', 0.85],
    ['resnet110', 1.7],
  ])('%s with shortcut A has the paper’s %d M parameters', (architecture, millions) => {
    const { parameterCount } = layoutOf(modelOf(architecture, { shortcut: 'A' }));
    expect(Number((parameterCount / 1e6).toFixed(millions > 1 ? 1 : 2))).toBe(millions);
  });

  it('gives plain nets and option A the same parameters, C more than B', () => {
    const count = (architecture: string, shortcut: 'A' | 'B' | 'C'): number =>
      layoutOf(modelOf(architecture, { shortcut })).parameterCount;
    expect(count('resnet20', 'A')).toBe(count('plain20', 'A'));
    expect(count('resnet20', 'B')).toBeGreaterThan(count('resnet20', 'A'));
    expect(count('resnet20', 'C')).toBeGreaterThan(count('resnet20', 'B'));
  });

  it('names and orders tensors as torchvision does, without gaps', () => {
    const layout = layoutOf(modelOf('resnet18', imagenet));
    expect(layout.parameters.slice(0, 4).map(({ name, shape }) => [name, shape])).toEqual([
      ['conv1.weight', [7, 7, 3, 64]],
      ['bn1.weight', [64]],
      ['bn1.bias', [64]],
      ['layer1.0.conv1.weight', [3, 3, 64, 64]],
    ]);
    const names = layout.parameters.map(({ name }) => name);
    expect(names.slice(-2)).toEqual(['fc.weight', 'fc.bias']);
    expect(names.indexOf('layer2.0.downsample.0.weight')).toBe(names.indexOf('layer2.0.bn2.bias') + 1);
    expect(layout.statistics.slice(0, 2).map(({ name }) => name)).toEqual(['bn1.running_mean', 'bn1.running_var']);
    for (const [entries, count] of [
      [layout.parameters, layout.parameterCount],
      [layout.statistics, layout.statisticCount],
    ] as const) {
      expect(entries.reduce((offset, entry) => (entry.offset === offset ? offset + entry.size : NaN), 0)).toBe(count);
    }
  });

  it('has a hash that tells layouts apart', () => {
    const hash = (...changes: Parameters<typeof modelOf>): string => layoutOf(modelOf(...changes)).hash;
    expect(hash('resnet20')).toMatch(/^[0-9a-f]{64}$/);
    expect(hash('resnet20')).toBe(hash('resnet20', { activation: 'tanh' }));
    expect(hash('resnet20', { shortcut: 'A' })).not.toBe(hash('resnet20'));
    expect(hash('resnet20', { batchNorm: false })).not.toBe(hash('resnet20'));
    expect(hash('resnet20', { classes: 11 })).not.toBe(hash('resnet20'));
  });
});

describe('initial state', () => {
  const of = (values: Float32Array): { mean: number; deviation: number } => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return { mean, deviation: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length) };
  };

  it('depends on seed and tensor name alone', () => {
    const model = modelOf('resnet8', { shortcut: 'A' });
    const layout = layoutOf(model);
    const first = initialState(model, layout, 3);
    expect(initialState(model, layout, 3)).toEqual(first);
    expect(initialState(model, layout, 4).parameters).not.toEqual(first.parameters);
    const deeper = modelOf('resnet14', { shortcut: 'A' });
    const other = layoutOf(deeper);
    const entry = other.parameters.find(({ name }) => name === 'layer3.0.conv2.weight')!;
    const same = layout.parameters.find(({ name }) => name === entry.name)!;
    const theirs = initialState(deeper, other, 3).parameters.subarray(entry.offset, entry.offset + entry.size);
    expect(theirs).toEqual(first.parameters.subarray(same.offset, same.offset + same.size));
  });

  it.each(['he', 'xavier'] as const)('%s has its deviation', (initialisation) => {
    const model = modelOf('resnet8', { initialisation });
    const layout = layoutOf(model);
    const { parameters, statistics } = initialState(model, layout, 1);
    const read = (name: string): Float32Array => {
      const { offset, size } = layout.parameters.find((entry) => entry.name === name)!;
      return parameters.subarray(offset, offset + size);
    };
    const { mean, deviation } = of(read('layer3.0.conv2.weight'));
    const expected = initialisation === 'he' ? Math.sqrt(2 / (9 * 64)) : Math.sqrt(2 / (9 * 64 + 9 * 64));
    expect(Math.abs(mean)).toBeLessThan(expected / 50);
    expect(deviation / expected).toBeCloseTo(1, 1);
    const dense = initialisation === 'he' ? Math.sqrt(1 / 64) : Math.sqrt(2 / 74);
    expect(Math.abs(of(read('fc.weight')).deviation / dense - 1)).toBeLessThan(0.1);
    expect(new Set(read('bn1.weight'))).toEqual(new Set([1]));
    expect(new Set([...read('bn1.bias'), ...read('fc.bias')])).toEqual(new Set([0]));
    for (const { role, offset, size } of layout.statistics) {
      expect(new Set(statistics.subarray(offset, offset + size))).toEqual(new Set([role === 'variance' ? 1 : 0]));
    }
  });

  it('starts the last gamma of residual blocks at zero when asked', () => {
    const zeros = (architecture: string): string[] => {
      const model = modelOf(architecture, { zeroLastGamma: true });
      const layout = layoutOf(model);
      const { parameters } = initialState(model, layout, 1);
      return layout.parameters
        .filter(({ role, offset }) => role === 'gamma' && parameters[offset] === 0)
        .map(({ name }) => name);
    };
    expect(zeros('resnet8')).toEqual(['layer1.0.bn2.weight', 'layer2.0.bn2.weight', 'layer3.0.bn2.weight']);
    expect(zeros('plain8')).toEqual([]);
    expect(zeros('resnet50')).toHaveLength(16);
  });
});
