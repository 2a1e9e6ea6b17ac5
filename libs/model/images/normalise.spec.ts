import { describe, expect, it } from 'vitest';
import { normalisationTable } from '../augment.js';
import { normaliseInto } from './normalise.js';

const table = normalisationTable([0.5, 0.25, 0.125], [0.5, 2, 4], [0.1, 0, -0.1]);
const [width, height] = [5, 60];
const pixels = Uint8Array.from({ length: 3 * width * height }, (_, index) => (index * 37) % 256);

describe('normaliseInto', () => {
  it.each([false, true])('looks every byte up in its channel, mirrored: %s', (flip) => {
    const out = new Float32Array(new SharedArrayBuffer(4 * pixels.length));
    normaliseInto(pixels, width, flip, table, out);
    const expected = Array.from(pixels, (_, index) => {
      const [row, column, channel] = [Math.floor(index / 3 / width), Math.floor(index / 3) % width, index % 3];
      const byte = pixels[3 * (row * width + (flip ? width - 1 - column : column)) + channel]!;
      return table[256 * channel + byte]!;
    });
    expect([...out]).toEqual(expected);
  });
});
