import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveJobSpec } from '../job-spec.js';
import { CIFAR10_RECORD_BYTES, CIFAR10_TRAIN_FILES } from './cifar10-files.js';
import { convertCifar10, packRecords } from './cifar10-convert.js';
import { openDataset, type Dataset } from './dataset.js';
import { DatasetError } from './dataset-error.js';

const { dataset: spec } = resolveJobSpec({ preset: 'resnet20-cifar10' });
const PER_FILE = 12;
const IMAGE = 32 * 32 * 3;

/** Byte of a made-up image: differs between images, pixels and channels. */
const byteOf = (image: number, pixel: number, channel: number): number =>
  (image * 37 + pixel * 5 + channel * 101) % 256;

function recordsFrom(firstImage: number): Uint8Array {
  const rgba = new Uint8Array(PER_FILE * 1024 * 4);
  for (let index = 0; index < PER_FILE * 1024; index++) {
    const image = firstImage + Math.floor(index / 1024);
    for (let channel = 0; channel < 3; channel++) rgba[4 * index + channel] = byteOf(image, index % 1024, channel);
  }
  return packRecords(
    rgba,
    Array.from({ length: PER_FILE }, (_, index) => (firstImage + index) % 10),
  );
}

let root = '';
let folder = '';
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'lockstep-cifar-'));
  folder = path.join(root, 'cifar-10-batches-bin');
  mkdirSync(folder);
  CIFAR10_TRAIN_FILES.forEach((name, index) => writeFileSync(path.join(folder, name), recordsFrom(index * PER_FILE)));
  writeFileSync(path.join(folder, 'test_batch.bin'), recordsFrom(1000));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function train(dataset: Dataset, ids: number[], epoch = 0, augmentation: 'pad-crop' | 'none' = 'pad-crop') {
  const out = new Float32Array(ids.length * IMAGE);
  const labels = new Int32Array(ids.length);
  await dataset.prepareTrain(Uint32Array.from(ids), 1, epoch, augmentation, out, labels);
  return { out, labels };
}

describe('cifar10', () => {
  it('gives pixels as they are in the files, normalised, HWC, with their labels', async () => {
    const dataset = await openDataset(spec, folder);
    expect(dataset).toMatchObject({
      kind: 'cifar10',
      trainCount: 5 * PER_FILE,
      testCount: PER_FILE,
      classes: 10,
      imageShape: [32, 32, 3],
    });
    const { out, labels } = await train(dataset, [0, 59, 13], 0, 'none');
    expect([...labels]).toEqual([0, 9, 3]);
    const [mean, std] = [
      [0.4914, 0.4822, 0.4465],
      [0.247, 0.2435, 0.2616],
    ];
    for (const [place, image] of [0, 59, 13].entries()) {
      for (const pixel of [0, 31, 500, 1023]) {
        for (let channel = 0; channel < 3; channel++) {
          const expected = Math.fround((byteOf(image, pixel, channel) / 255 - mean[channel]!) / std[channel]!);
          expect(out[place * IMAGE + pixel * 3 + channel]).toBe(expected);
        }
      }
    }
    const testOut = new Float32Array(2 * IMAGE);
    const testLabels = new Int32Array(2);
    await dataset.prepareTest(3, 2, testOut, testLabels);
    expect([...testLabels]).toEqual([3, 4]);
    expect(testOut[0]).toBe(Math.fround((byteOf(1003, 0, 0) / 255 - 0.4914) / 0.247));
    await dataset.close();
  });

  it('augments by (seed, epoch, id) alone: neither the batch nor the order matters', async () => {
    const dataset = await openDataset(spec, folder);
    const together = await train(dataset, [5, 9, 5]);
    const alone = await train(dataset, [9]);
    expect(together.out.subarray(IMAGE, 2 * IMAGE)).toEqual(alone.out);
    expect(together.out.subarray(0, IMAGE)).toEqual(together.out.subarray(2 * IMAGE));
    const laterEpochs = await Promise.all([1, 2, 3].map((epoch) => train(dataset, [9], epoch)));
    expect(laterEpochs.some(({ out }) => out.some((value, index) => value !== alone.out[index]))).toBe(true);
  });

  it('is identified by its contents, which are hashed once', async () => {
    const { indexHash } = await openDataset(spec, folder);
    const index = path.join(folder, '.lockstep-index.json');
    const before = readFileSync(index, 'utf8');
    expect((await openDataset(spec, folder)).indexHash).toBe(indexHash);
    expect(readFileSync(index, 'utf8')).toBe(before);

    const file = path.join(folder, 'data_batch_3.bin');
    const content = readFileSync(file);
    const changed = Buffer.from(content);
    changed[100]! ^= 1;
    writeFileSync(file, changed);
    utimesSync(file, new Date(), new Date(Date.now() + 5000));
    expect((await openDataset(spec, folder)).indexHash).not.toBe(indexHash);
    writeFileSync(file, content);
    writeFileSync(index, 'nonsense');
    expect((await openDataset(spec, folder)).indexHash).toBe(indexHash);
  });

  it('refuses ids outside and buffers that do not fit', async () => {
    const dataset = await openDataset(spec, folder);
    await expect(train(dataset, [60])).rejects.toThrow('training sample 60 is outside a dataset of 60');
    await expect(dataset.prepareTest(11, 2, new Float32Array(2 * IMAGE), new Int32Array(2))).rejects.toThrow('outside');
    await expect(dataset.prepareTest(0, 2, new Float32Array(IMAGE), new Int32Array(2))).rejects.toThrow(
      '2 images need 6144 numbers',
    );
  });

  it('names a file that is missing, cut or has an impossible label', async () => {
    const damaged = path.join(root, 'damaged');
    await expect(openDataset(spec, damaged)).rejects.toThrow(
      /data_batch_\d.bin cannot be opened; run `npx lockstep dataset prepare cifar10`/,
    );
    mkdirSync(damaged);
    for (const name of [...CIFAR10_TRAIN_FILES, 'test_batch.bin'])
      writeFileSync(path.join(damaged, name), recordsFrom(0));
    appendFileSync(path.join(damaged, 'data_batch_2.bin'), 'x');
    await expect(openDataset(spec, damaged)).rejects.toThrow(
      /data_batch_2.bin has 36877 bytes, not a multiple of 3073/,
    );
    const records = recordsFrom(0);
    records[4 * CIFAR10_RECORD_BYTES] = 77;
    writeFileSync(path.join(damaged, 'data_batch_2.bin'), records);
    const dataset = await openDataset(spec, damaged);
    await expect(train(dataset, [0])).rejects.toThrow(/record 4 of .*data_batch_2.bin has label 77/);
    writeFileSync(path.join(damaged, 'data_batch_2.bin'), recordsFrom(0));
    expect((await train(dataset, [0])).labels[0]).toBe(0);
  });
});

