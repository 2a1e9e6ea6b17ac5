import sharp, { type Sharp } from 'sharp';
import { expect, it } from 'vitest';
import { picture } from '../images/test-images.fixture.js';
import { addon } from './addon.js';
import { decodeJpegRows } from './jpeg.js';
import { ofType } from './kernel.js';
import { cast } from './kernels.js';
import { liveTensors, Tensor } from './tensor.js';

const sizes = [
  [500, 375],
  [333, 501],
  [17, 23],
  [64, 9],
] as const;
const kinds = {
  '4:2:0': { chromaSubsampling: '4:2:0' },
  '4:4:4': { chromaSubsampling: '4:4:4' },
  progressive: { progressive: true },
  'coarse, with tables of its own': { quality: 20, mozjpeg: true },
} as const;

async function fine(width: number, height: number): Promise<Sharp> {
  // Noise over the smooth picture: every coefficient counts.
  const { data } = await picture(width, height).raw().toBuffer({ resolveWithObject: true });
  let state = 1;
  for (let index = 0; index < data.length; index++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    data[index] = Math.min(255, data[index]! + (state >>> 27));
  }
  return sharp(data, { raw: { width, height, channels: 3 } });
}

it.each(Object.entries(kinds))('gives the pixels that sharp gives: %s', async (_name, options) => {
  for (const [width, height] of sizes) {
    for (const grey of [false, true]) {
      const source = await fine(width, height);
      const bytes = await (grey ? source.greyscale() : source).jpeg({ quality: 90, ...options }).toBuffer();
      const expected = await sharp(bytes).toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer();
      expect(Buffer.compare(decodeJpegRows(bytes, width, 0, height)!, expected)).toBe(0);
      const [top, rows] = [Math.floor(height / 3), Math.ceil(height / 2)];
      const part = expected.subarray(3 * width * top, 3 * width * (top + rows));
      expect(Buffer.compare(decodeJpegRows(bytes, width, top, rows)!, part)).toBe(0);
    }
  }
});

it('gives nothing for what is truncated, what is no JPEG and rows that are not there, and leaves no tensors behind', async () => {
  const bytes = await (await fine(200, 100)).jpeg().toBuffer();
  const before = liveTensors();
  expect(decodeJpegRows(bytes.subarray(0, bytes.length / 2), 200, 0, 100)).toBeUndefined();
  expect(decodeJpegRows(new TextEncoder().encode('no image'), 200, 0, 100)).toBeUndefined();
  expect(decodeJpegRows(bytes, 200, 50, 51)).toBeUndefined();
  expect(liveTensors()).toBe(before);
});

it('reads bytes into bytes alone', () => {
  const numbers = Tensor.of(Float32Array.of(1, 2, 3), [3]);
  const bytes = cast(numbers, 'uint8');
  expect(() => addon().readInto(bytes.id, ofType('uint8'), new Float32Array(3))).toThrow(
    /not of a type for this tensor/,
  );
  expect(() => addon().readInto(numbers.id, ofType('float32'), new Uint8Array(3))).toThrow(/not of a type for this/);
  expect(() => addon().readInto(bytes.id, ofType('uint8'), new Uint8Array(2))).toThrow(/not as long as the tensor/);
  const read = new Uint8Array(3);
  addon().readInto(bytes.id, ofType('uint8'), read);
  expect([...read]).toEqual([1, 2, 3]);
  for (const tensor of [numbers, bytes]) tensor.dispose();
});
