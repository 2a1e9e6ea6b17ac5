import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { layerFigures, piecesOf } from '#model/layer-norms.js';
import { sgdOverRanges, squaredNorm, updateStatisticsRange } from '#model/optimizer.js';
import { addInto, roundToBfloat16, splitPoint, sumTree, widenBfloat16 } from '#model/reduction.js';
import { VectorMemory } from '#model/simd/vector-memory.js';
import { blockElements, bytesOf } from '#proto/blocks.js';
import { crc32c } from '#proto/crc32c.js';
import { inBlockOrder } from './block-order.js';
import { JobSlice } from './job-slice.js';
import type { SliceJob, StateBuffer } from './messages.js';

const parameterCount = 2 * blockElements + 700;
const statisticCount = 90;
const job: SliceJob = {
  jobId: 'j',
  layoutHash: 'h',
  parameterCount,
  statisticCount,
  wire: 'float32',
  exactRanges: undefined,
  momentum: 0.9,
  nesterov: true,
  // Ends within blocks, so that they have to be cut.
  decayRanges: [
    { from: 0, to: 1000, weightDecay: 0.1 },
    { from: 1000, to: blockElements + 5, weightDecay: 0 },
    { from: blockElements + 5, to: parameterCount, weightDecay: 0.01 },
  ],
  layers: [{ name: 'first', offset: 10, size: blockElements + 20 }],
  tensors: [
    { name: 'first', offset: 0, size: blockElements + 3 },
    { name: 'second', offset: blockElements + 3, size: parameterCount - blockElements - 3 },
  ],
};

const made = new Map<string, Float32Array>();
/** A copy of numbers that are made once for each length and seed. */
function numbers(length: number, seed: number): Float32Array {
  const key = `${length}/${seed}`;
  const known = made.get(key) ?? new Float32Array(length);
  if (!made.has(key)) for (let i = 0; i < length; i += 1) known[i] = Math.sin(i * 12.9898 + seed * 78.233) * 10;
  made.set(key, known);
  return known.slice();
}

/** In the memory, if there is one, else beside it. */
function state(seed?: number, memory?: VectorMemory): StateBuffer {
  const make = (length: number, offset: number): Float32Array => {
    const array = memory?.float32(length) ?? new Float32Array(length);
    if (seed !== undefined) array.set(numbers(length, seed + offset));
    return array;
  };
  return {
    parameters: make(parameterCount, 0),
    momentum: make(parameterCount, 1),
    statistics: make(statisticCount, 2),
    inMemory: memory !== undefined,
  };
}

/** Slices of one job over the same two buffers, each with the contributions delivered in the given order. */
function update(slices: number, wire: 'float32' | 'bfloat16', order: readonly number[], inMemory: boolean) {
  // Without room for all, some of what is summed lies beside it too.
  const memory = VectorMemory.ofBytes(inMemory ? 1e8 : 1);
  const [from, to] = [state(1, inMemory ? memory : undefined), state(undefined, inMemory ? memory : undefined)];
  const all = Array.from({ length: slices }, (_, slice) => new JobSlice({ ...job, wire }, slice, slices, memory));
  const norms: Float64Array[] = [];
  const checksums: Float64Array[] = [];
  const layerSums: Float64Array[] = [];
  for (const slice of all) {
    slice.addBuffer(0, from);
    slice.addBuffer(1, to);
    slice.openStep(order.length);
    for (const task of order) {
      const staged = slice.stage();
      const wide = numbers(parameterCount, 100 + task);
      const bits = new Uint16Array(parameterCount);
      roundToBfloat16(wide, bits);
      const vectors = {
        parameters: wire === 'bfloat16' ? bits : wide,
        statistics: numbers(statisticCount, 200 + task),
      };
      for (const range of slice.blocks) {
        slice.receive(staged, range, bytesOf(vectors[range.region], range));
      }
      slice.add(task, staged);
    }
    const sums = slice.summarise();
    expect(sums.finite).toBe(true);
    norms.push(sums.values);
    const applied = slice.apply({ jobId: 'j', fromBuffer: 0, toBuffer: 1, learningRate: 0.25, gradientScale: 0.5 });
    expect(applied.finite).toBe(true);
    checksums.push(applied.values);
    layerSums.push(applied.layerSums);
  }
  const figures = layerFigures(job.layers, piecesOf(job.layers), layerSums);
  return { to, norm: sumTree(inBlockOrder(norms)), checksums: inBlockOrder(checksums), figures };
}

