// Owns: what is in CIFAR-10's files, and preparing its images.
// Refuses to know: where the files are (cifar10-files.ts) and who asks for the images.
import { cropAndFlipOf, normalisationTable, TEN_CROPS, UNCHANGED, writeImage } from '../augment.js';
import type { EvaluationViews, ViewGroup } from '../evaluation-views.js';
import type { NormalisationSpec } from '../job-spec.js';
import {
  CIFAR10_RECORD_BYTES,
  CIFAR10_REMEDY,
  cifar10Hash,
  type Cifar10Files,
  type DataFile,
} from './cifar10-files.js';
import type { Augmentation, Dataset } from './dataset.js';
import { checkFixedSize, checkRequest, DatasetError, highestOf } from './dataset-error.js';

export const CIFAR10_CLASSES = [
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
] as const;
export const CIFAR10_SIZE = 32;

const IMAGE_ELEMENTS = 3 * CIFAR10_SIZE * CIFAR10_SIZE;

/** Pixels are read on first use: 154 MB for the training part, 31 MB for the test part. */
export function openCifar10(files: Cifar10Files, normalisation: NormalisationSpec): Dataset {
  return new Cifar10Dataset(files, normalisation);
}

class Cifar10Dataset implements Dataset {
  readonly kind = 'cifar10';
  readonly classes = CIFAR10_CLASSES.length;
  readonly classNames = CIFAR10_CLASSES;
  readonly imageShape = [CIFAR10_SIZE, CIFAR10_SIZE, 3] as const;
  readonly trainCount: number;
  readonly testCount: number;
  readonly indexHash: string;
  /** The index's hash is of the contents. */
  readonly contentsHash = null;
  readonly files: readonly DataFile[];
  private readonly folder: Cifar10Files;
  private readonly table: Float32Array;
  private train: Promise<Uint8Array> | undefined;
  private test: Promise<Uint8Array> | undefined;

  constructor(files: Cifar10Files, normalisation: NormalisationSpec) {
    this.folder = files;
    this.files = files.list;
    this.trainCount = recordsOf(this.trainFiles);
    this.testCount = recordsOf(this.testFiles);
    this.indexHash = cifar10Hash(files);
    this.table = normalisationTable(normalisation.mean, normalisation.std);
  }

  async prepareTrain(
    ids: Uint32Array,
    seed: number,
    epoch: number,
    augmentation: Augmentation,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<void> {
    checkRequest(
      'training',
      this.trainCount,
      { length: ids.length, highest: highestOf(ids) },
      out,
      labels,
      IMAGE_ELEMENTS,
    );
    const records = await this.trainRecords();
    for (let index = 0; index < ids.length; index++) {
      const id = ids[index]!;
      const crop = augmentation === 'pad-crop' ? cropAndFlipOf(seed, epoch, id) : UNCHANGED;
      const at = id * CIFAR10_RECORD_BYTES;
      labels[index] = records[at]!;
      writeImage(records, at + 1, CIFAR10_SIZE, crop, this.table, out, index * IMAGE_ELEMENTS);
    }
  }

  async prepareTest(first: number, count: number, out: Float32Array, labels: Int32Array): Promise<void> {
    checkRequest('test', this.testCount, { length: count, highest: first + count - 1 }, out, labels, IMAGE_ELEMENTS);
    const records = await this.testRecords();
    for (let index = 0; index < count; index++) {
      const at = (first + index) * CIFAR10_RECORD_BYTES;
      labels[index] = records[at]!;
      writeImage(records, at + 1, CIFAR10_SIZE, UNCHANGED, this.table, out, index * IMAGE_ELEMENTS);
    }
  }

  async prepareTestViews(
    views: EvaluationViews,
    first: number,
    count: number,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<ViewGroup[][]> {
    checkFixedSize(views);
    const records = await this.testRecords();
    const groups: ViewGroup[][] = [];
    for (let index = 0; index < count; index++) {
      const at = (first + index) * CIFAR10_RECORD_BYTES;
      labels[index] = records[at]!;
      for (const [view, crop] of TEN_CROPS.entries()) {
        const target = (index * TEN_CROPS.length + view) * IMAGE_ELEMENTS;
        writeImage(records, at + 1, CIFAR10_SIZE, crop, this.table, out, target);
      }
      groups.push([{ height: CIFAR10_SIZE, width: CIFAR10_SIZE, count: TEN_CROPS.length }]);
    }
    return groups;
  }

  async close(): Promise<void> {
    this.train = undefined;
    this.test = undefined;
  }

  private get trainFiles(): readonly DataFile[] {
    return this.files.slice(0, -1);
  }

  private get testFiles(): readonly DataFile[] {
    return this.files.slice(-1);
  }

  private trainRecords(): Promise<Uint8Array> {
    this.train ??= readRecords(this.folder, this.trainFiles).catch((cause: unknown) => {
      // Not remembered: the next call tries again.
      this.train = undefined;
      throw cause;
    });
    return this.train;
  }

  private testRecords(): Promise<Uint8Array> {
    this.test ??= readRecords(this.folder, this.testFiles).catch((cause: unknown) => {
      this.test = undefined;
      throw cause;
    });
    return this.test;
  }
}

function recordsOf(files: readonly DataFile[]): number {
  return files.reduce((sum, file) => sum + file.bytes / CIFAR10_RECORD_BYTES, 0);
}

/** Reads files one after the other into one array and checks every label. */
async function readRecords(files: Cifar10Files, part: readonly DataFile[]): Promise<Uint8Array> {
  const records = new Uint8Array(part.reduce((sum, file) => sum + file.bytes, 0));
  let at = 0;
  for (const file of part) {
    const bytes = await files.read(file);
    for (let record = 0; record < bytes.length; record += CIFAR10_RECORD_BYTES) {
      if (bytes[record]! < CIFAR10_CLASSES.length) continue;
      const place = `record ${record / CIFAR10_RECORD_BYTES} of ${files.nameOf(file)}`;
      throw new DatasetError(
        `CIFAR-10 is damaged: ${place} has label ${bytes[record]!}, not 0 to 9; ${CIFAR10_REMEDY}`,
      );
    }
    records.set(bytes, at);
    at += bytes.length;
  }
  return records;
}
