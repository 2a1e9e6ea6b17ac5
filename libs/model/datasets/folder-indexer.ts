// Owns: making the index of a folder of images: every file is looked at once, what is broken is left out and reported.
// Refuses to know: the layout of the folder (folder-layout.ts), the file of the index (image-index.ts) and who waits for it.
import { open, readFile, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import sharp from 'sharp';
import { DatasetError } from './dataset-error.js';
import { layOutFolder, stampOf, type FolderLayout, type FolderUnit } from './folder-layout.js';
import { BrokenImageError, imageTraits, inspectImage, type ImageTrait } from './image-header.js';
import { ImageIndexBuilder, type ImageIndex, type IndexEntry } from './image-index.js';
import { emptyReport, note, type ImageReport } from './image-report.js';
import { IndexJournal, type UnitFindings } from './index-journal.js';

export interface IndexingOptions {
  /** Reads every file, decodes it and keeps its checksum, in place of looking at its header and end. @default false */
  readonly full?: boolean;
  /**
   * Looks at the size and time of every file of a folder, also where no folder has changed: files may have been overwritten. With
   * `full` all are read again. @default false
   */
  readonly lookAgain?: boolean;
  /** Told after every few hundred images and after every folder. */
  readonly onProgress?: (progress: IndexingProgress) => void;
  readonly signal?: AbortSignal;
}

export interface IndexingProgress {
  readonly done: number;
  readonly total: number;
  readonly unit: 'images' | 'archives';
}

export interface FolderIndexing extends IndexingOptions {
  readonly root: string;
  /** Real paths that symbolic links may lead into, besides the dataset's own. */
  readonly allowedRoots?: readonly string[];
  /** What an indexing that is broken off leaves for the next. */
  readonly journal: string;
  /** An older index of the same folder: files that have not changed since are not looked at again. */
  readonly older?: ImageIndex;
}

/** Files of one unit: what is lost when an indexing is broken off. */
const unitFiles = 2000;
/** Files that are open at one time. */
const atOnce = 16;
const reportEvery = 200;

/**
 * Indexes a folder. One at a time per journal: the caller sees to that.
 *
 * @returns the bytes of the index file
 * @throws DatasetError where the folder is laid out in another way, or a class has no image that can be decoded; the signal's reason
 */
export async function indexFolder(options: FolderIndexing): Promise<Uint8Array> {
  const { root, full = false, journal: journalPath, older, signal } = options;
  const layout = await layOutFolder(root, options.allowedRoots);
  const units = layout.units.flatMap(split);
  const total = units.reduce((sum, unit) => sum + unit.names.length, 0);
  const journal = await IndexJournal.open(journalPath, `imagefolder 1${full ? ' full' : ''}`);
  let done = 0;
  const tell = (): void => options.onProgress?.({ done, total, unit: 'images' });
  const step = (): void => {
    done += 1;
    if (done % reportEvery === 0) tell();
  };
  try {
    const known = new KnownFiles(older, full);
    const assembly = new Assembly(layout, full);
    for (const unit of units) {
      signal?.throwIfAborted();
      const key = `${unit.folder} ${unit.names[0]!} ${unit.names.length}`;
      const stamp = layout.stamps[unit.folder] ?? '';
      let findings = journal.findingsOf(key, stamp);
      if (findings === undefined) {
        findings = await inspectUnit(unit, { root, full, known, signal, step });
        await journal.add(key, stamp, findings);
      } else {
        done += unit.names.length;
      }
      tell();
      assembly.add(unit, findings);
    }
    const bytes = assembly.encode(root, await stampsOf(root, assembly.broken));
    await journal.remove();
    return bytes;
  } catch (error) {
    await journal.close();
    throw error;
  }
}

/** Stamps of files by name; of one that is not there an empty one. */
async function stampsOf(root: string, names: readonly string[]): Promise<Record<string, string>> {
  const stamps = await mapLimited(names, atOnce, async (name) => [name, await stampOrNone(root, name)] as const);
  return Object.fromEntries(stamps);
}

function stampOrNone(root: string, name: string): Promise<string> {
  return stampOf(path.join(root, name)).catch(() => '');
}

/**
 * Whether nothing was added, removed or renamed since the index was made, and what was broken is as it was. That another file was
 * overwritten shows only when it is read, or looked at again.
 */
export async function isFresh(index: ImageIndex, root: string): Promise<boolean> {
  // One without stamps says nothing of what it was made from.
  if (Object.keys(index.stamps).length === 0) return false;
  for (const [name, stamp] of Object.entries(index.stamps)) {
    if ((await stampOrNone(root, name)) !== stamp) return false;
  }
  return true;
}

interface Inspection {
  readonly root: string;
  readonly full: boolean;
  readonly known: KnownFiles;
  readonly signal: AbortSignal | undefined;
  readonly step: () => void;
}

async function inspectUnit(unit: FolderUnit, { root, full, known, signal, step }: Inspection): Promise<UnitFindings> {
  const findings: UnitFindings = { entries: [], broken: [], ignored: [] };
  const found = await mapLimited(unit.names, atOnce, async (name) => {
    signal?.throwIfAborted();
    const entry = await inspectFile(path.join(root, unit.folder, name), name, full, known.of(unit.folder, name));
    step();
    return entry;
  });
  for (const [at, entry] of found.entries()) {
    if (typeof entry === 'string') findings.broken.push([unit.names[at]!, entry]);
    else findings.entries.push(entry);
  }
  return findings;
}

/** The entry of one file, or what is wrong with it. */
async function inspectFile(
  file: string,
  name: string,
  full: boolean,
  known: IndexEntry | undefined,
): Promise<UnitFindings['entries'][number] | string> {
  let handle;
  try {
    handle = await open(file, 'r');
    const { size, mtimeMs } = await handle.stat();
    if (known?.bytes === size && known.modifiedMs === mtimeMs) {
      return [name, size, 0, known.checksum, mtimeMs, known.traits, ''];
    }
    const opened = handle;
    const facts = await inspectImage(name, size, (offset, length) => readAt(opened, offset, length));
    const checksum = full ? await checkContents(await readFile(file)) : 0;
    return [name, size, 0, checksum, mtimeMs, traitBits(facts.traits), ''];
  } catch (error) {
    if (error instanceof BrokenImageError) return error.message;
    return `cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`;
  } finally {
    await handle?.close();
  }
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await handle.read(bytes, read, length - read, offset + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return bytes.subarray(0, read);
}

/** Decodes an image and gives the CRC-32 of its bytes. Throws BrokenImageError where it cannot be decoded. */
export async function checkContents(bytes: Uint8Array): Promise<number> {
  try {
    await sharp(bytes, { failOn: 'warning' }).raw().toBuffer();
  } catch (error) {
    throw new BrokenImageError(`cannot be decoded: ${(error as Error).message.trim().split('\n')[0]!}`, {
      cause: error,
    });
  }
  return crc32(bytes);
}

export function traitBits(traits: readonly ImageTrait[]): number {
  return traits.reduce((bits, trait) => bits | (1 << imageTraits.indexOf(trait)), 0);
}

/** Files of an older index, by folder: of one folder at a time, as they are asked for in order. */
class KnownFiles {
  readonly #index: ImageIndex | undefined;
  readonly #rows = new Map<string, number[]>();
  #folder = '';
  #entries = new Map<string, IndexEntry>();

  constructor(index: ImageIndex | undefined, full: boolean) {
    this.#index = index?.head.kind === 'imagefolder' && (index.head.contents || !full) ? index : undefined;
    for (let row = 0; row < (this.#index?.count ?? 0); row++) {
      const folder = this.#index!.containerAt(row);
      const rows = this.#rows.get(folder) ?? [];
      if (rows.length === 0) this.#rows.set(folder, rows);
      rows.push(row);
    }
  }

  of(folder: string, name: string): IndexEntry | undefined {
    if (folder !== this.#folder) {
      this.#folder = folder;
      const entries = (this.#rows.get(folder) ?? []).map((row) => this.#index!.entryAt(row));
      this.#entries = new Map(entries.map((entry) => [entry.name, entry]));
    }
    return this.#entries.get(name);
  }
}

/** Puts findings together, in the order of sample ids. */
class Assembly {
  readonly #layout: FolderLayout;
  readonly #full: boolean;
  readonly #builder = new ImageIndexBuilder();
  readonly #containers: string[] = [];
  readonly #report: ImageReport = emptyReport();
  readonly #counts: Uint32Array;
  /** Files that are left out. */
  readonly broken: string[] = [];
  #trainCount = 0;

  constructor(layout: FolderLayout, full: boolean) {
    this.#layout = layout;
    this.#full = full;
    this.#counts = new Uint32Array(layout.classNames.length);
    this.#report.warnings.push(...layout.warnings);
    for (const name of layout.ignored) note(this.#report.ignored, name);
  }

  add(unit: FolderUnit, findings: UnitFindings): void {
    if (this.#containers.at(-1) !== unit.folder) this.#containers.push(unit.folder);
    const container = this.#containers.length - 1;
    const labels = new Map(unit.names.map((name, at) => [name, unit.labels[at]!]));
    this.#report.files += unit.names.length;
    for (const [name, problem] of findings.broken) {
      note(this.#report.broken, `${unit.folder}/${name} ${problem}`);
      this.broken.push(`${unit.folder}/${name}`);
    }
    for (const [name, bytes, offset, checksum, modifiedMs, traits] of findings.entries) {
      const label = labels.get(name)!;
      this.#builder.add({ container, label, name, bytes, offset, checksum, modifiedMs, traits });
      noteTraits(this.#report, traits, `${unit.folder}/${name}`);
      if (unit.part === 'train') this.#counts[label]! += 1;
    }
    if (unit.part === 'train') this.#trainCount = this.#builder.count;
  }

  /** @param brokenStamps of files that are left out: when one is mended, the index is made anew */
  encode(root: string, brokenStamps: Readonly<Record<string, string>>): Uint8Array {
    const { classNames, stamps } = this.#layout;
    const lost = classNames.find((_name, label) => this.#counts[label] === 0);
    if (lost !== undefined) {
      const [first] = this.#report.broken.names.filter((name) => name.startsWith(`train/${lost}/`));
      throw new DatasetError(
        `No image of train/${lost} in ${root} can be decoded${first === undefined ? '' : ` (${first})`}: copy the folder again`,
      );
    }
    const head = {
      kind: 'imagefolder',
      classNames,
      containers: this.#containers,
      trainCount: this.#trainCount,
      contents: this.#full,
    } as const;
    return this.#builder.encode(head, { report: this.#report, stamps: { ...stamps, ...brokenStamps } });
  }
}

export function noteTraits(report: ImageReport, bits: number, name: string): void {
  for (const [bit, trait] of imageTraits.entries()) if ((bits & (1 << bit)) !== 0) note(report.traits[trait], name);
}

function split(unit: FolderUnit): FolderUnit[] {
  const parts: FolderUnit[] = [];
  for (let at = 0; at < unit.names.length; at += unitFiles) {
    const [names, labels] = [unit.names.slice(at, at + unitFiles), unit.labels.slice(at, at + unitFiles)];
    parts.push({ ...unit, names, labels });
  }
  return parts;
}

/**
 * Maps with at most `limit` calls under way; the results are in the order of the items. After a failure no more are begun, and it
 * is thrown when those under way have ended.
 */
export async function mapLimited<Item, Result>(
  items: readonly Item[],
  limit: number,
  map: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const at = next++;
      try {
        results[at] = await map(items[at]!);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  if (failures.length > 0) throw failures[0];
  return results;
}