/** The definition: recursive sums and one update over whole vectors. */
function expected(wire: 'float32' | 'bfloat16', tasks: number) {
  const leaf = (task: number): Float32Array => {
    const wide = numbers(parameterCount, 100 + task);
    if (wire === 'float32') return wide;
    const bits = new Uint16Array(parameterCount);
    roundToBfloat16(wide, bits);
    widenBfloat16(bits, wide);
    return wide;
  };
  const sum = (make: (task: number) => Float32Array, low: number, high: number): Float32Array => {
    if (high - low === 1) return make(low);
    const middle = splitPoint(low, high);
    const left = sum(make, low, middle);
    addInto(left, sum(make, middle, high));
    return left;
  };
  const [from, to] = [state(1), state()];
  const gradient = sum(leaf, 0, tasks);
  const whole = { from: 0, to: parameterCount, learningRate: 0.25, momentumFactor: 0.9, nesterov: true, scale: 0.5 };
  const outputs = { outParameters: to.parameters, outMomentum: to.momentum };
  sgdOverRanges({ ...from, ...outputs, ...whole, gradient }, job.decayRanges);
  const batch = sum((task) => numbers(statisticCount, 200 + task), 0, tasks);
  updateStatisticsRange({
    statistics: from.statistics,
    batch,
    outStatistics: to.statistics,
    from: 0,
    to: statisticCount,
  });
  const norm = (x: Float32Array) =>
    Math.sqrt(x.subarray(10, blockElements + 30).reduce((total, value) => total + value ** 2, 0));
  const moved = to.parameters.map((value, index) => value - from.parameters[index]!);
  const figures = {
    'gradient/norm/first': norm(gradient),
    'update/ratio/first': norm(moved) / norm(from.parameters),
  };
  return { to, norm: squaredNorm(gradient), figures };
}

describe('JobSlice', () => {
  it.each(['float32', 'bfloat16'] as const)(
    'gives the bits of the definition for any number of slices and order, wherever vectors lie (%s)',
    (wire) => {
      const want = expected(wire, 5);
      const orders = fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 });
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 4 }), orders, fc.boolean(), (slices, order, inMemory) => {
          const got = update(slices, wire, order, inMemory);
          expect(got.norm).toBe(want.norm);
          for (const [name, figure] of Object.entries(want.figures))
            expect(got.figures[name]! / figure).toBeCloseTo(1, 6);
          for (const part of ['parameters', 'momentum', 'statistics'] as const) {
            expect(Buffer.compare(bytes(got.to[part]), bytes(want.to[part]))).toBe(0);
          }
          expect(got.checksums[0]).toBe(crc32c(bytes(want.to.parameters).subarray(0, 4 * blockElements)));
        }),
        { numRuns: 8 },
      );
    },
  );

  it('names the tensor of the first number that is not finite', () => {
    const slice = new JobSlice(job, 0, 1, VectorMemory.ofBytes(1e8));
    const staged = slice.stage();
    const gradient = numbers(parameterCount, 3);
    gradient[blockElements + 3] = Number.POSITIVE_INFINITY;
    const [first, second, , statistics] = slice.blocks;
    for (const range of [first!, second!]) slice.receive(staged, range, bytesOf(gradient, range));
    expect(slice.notFinite(staged, first!)).toBeUndefined();
    expect(slice.notFinite(staged, second!)).toBe('second');
    slice.place(staged, statistics!).set(new Uint8Array(new Float32Array(statisticCount).fill(Number.NaN).buffer));
    expect(slice.notFinite(staged, statistics!)).toBe('The batch statistics');
  });

  it('says so when a sum or an update overflows', () => {
    const slice = new JobSlice(job, 0, 1, VectorMemory.ofBytes(1e8));
    slice.addBuffer(0, state(1));
    slice.addBuffer(1, state());
    slice.openStep(1);
    const staged = slice.stage();
    staged.gradient.fill(3e38);
    staged.statistics.fill(0);
    slice.add(0, staged);
    expect(slice.apply({ jobId: 'j', fromBuffer: 0, toBuffer: 1, learningRate: 10, gradientScale: 1 }).finite).toBe(
      false,
    );
  });

  it('refuses to update before all tasks are in', () => {
    const slice = new JobSlice(job, 0, 1, VectorMemory.ofBytes(1e8));
    slice.openStep(2);
    slice.add(0, slice.stage());
    expect(() => slice.summarise()).toThrow('not complete');
  });
});

function bytes(array: Float32Array): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
