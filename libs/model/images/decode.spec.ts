import sharp from 'sharp';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { decodeJpegRows } from '../tensorflow/jpeg.js';
import { decodeJpegsBy, decodeRegion, ImageError, type JpegRowDecoder, readHeader, shrinkFor } from './decode.js';
import { picture } from './test-images.fixture.js';

async function pixelsOf(...asked: Parameters<typeof decodeRegion>): Promise<Uint8Array> {
  return (await decodeRegion(...asked)).pixels;
}

const whole = (width: number, height: number) => ({ left: 0, top: 0, width, height });

/** Means of `shrink` x `shrink` pixels, from (`left`, `top`) on. */
function boxes(pixels: Uint8Array, width: number, height: number, shrink: number, left = 0, top = 0): number[] {
  const [columns, rows] = [width / shrink, height / shrink];
  return Array.from({ length: 3 * columns * rows }, (_, index) => {
    const [row, column, channel] = [Math.floor(index / 3 / columns), Math.floor(index / 3) % columns, index % 3];
    let sum = 0;
    for (let y = 0; y < shrink; y++) {
      for (let x = 0; x < shrink; x++) {
        const from = Math.min(height - 1, row * shrink + y + top) * width;
        sum += pixels[3 * (from + Math.min(width - 1, column * shrink + x + left)) + channel]!;
      }
    }
    return sum / shrink ** 2;
  });
}

function meanDifference(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < one.length; index++) sum += Math.abs(one[index]! - other[index]!);
  return sum / one.length;
}

describe('shrinkFor', () => {
  const photo = { width: 2048, height: 1536, plainJpeg: true };

  it('shrinks no more than the view does', () => {
    expect([1, 2, 3.99, 4, 7.9, 8, 30].map((scale) => shrinkFor(photo, scale))).toEqual([1, 1, 1, 4, 4, 8, 8]);
  });

  it('leaves alone what would be rounded and what is no plain JPEG', () => {
    expect(shrinkFor({ ...photo, height: 1540 }, 9)).toBe(4);
    expect(shrinkFor({ ...photo, height: 1538 }, 9)).toBe(1);
    expect(shrinkFor({ ...photo, width: 2047 }, 9)).toBe(1);
    expect(shrinkFor({ ...photo, plainJpeg: false }, 9)).toBe(1);
  });
});

describe('decodeRegion', () => {
  const [width, height] = [960, 640];

  it.each([
    [4, '4:2:0'],
    [4, '4:4:4'],
    [8, '4:2:0'],
    [8, '4:4:4'],
  ])('shrinks a JPEG by %i (chroma %s) to what its pixels are on average, in their place', async (shrink, chroma) => {
    const jpeg = await picture(width, height, 3).jpeg({ quality: 95, chromaSubsampling: chroma }).toBuffer();
    const header = await readHeader(jpeg);
    const full = await pixelsOf(jpeg, header, whole(width, height));
    const small = await pixelsOf(jpeg, header, whole(width / shrink, height / shrink), shrink);
    expect(small.length).toBe(full.length / shrink ** 2);
    const there = meanDifference(small, boxes(full, width, height, shrink));
    expect(there).toBeLessThan(0.8);
    // Half a pixel of the small image aside.
    for (const [left, top] of [
      [shrink / 2, 0],
      [0, shrink / 2],
    ] as const) {
      expect(meanDifference(small, boxes(full, width, height, shrink, left, top))).toBeGreaterThan(2 * there);
    }
  });

  it('cuts a region out of the shrunk image', async () => {
    const jpeg = await picture(width, height, 3).jpeg().toBuffer();
    const header = await readHeader(jpeg);
    const all = await pixelsOf(jpeg, header, whole(240, 160), 4);
    const region = { left: 31, top: 17, width: 100, height: 90 };
    const part = await pixelsOf(jpeg, header, region, 4);
    const cut = Array.from({ length: 90 }, (_, row) => {
      const from = 3 * ((17 + row) * 240 + 31);
      return all.subarray(from, from + 300);
    });
    expect(Buffer.compare(part, Buffer.concat(cut))).toBe(0);
  });

  it('shrinks to the same bytes without vector instructions', async () => {
    const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
    const create = { width, height, channels: 3, background: '#000', noise } as const;
    const jpeg = await sharp({ create }).jpeg().toBuffer();
    const header = await readHeader(jpeg);
    const decoded = () =>
      Promise.all([4, 8].map((shrink) => pixelsOf(jpeg, header, whole(width / shrink, height / shrink), shrink)));
    expect(sharp.simd()).toBe(true);
    const vectors = await decoded();
    sharp.simd(false);
    const plain = await decoded().finally(() => sharp.simd(true));
    expect(vectors.map((bytes, index) => Buffer.compare(bytes, plain[index]!))).toEqual([0, 0]);
  });

  it('shrinks grey and CMYK to the colours that they have at full size', async () => {
    const files = {
      grey: picture(width, height, 3).greyscale().toColourspace('b-w').jpeg(),
      cmyk: picture(width, height, 3).toColourspace('cmyk').jpeg(),
      progressive: picture(width, height, 3).jpeg({ progressive: true }),
    };
    for (const [name, file] of Object.entries(files)) {
      const jpeg = await file.toBuffer();
      const header = await readHeader(jpeg);
      const full = await pixelsOf(jpeg, header, whole(width, height));
      const small = await pixelsOf(jpeg, header, whole(width / 4, height / 4), 4);
      expect(meanDifference(small, boxes(full, width, height, 4)), name).toBeLessThan(1.2);
    }
  });

  it('finds damage in a JPEG that it shrinks', async () => {
    const jpeg = await picture(width, height).jpeg().toBuffer();
    const header = await readHeader(jpeg);
    const damaged = jpeg.subarray(0, jpeg.length / 2);
    await expect(pixelsOf(damaged, header, whole(240, 160), 4)).rejects.toThrow(/^cannot be decoded: .*premature/i);
  });
});

