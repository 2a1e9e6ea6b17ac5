// Owns: reading CIFAR-10 in its standard binary form (cifar-10-batches-bin) and preparing its images.
// Refuses to know: where the folder came from (cifar10-convert.ts makes one) and who asks for the images.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cropAndFlipOf, normalisationTable, TEN_CROPS, UNCHANGED, writeImage } from '../augment.js';
import type { EvaluationViews, ViewGroup } from '../evaluation-views.js';
import type { NormalisationSpec } from '../job-spec.js';
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
export const CIFAR10_TRAIN_FILES = [1, 2, 3, 4, 5].map((number) => `data_batch_${number}.bin`);
export const CIFAR10_TEST_FILE = 'test_batch.bin';
export const CIFAR10_SIZE = 32;
/** A label byte, then 1024 bytes of red, of green and of blue, row by row. */
export const CIFAR10_RECORD_BYTES = 1 + 3 * CIFAR10_SIZE * CIFAR10_SIZE;

const IMAGE_ELEMENTS = 3 * CIFAR10_SIZE * CIFAR10_SIZE;
const INDEX_FILE = '.lockstep-index.json';
const REMEDY = 'run `lockstep dataset prepare cifar10`, or point at a complete cifar-10-batches-bin folder';

/**
 * Opens the folder. Files are hashed once (half a second) and the hashes kept in a file beside them; pixels are read on first use:
 * 154 MB for the training part, 31 MB for the test part.
 *
 * @throws DatasetError naming the file that is missing or damaged
 */
export async function openCifar10(folder: string, normalisation: NormalisationSpec): Promise<Dataset> {
  const files = await Promise.all(
    [...CIFAR10_TRAIN_FILES, CIFAR10_TEST_FILE].map((name) => describeFile(folder, name)),
  );
  const hashes = await contentHashes(folder, files);
  const digest = createHash('sha256');
  for (const [index, file] of files.entries()) digest.update(`${file.name} ${file.bytes} ${hashes[index]!}\n`);
  return new Cifar10Dataset(folder, files, digest.digest('hex'), normalisation);
}

interface DataFile {
  readonly name: string;
  readonly bytes: number;
  readonly modifiedMs: number;
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
  private readonly folder: string;
  private readonly trainFiles: readonly DataFile[];
  private readonly testFiles: readonly DataFile[];
  private readonly table: Float32Array;
  private train: Promise<Uint8Array> | undefined;
  private test: Promise<Uint8Array> | undefined;

  constructor(folder: string, files: readonly DataFile[], indexHash: string, normalisation: NormalisationSpec) {
    this.folder = folder;
    this.trainFiles = files.slice(0, -1);
    this.testFiles = files.slice(-1);
    this.trainCount = recordsOf(this.trainFiles);
    this.testCount = recordsOf(this.testFiles);
    this.indexHash = indexHash;
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

async function describeFile(folder: string, name: string): Promise<DataFile> {
  const file = path.join(folder, name);
  let found;
  try {
    found = await stat(file);
  } catch (cause) {
    throw new DatasetError(`CIFAR-10 is not complete: ${file} cannot be opened; ${REMEDY}`, { cause });
  }
  if (!found.isFile() || found.size === 0 || found.size % CIFAR10_RECORD_BYTES !== 0) {
    const problem = `${file} has ${found.size} bytes, not a multiple of ${CIFAR10_RECORD_BYTES}`;
    throw new DatasetError(`CIFAR-10 is damaged: ${problem}; ${REMEDY}`);
  }
  return { name, bytes: found.size, modifiedMs: found.mtimeMs };
}

function recordsOf(files: readonly DataFile[]): number {
  return files.reduce((sum, file) => sum + file.bytes / CIFAR10_RECORD_BYTES, 0);
}

/** Reads files one after the other into one array and checks every label. */
async function readRecords(folder: string, files: readonly DataFile[]): Promise<Uint8Array> {
  const records = new Uint8Array(files.reduce((sum, file) => sum + file.bytes, 0));
  let at = 0;
  for (const file of files) {
    const handle = await open(path.join(folder, file.name), 'r');
    try {
      const end = at + file.bytes;
      for (let read = at; read < end;) {
        const { bytesRead } = await handle.read(records, read, end - read, read - at);
        if (bytesRead === 0) throw new DatasetError(`CIFAR-10 is damaged: ${file.name} became shorter; ${REMEDY}`);
        read += bytesRead;
      }
    } finally {
      await handle.close();
    }
    for (let record = at; record < at + file.bytes; record += CIFAR10_RECORD_BYTES) {
      if (records[record]! < CIFAR10_CLASSES.length) continue;
      const place = `record ${(record - at) / CIFAR10_RECORD_BYTES} of ${path.join(folder, file.name)}`;
      throw new DatasetError(`CIFAR-10 is damaged: ${place} has label ${records[record]!}, not 0 to 9; ${REMEDY}`);
    }
    at += file.bytes;
  }
  return records;
}

/** SHA-256 of each file; taken from the file that an earlier opening left, where size and time of change still fit. */
async function contentHashes(folder: string, files: readonly DataFile[]): Promise<string[]> {
  const indexFile = path.join(folder, INDEX_FILE);
  const known = await readIndex(indexFile);
  const hashes: string[] = [];
  let hashedAny = false;
  for (const file of files) {
    const entry = known.find((one) => one.name === file.name);
    if (entry && entry.bytes === file.bytes && entry.modifiedMs === file.modifiedMs) {
      hashes.push(entry.sha256);
    } else {
      hashes.push(await hashFile(path.join(folder, file.name)));
      hashedAny = true;
    }
  }
  if (hashedAny)
    await saveIndex(
      indexFile,
      files.map((file, index) => ({ ...file, sha256: hashes[index]! })),
    );
  return hashes;
}

interface IndexEntry extends DataFile {
  readonly sha256: string;
}

async function readIndex(indexFile: string): Promise<IndexEntry[]> {
  try {
    const parsed: unknown = JSON.parse(await readFile(indexFile, 'utf8'));
    return Array.isArray(parsed) ? parsed.filter(isIndexEntry) : [];
  } catch {
    // Not there or not readable: it only saves time, so hash again.
    return [];
  }
}

function isIndexEntry(value: unknown): value is IndexEntry {
  const entry = value as Partial<Record<keyof IndexEntry, unknown>> | null;
  return typeof entry === 'object' && typeof entry?.name === 'string' && /^[0-9a-f]{64}$/.test(String(entry.sha256));
}

async function saveIndex(indexFile: string, entries: readonly IndexEntry[]): Promise<void> {
  const temporary = `${indexFile}.${process.pid}.${Date.now().toString(36)}`;
  try {
    await writeFile(temporary, `${JSON.stringify(entries, null, 2)}\n`);
    await rename(temporary, indexFile);
  } catch {
    // A folder that cannot be written to is fine: the next opening hashes again.
    await rm(temporary, { force: true });
  }
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
