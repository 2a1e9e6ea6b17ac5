import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cropAndFlipOf, CROP_PADDING, normalisationTable, UNCHANGED, writeImage, type CropAndFlip } from './augment.js';

const SIZE = 7;
const CHANNELS = 3;
const table = normalisationTable([0.5, 0.25, 0], [0.5, 1, 2]);
const image = fc.uint8Array({ minLength: SIZE * SIZE * CHANNELS, maxLength: SIZE * SIZE * CHANNELS });
const crops: fc.Arbitrary<CropAndFlip> = fc.record({
  top: fc.nat(2 * CROP_PADDING),
  left: fc.nat(2 * CROP_PADDING),
  flip: fc.boolean(),
});

function write(source: Uint8Array, crop: CropAndFlip): Float32Array {
  const out = new Float32Array(SIZE * SIZE * CHANNELS);
  writeImage(source, 0, SIZE, crop, table, out, 0);
  return out;
}

describe('writeImage', () => {
  it('pads with black, crops, then mirrors, pixel by pixel', () => {
    fc.assert(
      fc.property(image, crops, (source, crop) => {
        const out = write(source, crop);
        for (let row = 0; row < SIZE; row++) {
          for (let column = 0; column < SIZE; column++) {
            const y = row + crop.top - CROP_PADDING;
            const x = (crop.flip ? SIZE - 1 - column : column) + crop.left - CROP_PADDING;
            const inside = y >= 0 && y < SIZE && x >= 0 && x < SIZE;
            for (let channel = 0; channel < CHANNELS; channel++) {
              const byte = inside ? source[channel * SIZE * SIZE + y * SIZE + x]! : 0;
              expect(out[(row * SIZE + column) * CHANNELS + channel]).toBe(table[256 * channel + byte]);
            }
          }
        }
      }),
    );
  });

  it('touches nothing around its place', () => {
    const out = new Float32Array(SIZE * SIZE * CHANNELS + 2).fill(9);
    writeImage(new Uint8Array(2 + SIZE * SIZE * CHANNELS), 2, SIZE, { top: 0, left: 8, flip: true }, table, out, 1);
    expect([out[0], out.at(-1)]).toEqual([9, 9]);
    expect(out.subarray(1, -1).includes(9)).toBe(false);
  });
});

describe('normalisationTable', () => {
  it('is (byte / 255 - mean) / std in float32', () => {
    expect([table[0], table[255], table[256], table[512 + 255]]).toEqual([-1, 1, -0.25, 0.5]);
  });
});

describe('cropAndFlipOf', () => {
  it('depends on seed, epoch and sample alone, and takes every place and both sides equally often', () => {
    expect(cropAndFlipOf(1, 2, 3)).toEqual(cropAndFlipOf(1, 2, 3));
    const counts = new Map<string, number>();
    const total = 81_000;
    for (let id = 0; id < total; id++) {
      const { top, left, flip } = cropAndFlipOf(1, id % 3, id);
      for (const key of [`${top},${left}`, `flip ${flip}`]) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(83);
    for (const [key, count] of counts) {
      const expected = key.startsWith('flip') ? total / 2 : total / 81;
      expect(Math.abs(count - expected)).toBeLessThan(5 * Math.sqrt(expected));
    }
    expect(UNCHANGED).toEqual({ top: 4, left: 4, flip: false });
  });
});
