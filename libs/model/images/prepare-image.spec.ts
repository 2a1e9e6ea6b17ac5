import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodeTestWindows, type ImageRecipe, prepareImage } from './prepare-image.js';
import { picture, pictureBytes } from './test-images.fixture.js';
import type { ImageAugmentation } from './views.js';

const plain = { mean: [0, 0, 0], std: [1, 1, 1] };

async function prepared(bytes: Uint8Array, recipe: Partial<ImageRecipe> = {}): Promise<Float32Array> {
  const { imageSize = 224 } = recipe;
  const out = new Float32Array(3 * imageSize ** 2);
  await prepareImage(bytes, { imageSize, ...plain, ...recipe }, out);
  return out;
}

/** Numbers of [0, 1] as the bytes that they were. */
const asBytes = (numbers: Float32Array) => Uint8Array.from(numbers, (value) => Math.round(255 * value));

/** Largest and mean difference of two pictures. */
function difference(one: Uint8Array, other: Uint8Array): { readonly most: number; readonly mean: number } {
  const each = one.map((value, index) => Math.abs(value - other[index]!));
  return {
    most: each.reduce((most, value) => Math.max(most, value), 0),
    mean: each.reduce((sum, value) => sum + value, 0) / each.length,
  };
}

describe('prepareImage', () => {
  it('brings the pixels of a 256x256 PNG to the network unresampled', async () => {
    const source = pictureBytes(256, 256);
    const middle = new Uint8Array(224 * 224 * 3);
    for (let row = 0; row < 224; row++) {
      const from = 3 * ((row + 16) * 256 + 16);
      middle.set(source.subarray(from, from + 672), 672 * row);
    }
    const out = await prepared(await picture(256, 256).png().toBuffer());
    expect(Buffer.compare(asBytes(out), middle)).toBe(0);
    expect(out[0]).toBe(Math.fround(middle[0]! / 255));
  });

  it('subtracts the mean and divides by the deviation of each channel', async () => {
    const bytes = await picture(256, 256).png().toBuffer();
    const [mean, std] = [
      [0.5, 0.25, 0.125],
      [0.5, 2, 4],
    ];
    const [raw, out] = [await prepared(bytes), await prepared(bytes, { mean, std })];
    for (let index = 0; index < 3000; index++) {
      const expected = (raw[index]! - mean[index % 3]!) / std[index % 3]!;
      expect(Math.abs(out[index]! - expected)).toBeLessThan(1e-6);
    }
  });

  it('takes grey, CMYK, palettes, 16 bits and transparency for the picture that they show', async () => {
    const size = [300, 280] as const;
    const expected = asBytes(
      await prepared(
        await picture(...size)
          .png()
          .toBuffer(),
      ),
    );
    const jpeg = { quality: 100, chromaSubsampling: '4:4:4' } as const;
    const same = {
      '16 bits': await picture(...size)
        .toColourspace('rgb16')
        .png()
        .toBuffer(),
      transparency: await picture(...size)
        .ensureAlpha(0.5)
        .png()
        .toBuffer(),
      webp: await picture(...size)
        .webp({ lossless: true })
        .toBuffer(),
    };
    for (const bytes of Object.values(same)) {
      expect(difference(asBytes(await prepared(bytes)), expected)).toEqual({ most: 0, mean: 0 });
    }
    const near = {
      palette: [
        await picture(...size)
          .png({ palette: true })
          .toBuffer(),
        8,
      ],
      jpeg: [
        await picture(...size)
          .jpeg(jpeg)
          .toBuffer(),
        1,
      ],
      // There and back through a space with fewer colours.
      cmyk: [
        await picture(...size)
          .toColourspace('cmyk')
          .jpeg(jpeg)
          .toBuffer(),
        25,
      ],
    } as const;
    for (const [bytes, bound] of Object.values(near)) {
      expect(difference(asBytes(await prepared(bytes)), expected).mean).toBeLessThan(bound);
    }
    const grey = await picture(...size)
      .greyscale()
      .toColourspace('b-w')
      .png()
      .toBuffer();
    const grey16 = await picture(...size)
      .greyscale()
      .toColourspace('grey16')
      .png()
      .toBuffer();
    const out = asBytes(await prepared(grey));
    for (let pixel = 0; pixel < out.length; pixel += 3) {
      expect([out[pixel + 1], out[pixel + 2]]).toEqual([out[pixel], out[pixel]]);
    }
    expect(difference(asBytes(await prepared(grey16)), out).most).toBeLessThanOrEqual(1);
  });

  it('turns images as EXIF says', async () => {
    const upright = picture(300, 280).png();
    const expected = asBytes(await prepared(await upright.toBuffer()));
    // What a camera that was held on its side writes: turned pixels, and the turn that makes them upright.
    const lying = await picture(300, 280).rotate(270).png().toBuffer();
    const turned = await sharp(lying).withMetadata({ orientation: 6 }).png().toBuffer();
    expect(difference(asBytes(await prepared(turned)), expected)).toEqual({ most: 0, mean: 0 });
  });

  it.each([
    [1601, 1203],
    [1801, 2755],
  ])('sees in training just what the whole JPEG of %i x %i, resized, shows; turned by EXIF or not', async (...size) => {
    const training = { augmentation: 'paper', seed: 1, epoch: 0, sampleId: 3 } as const;
    const jpeg = await picture(...size)
      .jpeg()
      .toBuffer();
    const decoded = await sharp(jpeg).png().toBuffer();
    expect(await prepared(jpeg, { training })).toEqual(await prepared(decoded, { training }));
    const turned = await sharp(jpeg).withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const upright = await sharp(turned, { autoOrient: true }).png().toBuffer();
    expect(await prepared(turned, { training })).toEqual(await prepared(upright, { training }));
  });

  describe('of a JPEG much larger than what is made of it', () => {
    const at = { imageSize: 64 };
    const drawn = ['paper', 'random-resized-crop'] as const;
    const training = (augmentation: ImageAugmentation) => ({ augmentation, seed: 1, epoch: 0, sampleId: 3 });
    const upright = (bytes: Uint8Array) => sharp(bytes, { autoOrient: true }).png().toBuffer();
    const jpegOf = (width: number, height: number) =>
      picture(width, height, 2).jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer();

    it('sees in training nearly, but not just, what the whole shows', async () => {
      const jpeg = await jpegOf(2048, 1536);
      const whole = await upright(jpeg);
      for (const augmentation of drawn) {
        const [shrunk, full] = [
          asBytes(await prepared(jpeg, { ...at, training: training(augmentation) })),
          asBytes(await prepared(whole, { ...at, training: training(augmentation) })),
        ];
        expect(difference(shrunk, full).mean).toBeLessThan(1.5);
        expect(difference(shrunk, full).mean).toBeGreaterThan(0);
      }
    });

    it.each([
      [2048, 1538],
      [2046, 1536],
    ])('sees just what the whole shows where sides are no multiples: %i x %i', async (...size) => {
      const jpeg = await jpegOf(...size);
      for (const augmentation of drawn) {
        const recipe = { ...at, training: training(augmentation) };
        expect(await prepared(jpeg, recipe)).toEqual(await prepared(await upright(jpeg), recipe));
      }
    });

    it('sees just what the whole shows where EXIF turns it', async () => {
      const turned = await sharp(await jpegOf(1536, 2048))
        .withMetadata({ orientation: 6 })
        .jpeg()
        .toBuffer();
      for (const augmentation of drawn) {
        const recipe = { ...at, training: training(augmentation) };
        expect(await prepared(turned, recipe)).toEqual(await prepared(await upright(turned), recipe));
      }
    });

    it('sees just what the whole shows in tests, and in training without augmentation', async () => {
      const jpeg = await jpegOf(2048, 1536);
      const expected = await prepared(await upright(jpeg), at);
      expect(await prepared(jpeg, at)).toEqual(expected);
      expect(await prepared(jpeg, { ...at, training: training('none') })).toEqual(expected);
    });
  });

  it('mirrors, and shifts the colours of, what it would see otherwise', async () => {
    const bytes = await picture(256, 256).png().toBuffer();
    const training = { augmentation: 'random-resized-crop', seed: 1, epoch: 0 } as const;
    // Red grows to the right, unless the image was mirrored.
    const directions = await Promise.all(
      Array.from({ length: 24 }, async (_, sampleId) => {
        const out = await prepared(bytes, { imageSize: 32, training: { ...training, sampleId } });
        return Math.sign(out[3 * 31]! - out[0]!);
      }),
    );
    expect(new Set(directions)).toEqual(new Set([1, -1]));
    const flat = await picture(1, 1).resize(256, 256).png().toBuffer();
    const [first, second] = await Promise.all(
      [1, 2].map((sampleId) =>
        prepared(flat, { imageSize: 32, training: { ...training, augmentation: 'paper', sampleId } }),
      ),
    );
    expect(first![0]).not.toBe(second![0]);
    expect(Math.abs(first![0]! - second![0]!)).toBeLessThan(0.2);
  });

  it('gives the same numbers whatever else is prepared at the same time', async () => {
    const files = await Promise.all(
      [0, 1, 2, 3].map((seed) =>
        picture(320 + 40 * seed, 300, seed)
          .jpeg()
          .toBuffer(),
      ),
    );
    const recipe = (sampleId: number) => ({
      imageSize: 48,
      training: { augmentation: 'paper', seed: 9, epoch: 1, sampleId } as const,
    });
    const alone: Float32Array[] = [];
    for (const [id, bytes] of files.entries()) alone.push(await prepared(bytes, recipe(id)));
    const together = await Promise.all(files.toReversed().map((bytes, index) => prepared(bytes, recipe(3 - index))));
    expect(together.toReversed()).toEqual(alone);
  });

  it('says what is wrong with a file', async () => {
    const jpeg = await picture(300, 300).jpeg().toBuffer();
    await expect(prepared(jpeg.subarray(0, jpeg.length / 2))).rejects.toThrow(/^cannot be decoded: .*premature end/i);
    await expect(prepared(Buffer.from('not an image'))).rejects.toThrow(/^cannot be decoded: .*unsupported image/i);
    await expect(prepared(Buffer.alloc(0))).rejects.toThrow(/^cannot be decoded: /);
  });
});

