import { describe, expect, it } from 'vitest';
import { ImageMemory } from './image-memory.js';

const megabyte = 2 ** 20;

describe('ImageMemory', () => {
  it('hands pieces out beside each other, and again to the next piece of work, also after one that failed', () => {
    const memory = new ImageMemory();
    memory.within(() => {
      expect([memory.take(100), memory.take(1), memory.take(1)]).toEqual([0, 128, 192]);
    });
    expect(() =>
      memory.within(() => {
        memory.take(1000);
        throw new Error('damaged');
      }),
    ).toThrow('damaged');
    memory.within(() => expect(memory.take(1)).toBe(0));
  });

  it('is for one piece of work at a time', () => {
    const memory = new ImageMemory();
    expect(() => memory.within(() => memory.within(() => undefined))).toThrow('in use');
  });

  it('keeps what is in it when it grows', () => {
    const memory = new ImageMemory();
    memory.within(() => {
      const at = memory.take(3);
      memory.bytes.set([1, 2, 3], at);
      memory.take(20 * megabyte);
      expect([...memory.bytes.subarray(at, at + 3)]).toEqual([1, 2, 3]);
    });
    expect(memory.bytes.length).toBeGreaterThan(20 * megabyte);
  });

  it('does not keep the size of a huge image', () => {
    const memory = new ImageMemory();
    memory.within(() => void memory.take(100 * megabyte));
    expect(memory.bytes.length).toBeLessThan(2 * megabyte);
    // Kernels work in the new memory.
    memory.within(() => {
      const pixels = memory.take(3);
      const table = memory.take(4 * 3 * 256);
      const out = memory.take(12);
      memory.bytes.set([1, 2, 3], pixels);
      memory.floats(table, 3 * 256).set(Array.from({ length: 3 * 256 }, (_, index) => index));
      memory.kernels.normalise(pixels, pixels + 3, table, out, 12);
      expect([...memory.floats(out, 3)]).toEqual([1, 256 + 2, 512 + 3]);
    });
  });
});
