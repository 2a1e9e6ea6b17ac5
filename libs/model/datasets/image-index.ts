// Owns: the index of a collection of images: which there are, in which order, with which labels; its compact file and its hash.
// Refuses to know: how the images were found (folder-indexer.ts, archive-indexer.ts) and how they are read.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { isArchiveUrl } from '../job-spec-datasets.js';
import { DatasetError } from './dataset-error.js';
import type { Part } from './encoded-images.js';
import { imageReportSchema, type ImageReport } from './image-report.js';

// The file: a prefix of 64 bytes; what the hash covers (a head in JSON, then columns); what it does not (facts in JSON, times).
const magic = 'LSIMAGES';
const formatVersion = 1;
const prefixBytes = 64;
const hashedPieceBytes = 4 << 20;
const mostHeadBytes = 64 << 20;

const headSchema = z.strictObject({
  kind: z.enum(['imagefolder', 'webdataset']),
  classNames: z.array(z.string()),
  /** Folders relative to the dataset's, or archives; samples refer to them by number. */
  containers: z.array(z.string()),
  trainCount: z.int().nonnegative(),
  testCount: z.int().nonnegative(),
  /** Whether the contents of every file were read and are in the hash, as CRC-32. */
  contents: z.boolean(),
  nameBytes: z.int().nonnegative(),
});
type Head = z.infer<typeof headSchema>;

const factsSchema = z.strictObject({
  report: imageReportSchema,
  /** What tells whether a folder, archive or label file has changed since: its time of change, or size and ETag. */
  stamps: z.record(z.string(), z.string()),
});

/** One image, as indexers hand it in. */
export interface IndexEntry {
  /** Number of the folder or archive. */
  readonly container: number;
  readonly label: number;
  /** Name in the folder or archive. */
  readonly name: string;
  readonly bytes: number;
  /** Where its bytes begin in the archive; 0 in a folder. */
  readonly offset: number;
  /** CRC-32 of its bytes, where contents are read. */
  readonly checksum: number;
  /** Time of the last change, milliseconds; 0 where there is none. */
  readonly modifiedMs: number;
  /** What is unusual about it: bit i stands for trait i of `imageTraits`. */
  readonly traits: number;
}

/** What the hash covers of each image. */
interface Columns {
  readonly offsets: Float64Array;
  readonly containers: Uint32Array;
  readonly labels: Uint32Array;
  readonly sizes: Uint32Array;
  readonly checksums: Uint32Array;
  /** Where each name ends in `names`. */
  readonly nameEnds: Uint32Array;
  readonly names: Uint8Array;
}

/** What it does not cover. */
interface Notes {
  readonly times: Float64Array;
  readonly traits: Uint8Array;
}

/** An index in memory: about 50 bytes an image. */
export class ImageIndex {
  readonly head: Head;
  /** SHA-256 in hex of kind, classes, folders or archives, names, labels, sizes and, where they were read, contents. */
  readonly hash: string;
  readonly report: ImageReport;
  readonly stamps: Readonly<Record<string, string>>;
  /** The file that it was read from; of bytes that came otherwise their name. */
  readonly file: string;
  readonly #columns: Columns;
  readonly #notes: Notes;

  constructor(
    head: Head,
    hash: string,
    facts: z.infer<typeof factsSchema>,
    columns: Columns,
    notes: Notes,
    file: string,
  ) {
    this.head = head;
    this.hash = hash;
    this.report = facts.report;
    this.stamps = facts.stamps;
    this.#columns = columns;
    this.#notes = notes;
    this.file = file;
  }

  /** Row of a sample: training images first. Throws RangeError outside the part. */
  row(part: Part, id: number): number {
    const count = part === 'train' ? this.head.trainCount : this.head.testCount;
    if (!Number.isInteger(id) || id < 0 || id >= count) {
      throw new RangeError(`${part === 'train' ? 'training' : 'test'} sample ${id} is outside a dataset of ${count}`);
    }
    return part === 'train' ? id : this.head.trainCount + id;
  }

  get count(): number {
    return this.#columns.labels.length;
  }

  labelAt(row: number): number {
    return this.#columns.labels[row]!;
  }

  entryAt(row: number): IndexEntry {
    const { offsets, containers, labels, sizes, checksums, nameEnds, names } = this.#columns;
    const name = Buffer.from(names.buffer, names.byteOffset, names.byteLength);
    return {
      container: containers[row]!,
      label: labels[row]!,
      name: name.toString('utf8', row === 0 ? 0 : nameEnds[row - 1]!, nameEnds[row]),
      bytes: sizes[row]!,
      offset: offsets[row] ?? 0,
      checksum: checksums[row] ?? 0,
      modifiedMs: this.#notes.times[row] ?? 0,
      traits: this.#notes.traits[row]!,
    };
  }

  containerAt(row: number): string {
    return this.head.containers[this.#columns.containers[row]!]!;
  }
}

/** Collects entries in the order of sample ids, training images first. */
export class ImageIndexBuilder {
  #count = 0;
  #nameBytes = 0;
  #rows = growing(1024);
  #names = new Uint8Array(1 << 16);

