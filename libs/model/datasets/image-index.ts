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
import {
  columnsIn,
  growing,
  type Columns,
  type Head,
  headSchema,
  layoutOf,
  type Notes,
  notesIn,
  prefixBytes,
} from './image-index-columns.js';
import { imageReportSchema, type ImageReport } from './image-report.js';

// The file: a prefix of 64 bytes; what its hash covers (a head in JSON, then columns); what it does not (facts in JSON, times).
const magic = 'LSIMAGES';
const formatVersion = 1;
const hashedPieceBytes = 4 << 20;
const mostHeadBytes = 64 << 20;

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

/** An index in memory: about 50 bytes an image. */
export class ImageIndex {
  readonly head: Head;
  /** SHA-256 in hex of what ids mean: kind, classes, folders or archives, names, labels, sizes. The same whether or not contents were read. */
  readonly hash: string;
  /** SHA-256 in hex of that and of the contents; null where they were not read. Says something only where another one has it, too. */
  readonly contentsHash: string | null;
  readonly report: ImageReport;
  readonly stamps: Readonly<Record<string, string>>;
  /** The file that it was read from; of bytes that came otherwise their name. */
  readonly file: string;
  readonly #columns: Columns;
  readonly #notes: Notes;

  constructor(
    head: Head,
    { hash, contentsHash }: Pick<ImageIndex, 'hash' | 'contentsHash'>,
    facts: z.infer<typeof factsSchema>,
    columns: Columns,
    notes: Notes,
    file: string,
  ) {
    this.head = head;
    this.hash = hash;
    this.contentsHash = contentsHash;
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
    const fileHash = await hashOf([file.subarray(prefixBytes, layout.factsAt)]);
    if (fileHash !== Buffer.from(file.subarray(32, 64)).toString('hex')) throw damaged();
    if (crc32(file.subarray(layout.factsAt)) !== view.getUint32(20, true)) throw damaged();
    const facts = factsSchema.parse(json(layout.factsAt, view.getUint32(16, true)));
    const columns = columnsIn(buffer, head, layout, file.byteOffset);
    if (leadsOut(head, columns)) {
      throw new DatasetError(`The index ${name} names files outside its dataset's folder; ${remedy}`);
    }
    const hashes = head.contents
      ? { hash: await hashWithoutContents(head, columns), contentsHash: fileHash }
      : { hash: fileHash, contentsHash: null };
    return new ImageIndex(head, hashes, facts, columns, notesIn(buffer, head, layout, file.byteOffset), name);
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    throw damaged();
  }
}

async function hashOf(pieces: readonly ArrayBufferView[]): Promise<string> {
  const digest = createHash('sha256');
  for (const { buffer, byteOffset, byteLength } of pieces) {
    for (let at = 0; at < byteLength; at += hashedPieceBytes) {
      digest.update(new Uint8Array(buffer, byteOffset + at, Math.min(hashedPieceBytes, byteLength - at)));
      await setImmediate(); // whoever shares the thread has a turn
    }
  }
  return digest.digest('hex');
}

/** The hash that the index of the same images has when contents are not read: of the same bytes without checksums. */
function hashWithoutContents(head: Head, columns: Columns): Promise<string> {
  const { offsets, containers, labels, sizes, nameEnds, names } = columns;
  const plain: Head = { ...head, contents: false };
  const json = Buffer.from(JSON.stringify(plain));
  const { columnsAt, factsAt } = layoutOf(plain, json.length, 0);
  const inOrder = [offsets, containers, labels, sizes, nameEnds, names];
  const columnBytes = inOrder.reduce((sum, column) => sum + column.byteLength, 0);
  const padding = (bytes: number): Uint8Array => new Uint8Array(bytes);
  return hashOf([
    json,
    padding(columnsAt - prefixBytes - json.length),
    ...inOrder,
    padding(factsAt - columnsAt - columnBytes),
  ]);
}

/** An index may have come with a dataset from anywhere: paths in it are not to be followed to other files of this host. */
function leadsOut({ kind, containers }: Head, { names }: Columns): boolean {
  const paths = containers.filter((path) => kind === 'imagefolder' || !isArchiveUrl(path));
  if (paths.some((path) => path.startsWith('/') || path.split(/[/\\]/).includes('..'))) return true;
  // A name in a folder is one component; a member of an archive is no path.
  return kind === 'imagefolder' && names.includes(0x2f);
}

const remedy = 'remove it, and `npx lockstep dataset index` makes it anew';
const encoder = new TextEncoder();
