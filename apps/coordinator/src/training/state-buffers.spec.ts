import { describe, expect, it } from 'vitest';
import { VectorMemory } from '#model/simd/vector-memory.js';
import { StateBuffers } from './state-buffers.js';

describe('StateBuffers', () => {
  it('takes turns with two buffers', async () => {
    const made: number[] = [];
    const buffers = new StateBuffers({ parameters: 3, statistics: 1 }, VectorMemory.ofBytes(1), (index) =>
      made.push(index),
    );
    expect(await buffers.spare(undefined)).toBe(0);
    expect(await buffers.spare(0)).toBe(1);
    expect(await buffers.spare(1)).toBe(0);
    expect(made).toEqual([0, 1]);
    expect(buffers.get(1).parameters.buffer).toBeInstanceOf(SharedArrayBuffer);
  });

  it('lie in the memory of vectors, and beside it where that is full', async () => {
    const memory = VectorMemory.ofBytes(1);
    const counts = { parameters: memory.memory.buffer.byteLength / 4 / 2 - 50_000, statistics: 3 };
    const made: boolean[] = [];
    const buffers = new StateBuffers(counts, memory, (_, { inMemory }) => made.push(inMemory));
    for (const index of [0, 1]) await buffers.spare(index - 1);
    expect(made).toEqual([true, false]);
    for (const index of [0, 1]) {
      const { parameters, momentum, statistics } = buffers.get(index);
      expect(parameters.buffer).toBeInstanceOf(SharedArrayBuffer);
      expect(parameters.buffer === memory.memory.buffer).toBe(index === 0);
      expect([parameters.length, momentum.length, statistics.length]).toEqual([
        counts.parameters,
        counts.parameters,
        3,
      ]);
    }
  });

  it('takes a third while a checkpoint reads one, and waits rather than take a fourth', async () => {
    const buffers = new StateBuffers({ parameters: 1, statistics: 1 }, VectorMemory.ofBytes(1), () => undefined);
    await buffers.spare(undefined);
    await buffers.spare(0);
    const releaseFirst = buffers.hold(0);
    expect(await buffers.spare(1)).toBe(2);
    const releaseSecond = buffers.hold(1);
    let waited = true;
    const spare = buffers.spare(2).finally(() => (waited = false));
    await Promise.resolve();
    expect(waited).toBe(true);
    releaseSecond();
    expect(await spare).toBe(1);
    releaseFirst();
  });
});