  add(entry: IndexEntry): void {
    if (this.#count === this.#rows.labels.length) this.#rows = growing(2 * this.#count, this.#rows);
    if (this.#names.length < this.#nameBytes + 3 * entry.name.length) {
      const larger = new Uint8Array(2 * this.#names.length + 3 * entry.name.length);
      larger.set(this.#names);
      this.#names = larger;
    }
    const { written } = encoder.encodeInto(entry.name, this.#names.subarray(this.#nameBytes));
    this.#nameBytes += written;
    const rows = this.#rows;
    const row = this.#count++;
    rows.offsets[row] = entry.offset;
    rows.containers[row] = entry.container;
    rows.labels[row] = entry.label;
    rows.sizes[row] = entry.bytes;
    rows.checksums[row] = entry.checksum;
    rows.nameEnds[row] = this.#nameBytes;
    rows.times[row] = entry.modifiedMs;
    rows.traits[row] = entry.traits;
  }

  get count(): number {
    return this.#count;
  }

  /** Replaces each label by the number that stands at its place. */
  relabel(numbers: readonly number[]): void {
    const { labels } = this.#rows;
    for (let row = 0; row < this.#count; row++) labels[row] = numbers[labels[row]!]!;
  }

  /** The bytes of the index file. */
  encode(
    head: Readonly<Pick<Head, 'kind' | 'trainCount' | 'contents'>> &
      Readonly<Record<'classNames' | 'containers', readonly string[]>>,
    facts: z.infer<typeof factsSchema>,
  ): Uint8Array {
    const whole = headSchema.parse({ ...head, testCount: this.#count - head.trainCount, nameBytes: this.#nameBytes });
    const headJson = Buffer.from(JSON.stringify(whole));
    const factsJson = Buffer.from(JSON.stringify(facts));
    const layout = layoutOf(whole, headJson.length, factsJson.length);
    const file = new Uint8Array(layout.fileBytes);
    const view = new DataView(file.buffer);
    file.set(headJson, prefixBytes);
    const columns = columnsIn(file.buffer, whole, layout);
    const rows = this.#rows;
    for (const name of ['offsets', 'containers', 'labels', 'sizes', 'checksums', 'nameEnds'] as const) {
      columns[name].set(rows[name].subarray(0, columns[name].length));
    }
    columns.names.set(this.#names.subarray(0, this.#nameBytes));
    file.set(factsJson, layout.factsAt);
    const notes = notesIn(file.buffer, whole, layout);
    notes.times.set(rows.times.subarray(0, notes.times.length));
    notes.traits.set(rows.traits.subarray(0, this.#count));

    file.set(Buffer.from(magic), 0);
    view.setUint32(8, formatVersion, true);
    view.setUint32(12, headJson.length, true);
    view.setUint32(16, factsJson.length, true);
    view.setUint32(20, crc32(file.subarray(layout.factsAt)), true);
    file.set(createHash('sha256').update(file.subarray(prefixBytes, layout.factsAt)).digest(), 32);
    return file;
  }
}

/** Writes an index beside its place, then puts it there: it is whole or absent. */
export async function saveIndex(file: string, bytes: Uint8Array): Promise<void> {
  const beside = `${file}.${process.pid}.${Date.now().toString(36)}.writing`;
  try {
    const handle = await open(beside, 'wx');
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

/**
 * Reads an index and checks all of it against its hash.
 *
 * @returns undefined where there is none
 * @throws DatasetError where it is damaged or of another version
 */
export async function loadIndex(file: string): Promise<ImageIndex | undefined> {
  let bytes;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(String((error as NodeJS.ErrnoException).code))) return undefined;
    throw new DatasetError(`The index ${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  return decodeIndex(bytes, file);
}

/** What an index says of its size, read from its beginning and not checked; undefined where there is none that can be read. */
export function peekIndex(file: string): Pick<Head, 'classNames' | 'trainCount' | 'testCount'> | undefined {
  let descriptor;
  try {
    descriptor = openSync(file, 'r');
    const prefix = Buffer.alloc(prefixBytes);
    readSync(descriptor, prefix, 0, prefixBytes, 0);
    if (prefix.toString('latin1', 0, 8) !== magic || prefix.readUInt32LE(8) !== formatVersion) return undefined;
    const json = Buffer.alloc(Math.min(prefix.readUInt32LE(12), mostHeadBytes));
    readSync(descriptor, json, 0, json.length, prefixBytes);
    return headSchema.parse(JSON.parse(json.toString()));
  } catch {
    return undefined; // whatever is wrong with it shows when it is opened
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** @param name for messages */
export async function decodeIndex(bytes: Uint8Array, name: string): Promise<ImageIndex> {
  // Columns are views of the buffer and must begin at multiples of 8.
  const file = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
  const buffer = file.buffer as ArrayBuffer;
  const view = new DataView(buffer, file.byteOffset, file.byteLength);
  if (file.length < prefixBytes || Buffer.from(file.subarray(0, 8)).toString('latin1') !== magic) {
    throw new DatasetError(`${name} is not an index of images; ${remedy}`);
  }
  const version = view.getUint32(8, true);
  if (version !== formatVersion) {
    throw new DatasetError(
      `The index ${name} has format ${version}, and this version of Lockstep knows ${formatVersion}; ${remedy}`,
    );
  }
  const damaged = (): DatasetError =>
    new DatasetError(`The index ${name} is damaged: its contents do not fit its hash; ${remedy}`);
  try {
    const headBytes = view.getUint32(12, true);
    const json = (from: number, length: number): unknown =>
      JSON.parse(Buffer.from(file.subarray(from, from + length)).toString());
    const head = headSchema.parse(json(prefixBytes, headBytes));
    const layout = layoutOf(head, headBytes, view.getUint32(16, true));
    if (layout.fileBytes !== file.length) throw damaged();
    const digest = createHash('sha256');
    for (let at = prefixBytes; at < layout.factsAt; at += hashedPieceBytes) {
      digest.update(file.subarray(at, Math.min(at + hashedPieceBytes, layout.factsAt)));
      await setImmediate(); // whoever shares the thread has a turn
    }
    const hash = digest.digest('hex');
    if (hash !== Buffer.from(file.subarray(32, 64)).toString('hex')) throw damaged();
    if (crc32(file.subarray(layout.factsAt)) !== view.getUint32(20, true)) throw damaged();
    const facts = factsSchema.parse(json(layout.factsAt, view.getUint32(16, true)));
    const columns = columnsIn(buffer, head, layout, file.byteOffset);
    if (leadsOut(head, columns)) {
      throw new DatasetError(`The index ${name} names files outside its dataset's folder; ${remedy}`);
    }
    return new ImageIndex(head, hash, facts, columns, notesIn(buffer, head, layout, file.byteOffset), name);
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    throw damaged();
  }
}

/** An index may have come with a dataset from anywhere: paths in it are not to be followed to other files of this host. */
function leadsOut({ kind, containers }: Head, { names }: Columns): boolean {
  const paths = containers.filter((path) => kind === 'imagefolder' || !isArchiveUrl(path));
  if (paths.some((path) => path.startsWith('/') || path.split(/[/\\]/).includes('..'))) return true;
  // A name in a folder is one component; a member of an archive is no path.
  return kind === 'imagefolder' && names.includes(0x2f);
}

const remedy = 'remove it, and `lockstep dataset index` makes it anew';
const encoder = new TextEncoder();

interface Layout {
  readonly columnsAt: number;
  readonly factsAt: number;
  readonly timesAt: number;
  readonly fileBytes: number;
}

function layoutOf(head: Head, headBytes: number, factsBytes: number): Layout {
  const count = head.trainCount + head.testCount;
  const columnsAt = aligned(prefixBytes + headBytes);
  const perImage = (head.kind === 'webdataset' ? 8 : 0) + 4 * (head.contents ? 5 : 4);
  const factsAt = aligned(columnsAt + count * perImage + head.nameBytes);
  const timesAt = aligned(factsAt + factsBytes);
  return { columnsAt, factsAt, timesAt, fileBytes: timesAt + count * (head.kind === 'imagefolder' ? 9 : 1) };
}

function columnsIn(buffer: ArrayBuffer, head: Head, { columnsAt }: Layout, base = 0): Columns {
  const count = head.trainCount + head.testCount;
  let at = base + columnsAt;
  const words = (length: number): Uint32Array => {
    const column = new Uint32Array(buffer, at, length);
    at += column.byteLength;
    return column;
  };
  const offsets = new Float64Array(buffer, at, head.kind === 'webdataset' ? count : 0);
  at += offsets.byteLength;
  return {
    offsets,
    containers: words(count),
    labels: words(count),
    sizes: words(count),
    checksums: words(head.contents ? count : 0),
    nameEnds: words(count),
    names: new Uint8Array(buffer, at, head.nameBytes),
  };
}

function notesIn(buffer: ArrayBuffer, head: Head, { timesAt }: Layout, base = 0): Notes {
  const count = head.trainCount + head.testCount;
  const times = new Float64Array(buffer, base + timesAt, head.kind === 'imagefolder' ? count : 0);
  return { times, traits: new Uint8Array(buffer, base + timesAt + times.byteLength, count) };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

interface Rows extends Omit<Columns, 'names'> {
  readonly times: Float64Array;
  readonly traits: Uint8Array;
}

function growing(length: number, before?: Rows): Rows {
  const rows: Rows = {
    offsets: new Float64Array(length),
    containers: new Uint32Array(length),
    labels: new Uint32Array(length),
    sizes: new Uint32Array(length),
    checksums: new Uint32Array(length),
    nameEnds: new Uint32Array(length),
    times: new Float64Array(length),
    traits: new Uint8Array(length),
  };
  if (before !== undefined) for (const name of Object.keys(rows) as (keyof Rows)[]) rows[name].set(before[name]);
  return rows;
}