describe('decodeTestWindows', () => {
  const whole = ({ width, height }: { width: number; height: number }) => [{ left: 0, top: 0, width, height }];

  it('gives the whole image, as it is where its shorter side is right', async () => {
    const bytes = await picture(90, 60).png().toBuffer();
    const [same] = await decodeTestWindows(bytes, 60, whole);
    expect(Buffer.compare(same!, pictureBytes(90, 60))).toBe(0);
    const [larger] = await decodeTestWindows(bytes, 120, whole);
    expect(larger!.length).toBe(180 * 120 * 3);
  });

  it('gives windows the pixels that they have in the whole image', async () => {
    const bytes = await picture(190, 131).png().toBuffer();
    const windows = [
      { left: 40, top: 9, width: 20, height: 30 },
      { left: 77, top: 50, width: 5, height: 10 },
    ];
    const [all] = await decodeTestWindows(bytes, 70, whole);
    const width = Math.trunc((70 * 190) / 131);
    const cut = windows.map((window) =>
      Array.from({ length: window.height }, (_, row) => {
        const at = 3 * ((window.top + row) * width + window.left);
        return [...all!.subarray(at, at + 3 * window.width)];
      }).flat(),
    );
    expect((await decodeTestWindows(bytes, 70, () => windows)).map((pixels) => [...pixels])).toEqual(cut);
  });
});
