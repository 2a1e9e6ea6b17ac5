import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../config.js';
import { prepareImagenetSample } from './imagenet-sample.js';

describe('the sample of photographs', () => {
  let empty: string;
  beforeAll(async () => {
    empty = await mkdtemp(join(tmpdir(), 'lockstep-sample-'));
  });
  afterAll(() => rm(empty, { recursive: true }));

  it("has ImageNet's layout and resolution, and is made once", async () => {
    const { cacheDir } = loadConfig(process.env);
    const folder = await prepareImagenetSample({ folder: join(cacheDir, 'datasets', 'imagenet-sample'), cacheDir });
    expect(await prepareImagenetSample({ folder, cacheDir: empty, offline: true, environment: { PATH: '' } })).toBe(
      folder,
    );
    const classes = await readdir(join(folder, 'train'));
    expect(classes).toHaveLength(6);
    expect(await readdir(join(folder, 'val'))).toEqual(classes);
    const contents = new Set<string>();
    for (const wnid of classes) {
      expect(wnid).toMatch(/^n\d{8}$/);
      expect(await readdir(join(folder, 'val', wnid))).toHaveLength(8);
      const files = await readdir(join(folder, 'train', wnid));
      expect(files).toHaveLength(32);
      for (const file of files) {
        const bytes = await readFile(join(folder, 'train', wnid, file));
        const { format, width, height, channels } = await sharp(bytes).metadata();
        expect([format, width + height, Math.max(width, height), channels]).toEqual(['jpeg', 875, 500, 3]);
        contents.add(bytes.toString('latin1'));
      }
    }
    expect(contents.size).toBe(192);
  }, 300_000);

  it('does not replace what others put there', async () => {
    const folder = join(empty, 'photographs');
    await mkdir(folder);
    await writeFile(join(folder, 'notes.txt'), 'mine');
    await expect(prepareImagenetSample({ folder, cacheDir: empty })).rejects.toThrow(
      'holds something that Lockstep did not make. Move it away, or name another folder with --to.',
    );
  });

  it('says what to do where nothing may be fetched', async () => {
    const folder = join(empty, 'sample');
    await expect(prepareImagenetSample({ folder, cacheDir: empty, offline: true })).rejects.toThrow(
      /^scikit-image 0\.26\.0 is not in the cache .* --offline/,
    );
  });
});