describe('decodeJpegsBy', () => {
  afterEach(() => decodeJpegsBy(undefined));

  const [width, height] = [300, 201];
  const region = { left: 40, top: 30, width: 200, height: 100 };

  /** The region's pixels out of what was decoded for it. */
  async function regionPixels(bytes: Uint8Array): Promise<Buffer> {
    const decoded = await decodeRegion(bytes, await readHeader(bytes), region);
    const from = { left: region.left - decoded.region.left, top: region.top - decoded.region.top };
    const rows = Array.from({ length: region.height }, (_, row) => {
      const at = 3 * ((from.top + row) * decoded.region.width + from.left);
      return decoded.pixels.subarray(at, at + 3 * region.width);
    });
    return Buffer.concat(rows);
  }

  const files = {
    colour: picture(width, height).jpeg(),
    grey: picture(width, height).greyscale().toColourspace('b-w').jpeg(),
    progressive: picture(width, height).jpeg({ progressive: true }),
    cmyk: picture(width, height).toColourspace('cmyk').jpeg(),
    turned: picture(height, width).withMetadata({ orientation: 6 }).jpeg(),
    png: picture(width, height).png(),
  };

  it.each(Object.entries(files))("gives the same pixels by TensorFlow's kernel: %s", async (name, file) => {
    const bytes = await file.toBuffer();
    const bySharp = await regionPixels(bytes);
    const decoder = vi.fn<JpegRowDecoder>(decodeJpegRows);
    decodeJpegsBy(decoder);
    expect(Buffer.compare(await regionPixels(bytes), bySharp)).toBe(0);
    const plain = ['colour', 'grey'].includes(name);
    expect(decoder.mock.results.map(({ type }) => type)).toEqual(plain ? ['return'] : []);
  });

  it('leaves to sharp what the decoder refuses, and the words for what sharp refuses too', async () => {
    const bytes = await files.colour.toBuffer();
    const bySharp = await regionPixels(bytes);
    decodeJpegsBy(() => undefined);
    expect(Buffer.compare(await regionPixels(bytes), bySharp)).toBe(0);
    decodeJpegsBy(decodeJpegRows);
    const half = bytes.subarray(0, bytes.length / 2);
    await expect(regionPixels(half)).rejects.toThrow(ImageError);
    await expect(regionPixels(half)).rejects.toThrow(/^cannot be decoded: .*premature/i);
  });

  it('leaves progressive files to sharp: what is missing of them is smoothed over in different ways', async () => {
    const bytes = await files.progressive.toBuffer();
    const starts = [...bytes.keys()].filter((at) => bytes[at] === 0xff && bytes[at + 1] === 0xda);
    const cut = Buffer.concat([bytes.subarray(0, starts[3]), Buffer.of(0xff, 0xd9)]);
    const bySharp = await regionPixels(cut);
    // Otherwise nothing is shown.
    expect(Buffer.compare(bySharp, await regionPixels(bytes))).not.toBe(0);
    decodeJpegsBy(decodeJpegRows);
    expect(Buffer.compare(await regionPixels(cut), bySharp)).toBe(0);
  });

  it('lets pass what is no fault of the file', async () => {
    const bytes = await files.colour.toBuffer();
    decodeJpegsBy(() => {
      throw new TypeError('not loaded');
    });
    await expect(regionPixels(bytes)).rejects.toThrow('not loaded');
  });
});
