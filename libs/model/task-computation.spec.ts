import { afterAll, describe, expect, it } from 'vitest';
import { loadedNetwork, modelOf, pass, randomBatch } from '../../test/support/networks.js';
import { addInto, roundToBfloat16 } from './float-arrays.js';
import { splitPoint } from './reduction.js';
import { computeTask } from './task-computation.js';

import type { ContributionTarget, ShardInput } from './task-computation.js';
import { liveTensors } from './tensorflow/tensor.js';

const model = modelOf('resnet8', { shortcut: 'A', imageSize: 8 });
const networks = { float32: loadedNetwork(model, 'float32'), bfloat16: loadedNetwork(model, 'bfloat16') };
const { layout } = networks.float32;
const sizes = [3, 2, 4, 2, 3, 2, 2];
const shards: ShardInput[] = sizes.map((size, index) => randomBatch(size, 8, 10, index));
const miniBatchSamples = 40;

afterAll(() => {
  networks.float32.dispose();
  networks.bfloat16.dispose();
});

const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

function targetOf(gradient: Float32Array | Uint16Array): ContributionTarget & { readonly progress: number[] } {
  const progress: number[] = [];
  return {
    gradient,
    statistics: new Float32Array(layout.statisticCount),
    progress,
    onProgress: (first) => progress.push(first),
  };
}

/** protocol.md's tree, by its recursive definition, over shards that were computed one by one. */
function treeSum(
  precision: 'float32' | 'bfloat16',
  lo: number,
  hi: number,
): { gradient: Float32Array; statistics: Float32Array } {
  if (hi - lo === 1) {
    const { images, labels } = shards[lo]!;
    const { gradient, statistics } = pass(networks[precision], images, labels, 1 / miniBatchSamples);
    return { gradient, statistics: statistics.map((value) => value * (labels.length / miniBatchSamples)) };
  }
  const middle = splitPoint(lo, hi);
  const [left, right] = [treeSum(precision, lo, middle), treeSum(precision, middle, hi)];
  addInto(left.gradient, right.gradient);
  addInto(left.statistics, right.statistics);
  return left;
}

describe.each(['float32', 'bfloat16'] as const)('a task in %s', (precision) => {
  it.each([1, 2, 3, 4, 5, 6, 7])('of %i shards has the bits of the tree', (count) => {
    const target = targetOf(new Float32Array(layout.parameterCount));
    const result = computeTask(networks[precision], shards.slice(0, count), miniBatchSamples, target);
    const expected = treeSum(precision, 0, count);
    expect(bits(target.gradient as Float32Array)).toEqual(bits(expected.gradient));
    expect(bits(target.statistics)).toEqual(bits(expected.statistics));
    expect(result.samples).toBe(sizes.slice(0, count).reduce((sum, size) => sum + size, 0));
    expect(result.lossSum).toBeGreaterThan(0);
  });

  it.each([1, 3, 4])('of %i shards is rounded once, at the root, for a bfloat16 wire', (count) => {
    const target = targetOf(new Uint16Array(layout.parameterCount));
    computeTask(networks[precision], shards.slice(0, count), miniBatchSamples, target);
    const expected = new Uint16Array(layout.parameterCount);
    roundToBfloat16(treeSum(precision, 0, count).gradient, expected);
    expect(target.gradient).toEqual(expected);
  });

  it.each([1, 7, 1000])('has the same bits, in the same order, where gradients are read %i later', (readLag) => {
    const [plain, lagged] = [0, readLag].map((lag) => {
      const target = targetOf(new Float32Array(layout.parameterCount));
      computeTask(networks[precision], shards.slice(0, 3), miniBatchSamples, { ...target, readLag: lag });
      return target;
    }) as [ReturnType<typeof targetOf>, ReturnType<typeof targetOf>];
    expect(lagged.gradient).toEqual(plain.gradient);
    expect(lagged.statistics).toEqual(plain.statistics);
    expect(lagged.progress).toEqual(plain.progress);
  });

  it.each([1, 3])('of %i shards becomes final from its end on', (count) => {
    const gradient = new Float32Array(layout.parameterCount).fill(NaN);
    const seen: { first: number; values: Float32Array }[] = [];
    const target = {
      ...targetOf(gradient),
      onProgress: (first: number) => seen.push({ first, values: gradient.slice(first) }),
    };
    computeTask(networks[precision], shards.slice(0, count), miniBatchSamples, target);
    expect(seen.map(({ first }) => first)).toEqual(layout.parameters.map(({ offset }) => offset).toReversed());
    const same = ({ first, values }: (typeof seen)[number]): boolean =>
      Buffer.from(values.buffer).equals(Buffer.from(gradient.buffer, 4 * first));
    expect(seen.every(same)).toBe(true);
  });
});

it('goes on after a task that failed, and refuses what does not fit', () => {
  const network = networks.float32;
  const good = targetOf(new Float32Array(layout.parameterCount));
  const compute = (inputs: readonly ShardInput[], target: ContributionTarget): unknown =>
    computeTask(network, inputs, miniBatchSamples, target);
  compute(shards.slice(0, 3), good);
  const bad: ShardInput = { ...shards[2]!, labels: Int32Array.of(1, 2, 3, 77) };
  expect(() => compute([shards[0]!, shards[1]!, bad], targetOf(new Float32Array(layout.parameterCount)))).toThrow(
    'label 77',
  );
  const live = liveTensors();
  expect(() => compute([bad], { ...targetOf(new Float32Array(layout.parameterCount)), readLag: 3 })).toThrow(
    'label 77',
  );
  const stop = (): never => {
    throw new Error('given up');
  };
  const stopped = { ...targetOf(new Float32Array(layout.parameterCount)), readLag: 3, onProgress: stop };
  expect(() => compute(shards, stopped)).toThrow('given up');
  expect(liveTensors()).toBe(live);
  const again = targetOf(new Float32Array(layout.parameterCount));
  compute(shards.slice(0, 3), again);
  expect(again.gradient).toEqual(good.gradient);
  expect(() => compute([], good)).toThrow('at least one shard');
  expect(() => compute(shards, targetOf(new Float32Array(3)))).toThrow('layout');
});

it('hands on gradients that are read later also where a net has no statistics to tell the end', () => {
  const plainModel = modelOf('plain8', { shortcut: 'A', imageSize: 8, batchNorm: false });
  const network = loadedNetwork(plainModel, 'float32');
  const before = liveTensors();
  const [plain, lagged] = [0, 7].map((readLag) => {
    const gradient = new Float32Array(network.layout.parameterCount).fill(NaN);
    computeTask(network, shards.slice(0, 3), miniBatchSamples, {
      ...{ gradient, statistics: new Float32Array(0), readLag },
      onProgress: () => undefined,
    });
    return gradient;
  });
  expect(lagged).toEqual(plain);
  expect(liveTensors()).toBe(before);
  network.dispose();
});
