import sharp, { type Sharp } from 'sharp';
import { expect, it } from 'vitest';
import { picture } from '../images/test-images.fixture.js';
import { decodeJpegRows } from './jpeg.js';
import { KernelError } from './kernel.js';
import { liveTensors } from './tensor.js';

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
      expect(Buffer.compare(decodeJpegRows(bytes, width, 0, height), expected)).toBe(0);
      const [top, rows] = [Math.floor(height / 3), Math.ceil(height / 2)];
      const part = expected.subarray(3 * width * top, 3 * width * (top + rows));
      expect(Buffer.compare(decodeJpegRows(bytes, width, top, rows), part)).toBe(0);
    }
  }
});

it('refuses what is truncated, what is no JPEG and rows that are not there, and leaves no tensors behind', async () => {
  const bytes = await (await fine(200, 100)).jpeg().toBuffer();
  const before = liveTensors();
  expect(() => decodeJpegRows(bytes.subarray(0, bytes.length / 2), 200, 0, 100)).toThrow(KernelError);
  expect(() => decodeJpegRows(new TextEncoder().encode('no image'), 200, 0, 100)).toThrow(KernelError);
  expect(() => decodeJpegRows(bytes, 200, 50, 51)).toThrow(KernelError);
  expect(liveTensors()).toBe(before);
});
