// Image files of every kind for specs, made on the spot: good ones, odd ones and broken ones.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { expect } from 'vitest';
import { DatasetError } from './dataset-error.js';

/** A small image of one colour with a gradient, so that its files differ. */
function picture(seed: number, width = 40, height = 30): Sharp {
  const pixels = new Uint8Array(width * height * 3).map((_, at) => (at * 7 + seed * 31) % 256);
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

export const files = {
  jpeg: (seed = 1) => picture(seed).jpeg().toBuffer(),
  png: (seed = 1) => picture(seed).png().toBuffer(),
  webp: (seed = 1) => picture(seed).webp().toBuffer(),
  cmyk: () => picture(2).toColourspace('cmyk').jpeg().toBuffer(),
  grey: () => picture(3).toColourspace('b-w').jpeg().toBuffer(),
  deep: () => picture(4).toColourspace('rgb16').png().toBuffer(),
  rotated: () => picture(5).withExif({}).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
  gif: () => picture(6).gif().toBuffer(),
  truncated: async () => {
    const whole = await picture(7, 200, 150).jpeg().toBuffer();
    return whole.subarray(0, Math.floor(whole.length / 2));
  },
  /** Whole by its header and its end, and nothing but noise between. */
  damaged: async () => {
    const whole = Buffer.from(await picture(8, 200, 150).png().toBuffer());
    whole.fill(0x55, 100, whole.length - 100);
    return whole;
  },
};

/** A JPEG of the same length with other pixels: a number of its quantisation table is one larger. */
export function repainted(jpeg: Uint8Array): Buffer {
  const other = Buffer.from(jpeg);
  other[other.indexOf(Buffer.of(0xff, 0xdb)) + 20]! += 1;
  return other;
}

/** Writes files by their paths under a new folder; `remove` takes it away again. */
export async function folderOf(contents: Readonly<Record<string, Uint8Array | string>>): Promise<{
  readonly root: string;
  readonly remove: () => Promise<void>;
}> {
  const root = await mkdtemp(path.join(tmpdir(), 'lockstep-images-'));
  await addFiles(root, contents);
  return { root, remove: () => rm(root, { recursive: true, force: true }) };
}

export async function addFiles(root: string, contents: Readonly<Record<string, Uint8Array | string>>): Promise<void> {
  for (const [name, bytes] of Object.entries(contents)) {
    const file = path.join(root, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, bytes);
  }
}

/** Two classes with two training images and one test image each. */
export async function smallFolder(): Promise<Record<string, Uint8Array>> {
  return {
    'train/cat/1.JPEG': await files.jpeg(1),
    'train/cat/2.jpg': await files.jpeg(2),
    'train/dog/1.png': await files.png(3),
    'train/dog/2.webp': await files.webp(4),
    'val/cat/1.jpeg': await files.jpeg(5),
    'val/dog/1.JPG': await files.jpeg(6),
  };
}

/** What the DatasetError says that this must end with. */
export async function problemOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(DatasetError);
  return (error as Error).message;
}