describe('conversion', () => {
  it('turns sheets and lists into the standard folder, complete or not at all', () => {
    const source = path.join(root, 'package');
    const target = path.join(root, 'converted');
    mkdirSync(source);
    const imagesPerSheet = 20;
    const sheet = new PNG({ width: 1024, height: imagesPerSheet });
    for (let index = 0; index < imagesPerSheet * 1024; index++) {
      for (let channel = 0; channel < 3; channel++) {
        sheet.data[4 * index + channel] = byteOf(Math.floor(index / 1024), index % 1024, channel);
      }
      sheet.data[4 * index + 3] = 255;
    }
    const png = PNG.sync.write(sheet, { colorType: 2 });
    for (let number = 1; number <= 5; number++) writeFileSync(path.join(source, `data_batch_${number}.png`), png);
    const labels = Array.from({ length: 5 * imagesPerSheet }, (_, index) => (index * 3 + (index >> 2)) % 10);
    writeFileSync(path.join(source, 'train_lables.json'), JSON.stringify(labels));
    writeFileSync(path.join(source, 'test_lables.json'), JSON.stringify(labels.slice(0, 19)));
    const convert = (options = {}) => convertCifar10(source, target, { imagesPerSheet, ...options });
    expect(convert).toThrow(/test_lables.json is not a list of 20 labels/);
    writeFileSync(path.join(source, 'test_lables.json'), JSON.stringify(labels.slice(0, 20)));
    expect(convert).toThrow(DatasetError);
    expect(existsSync(target)).toBe(false);

    writeFileSync(path.join(source, 'test_batch.png'), png);
    const progress: string[] = [];
    convert({ onFile: (done: number, of: number) => progress.push(`${done}/${of}`) });
    expect(progress).toEqual(['1/6', '2/6', '3/6', '4/6', '5/6', '6/6']);
    const records = readFileSync(path.join(target, 'data_batch_2.bin'));
    expect(records.length).toBe(20 * CIFAR10_RECORD_BYTES);
    const at = 17 * CIFAR10_RECORD_BYTES;
    expect([records[at], records[at + 1], records[at + 1 + 1024 + 7], records[at + 1 + 2048 + 1023]]).toEqual([
      labels[37],
      byteOf(17, 0, 0),
      byteOf(17, 7, 1),
      byteOf(17, 1023, 2),
    ]);
    const names = readFileSync(path.join(target, 'batches.meta.txt'), 'utf8').split('\n');
    expect(names.slice(0, 3)).toEqual(['airplane', 'automobile', 'bird']);
    expect(readdirSync(root).filter((name) => name.includes('.tmp'))).toEqual([]);
  });
});
