import { describe, expect, it } from 'vitest';
import { roundToBfloat16 } from '#model/float-arrays.js';
import { VectorMemory } from '#model/simd/vector-memory.js';
import { type BlockRange, blockElements, bytesOf, copyBlock, type PullRegion, pullTable } from '#proto/blocks.js';
import { crc32c } from '#proto/crc32c.js';
import { JobSlice } from './job-slice.js';
import type { SliceJob } from './messages.js';

const parameterCount = 3 * blockElements + 70;
const statisticCount = 9;
/** Across blocks, and across what different slices own. */
const exactRanges = [
  { from: 5, to: 8 },
  { from: blockElements - 2, to: blockElements + 3 },
  { from: parameterCount - 4, to: parameterCount },
];
const exactCount = 12;
const job: SliceJob = {
  ...{ jobId: 'j', layoutHash: 'l', parameterCount, statisticCount, wire: 'bfloat16', exactRanges },
  ...{ momentum: 0.9, nesterov: false, decayRanges: [{ from: 0, to: parameterCount, weightDecay: 0 }] },
  ...{ layers: [], tensors: [] },
};
const table: readonly BlockRange<PullRegion>[] = pullTable(parameterCount, statisticCount, exactCount);
const ramp = (length: number, seed: number) => Float32Array.from({ length }, (_, index) => seed + index / 3);

function start(slices: number): JobSlice[] {
  const memory = VectorMemory.ofBytes(4e7);
  const state = (seed: number) => ({
    ...{ parameters: ramp(parameterCount, seed), momentum: new Float32Array(parameterCount) },
    ...{ statistics: ramp(statisticCount, -seed), inMemory: false },
  });
  const buffers = [state(1), state(2)];
  return Array.from({ length: slices }, (_, index) => {
    const slice = new JobSlice(job, index, slices, memory);
    buffers.forEach((buffer, number) => slice.addBuffer(number, buffer));
    return slice;
  });
}

const overNetwork = (rounded: boolean) => ({ rounded, sharedMemory: false });

/** What a worker makes of what all slices send. */
function pulled(slices: readonly JobSlice[], buffer: number) {
  const memory = {
    ...{ parameters: new Uint16Array(parameterCount), exact: new Float32Array(exactCount) },
    statistics: new Float32Array(statisticCount),
  };
  for (const { forms, ...slice } of slices.map((each) => ({ forms: each.forms, state: each.buffer(buffer) }))) {
    const regions: PullRegion[] = [];
    for (const { index, data, checksum } of forms.blocks(buffer, slice.state, overNetwork(true)).blocks) {
      const range = table[index]!;
      regions.push(range.region);
      expect(checksum).toBe(crc32c(data));
      copyBlock(data, memory[range.region], range);
    }
    expect(regions.length).toBe(forms.count({ rounded: true }));
    // What is small comes first.
    const firstOfParameters = regions.indexOf('parameters');
    expect(regions.slice(firstOfParameters).every((region) => region === 'parameters')).toBe(true);
  }
  return sumsOf(memory);
}

/** Checksums of vectors, which compare quickly. */
function sumsOf(vectors: Record<PullRegion, Uint16Array | Float32Array>): number[] {
  const { parameters, statistics, exact } = vectors;
  return [parameters, statistics, exact].map((vector) => crc32c(bytesOf(vector, { first: 0, count: vector.length })));
}

function expected(parameters: Float32Array, statistics: Float32Array) {
  const bits = new Uint16Array(parameterCount);
  roundToBfloat16(parameters, bits);
  const exact = exactRanges.flatMap(({ from, to }) => [...parameters.subarray(from, to)]);
  return sumsOf({ parameters: bits, exact: Float32Array.from(exact), statistics });
}

describe('PullForms', () => {
  it.each([1, 2, 3])('send rounded parameters, and exactly what stays float32, over %i slices', (count) => {
    const slices = start(count);
    const want = expected(ramp(parameterCount, 1), ramp(statisticCount, -1));
    expect(pulled(slices, 0)).toEqual(want);
    expect(pulled(slices, 0)).toEqual(want);
  });

  it('are made anew when an update has written to the buffer', () => {
    const slices = start(2);
    pulled(slices, 1);
    for (const slice of slices) {
      slice.openStep(1);
      const staged = slice.stage();
      staged.gradient.fill(0x3f80);
      staged.statistics.fill(0);
      slice.add(0, staged);
      slice.apply({ jobId: 'j', fromBuffer: 0, toBuffer: 1, learningRate: 0.5, gradientScale: 1 });
    }
    const { parameters, statistics } = slices[0]!.buffer(1);
    expect(pulled(slices, 1)).toEqual(expected(parameters, statistics));
    expect(parameters[5]).toBe(Math.fround(Math.fround(1 + 5 / 3) - 0.5));
  });

  it('send float32 with the checksums that the update gave', () => {
    const [slice] = start(1);
    slice!.checksums(0);
    const blocks = [...slice!.forms.blocks(0, slice!.buffer(0), overNetwork(false)).blocks];
    expect(blocks.map(({ index }) => index)).toEqual([4, 0, 1, 2, 3]);
    for (const { data, checksum } of blocks) expect(checksum).toBe(crc32c(data));
    const [first] = slice!.blocks;
    expect(Buffer.compare(blocks[1]!.data, bytesOf(ramp(parameterCount, 1), first!))).toBe(0);
  });
});
