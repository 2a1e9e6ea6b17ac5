import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { elementsOf, viewElements, type EvaluationViews } from '../evaluation-views.js';
import { prepareImage } from './prepare-image.js';
import { picture, pictureBytes } from './test-images.fixture.js';
import { viewGroupsOf, writeMiddle, writeTestViews } from './test-views.js';

/** Numbers that are bytes again: (byte / 255 - 0) * 255. */
const recipe = { imageSize: 224, mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255] };

async function viewsOf(bytes: Uint8Array, views: EvaluationViews) {
  const out = new Float32Array(viewElements(views, recipe.imageSize)).fill(NaN);
  const groups = await writeTestViews(bytes, views, recipe, out);
  expect(await viewGroupsOf(bytes, views, recipe.imageSize)).toEqual(groups);
  return { out, groups };
}

describe('test views', () => {
  it('are corners and middle of the resized image, then their mirror images', async () => {
    const [width, height] = [300, 256];
    const bytes = await picture(width, height).png().toBuffer();
    const { out, groups } = await viewsOf(bytes, { crops: 10, scales: [] });
    expect(groups).toEqual([{ height: 224, width: 224, count: 10 }]);
    const source = pictureBytes(width, height);
    const places = [
      [0, 0],
      [76, 0],
      [0, 32],
      [76, 32],
      [38, 16],
    ] as const;
    for (const [index, [left, top]] of places.entries()) {
      for (const [row, column] of [
        [0, 0],
        [17, 200],
        [223, 223],
      ] as const) {
        const from = 3 * ((top + row) * width + left + column);
        const plain = 3 * ((index * 224 + row) * 224 + column);
        const mirrored = 3 * (((index + 5) * 224 + row) * 224 + 223 - column);
        for (let channel = 0; channel < 3; channel++) {
          expect(out[plain + channel]).toBeCloseTo(source[from + channel]!, 3);
          expect(out[mirrored + channel]).toBeCloseTo(source[from + channel]!, 3);
        }
      }
    }
  });

  it('are the whole image at each size, without holes', async () => {
    const bytes = await picture(500, 375, 2).jpeg().toBuffer();
    const { out, groups } = await viewsOf(bytes, { crops: 1, scales: [224, 256] });
    expect(groups).toEqual([
      { height: 224, width: 298, count: 1 },
      { height: 256, width: 341, count: 1 },
    ]);
    const used = elementsOf([groups]);
    expect(out.subarray(0, used).every((value) => value >= 0 && value < 255.01)).toBe(true);
    expect(out.subarray(used).every(Number.isNaN)).toBe(true);
  });

  it('of a very long image are its middle', async () => {
    const bytes = await picture(1000, 100).png().toBuffer();
    const { out, groups } = await viewsOf(bytes, { crops: 1, scales: [100] });
    expect(groups).toEqual([{ height: 100, width: 200, count: 1 }]);
    expect(out[0]).toBeCloseTo(pictureBytes(1000, 100)[3 * 400]!, 3);
  });

  it('of an image 1600 times as long as it is wide take no more memory than of any other', async () => {
    const bytes = await picture(10, 16_000).png().toBuffer();
    // Resized as a whole it would have 256 x 409,600 pixels, 300 MiB.
    const before = process.memoryUsage().arrayBuffers;
    const { groups } = await viewsOf(bytes, { crops: 1, scales: [256] });
    expect(groups).toEqual([{ height: 512, width: 256, count: 1 }]);
    expect((await viewsOf(bytes, { crops: 10, scales: [] })).groups).toEqual([{ height: 224, width: 224, count: 10 }]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(60 * 2 ** 20);
  });

  it('have the crop of an evaluation of one view as their fifth', async () => {
    const bytes = await picture(431, 389, 1).jpeg().toBuffer();
    const { out } = await viewsOf(bytes, { crops: 10, scales: [] });
    const [single, middle] = [new Float32Array(224 * 224 * 3), new Float32Array(224 * 224 * 3)];
    await prepareImage(bytes, recipe, single);
    expect(out.subarray(4 * single.length, 5 * single.length)).toEqual(single);
    await writeMiddle(bytes, 256, recipe, middle);
    expect(middle).toEqual(single);
  });

  it('of a file that is no image are refused', async () => {
    await expect(viewsOf(Buffer.from('no image'), { crops: 10, scales: [] })).rejects.toThrow(/cannot be decoded/);
    const cut = (
      await sharp(pictureBytes(300, 300), { raw: { width: 300, height: 300, channels: 3 } })
        .jpeg()
        .toBuffer()
    ).subarray(0, 2000);
    await expect(viewsOf(cut, { crops: 1, scales: [64] })).rejects.toThrow(/cannot be decoded/);
  });
});
