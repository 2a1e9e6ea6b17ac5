// Twenty thousand photographs become training images and leave memory flat: small ones, and large ones that are shrunk on the way.
// Refuses to look at what becomes of them afterwards; that is ten-thousand-steps.test.ts's.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { distribution } from '../support/system.js';

const images = 20_000;
/** By when memories for images are as large as they get, and just-in-time compilers have what they want. */
const settledAt = 10_000;
const sampleEvery = 200;
/** Between two collections of garbage a sample says little: of so many the least counts. */
const window = 10;
/**
 * What the least of the last samples may be above the least of the first settled ones: two kilobytes for each image between. Left
 * to itself it goes up and down by half of that.
 */
const allowedBytes = (images - settledAt) * 2048;
const minutes = 60_000;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-images-'));
  for (let index = 0; index < 40; index++) {
    const place = join(folder, index % 10 < 8 ? 'train' : 'val', index % 2 === 0 ? 'even' : 'odd');
    await mkdir(place, { recursive: true });
    await writeFile(join(place, `${index}.jpg`), await photograph(index));
  }
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Of many sizes, every fourth one progressive; a few are so large that training may shrink them while they are decoded. */
async function photograph(seed: number): Promise<Buffer> {
  const [width, height] = seed % 20 === 5 ? [1600, 1200] : [300 + 17 * (seed % 23), 300 + 29 * (seed % 11)];
  const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
  return sharp({ create: { width: 90, height: 70, channels: 3, background: '#000', noise } })
    .resize(width, height, { fit: 'fill' })
    .jpeg({ quality: 90, progressive: seed % 4 === 3 })
    .toBuffer();
}

it(
  'twenty thousand images leave nothing behind',
  async () => {
    const probe = join(distribution, 'test/support/image-memory-probe.js');
    const { stdout } = await promisify(execFile)(process.execPath, [probe, folder, `${images}`, `${sampleEvery}`]);
    const samples = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { images: number; residentBytes: number });
    expect(samples.at(-1)?.images).toBe(images);
    const settled = samples.filter((sample) => sample.images >= settledAt);
    expect(settled.length).toBeGreaterThan(4 * window);
    const least = (some: typeof samples): number => Math.min(...some.map(({ residentBytes }) => residentBytes));
    const grown = least(settled.slice(-window)) - least(settled.slice(0, window));
    const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
    const shown = samples.filter((_, index) => index % window === window - 1);
    const lines = shown.map((one) => `${String(one.images).padStart(6)}: ${megabytes(one.residentBytes)} MB`);
    console.log([...lines, `grown since ${settledAt}: ${megabytes(grown)} MB`].join('\n'));
    expect(grown).toBeLessThan(allowedBytes);
  },
  20 * minutes,
);
