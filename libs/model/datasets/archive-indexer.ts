// Owns: making the index of images in tar archives: members are grouped into samples, every image is looked at once.
// Refuses to know: where archives lie (archive-source.ts), the file of the index and who waits for it.
import { isArchiveUrl } from '../job-spec-datasets.js';
import { archiveNames } from './archive-names.js';
import type { ArchiveOpener, ArchiveSource } from './archive-source.js';
import { DatasetError } from './dataset-error.js';
import { checkContents, mapLimited, noteTraits, traitBits, type IndexingOptions } from './folder-indexer.js';
import { BrokenImageError, formatByName, inspectImage, type ReadBytes } from './image-header.js';
import { ImageIndexBuilder } from './image-index.js';
import { emptyReport, note, type ImageReport } from './image-report.js';
import { IndexJournal, type UnitFindings } from './index-journal.js';
import { tarEntries, type TarEntry } from './tar-entries.js';

export interface ArchiveIndexing extends IndexingOptions {
  /** Patterns of archives; a test pattern of null: none. */
  readonly train: string;
  readonly test: string | null;
  readonly opener: ArchiveOpener;
  /** What an indexing that is broken off leaves for the next. */
  readonly journal: string;
}

/** Archives that are looked through at one time; more than one, as each is read from front to back. */
const atOnce = 4;
const longestLabel = 1024;

/**
 * Indexes archives. One at a time per journal: the caller sees to that.
 *
 * @returns the bytes of the index file
 * @throws DatasetError where an archive cannot be read or labels do not fit together; the signal's reason
 */
export async function indexArchives(options: ArchiveIndexing): Promise<Uint8Array> {
  const { opener, full = false, signal } = options;
  const train = archiveNames(options.train);
  const test = options.test === null ? [] : archiveNames(options.test);
  const names = [...train, ...test];
  const journal = await IndexJournal.open(options.journal, `webdataset 1${full ? ' full' : ''}`);
  try {
    const assembly = new Assembly(train.length);
    let done = 0;
    for (let at = 0; at < names.length; at += atOnce) {
      const group = await mapLimited(names.slice(at, at + atOnce), atOnce, async (name) => {
        signal?.throwIfAborted();
        const source = await opener.open(name, signal);
        let findings = journal.findingsOf(name, source.stamp);
        if (findings === undefined) {
          findings = await inspectArchive(source, full, signal);
          await journal.add(name, source.stamp, findings);
        }
        done += 1;
        options.onProgress?.({ done, total: names.length, unit: 'archives' });
        return { source, findings };
      });
      for (const { source, findings } of group) assembly.add(source, findings);
    }
    const bytes = assembly.encode(full);
    await journal.remove();
    return bytes;
  } catch (error) {
    await journal.close();
    throw error;
  }
}

/** What of a member's name makes it part of a sample: all up to the first dot of its last part, and what follows. */
function partsOf(name: string): { key: string; extension: string } {
  const dot = name.indexOf('.', name.lastIndexOf('/') + 1);
  return dot < 0
    ? { key: name, extension: '' }
    : { key: name.slice(0, dot), extension: name.slice(dot + 1).toLowerCase() };
}

/** 'a.depth.png' is something else about the sample of 'a.jpg'. */
function isImage(extension: string): boolean {
  return !extension.includes('.') && formatByName(`x.${extension}`) !== undefined;
}

interface Sample {
  readonly key: string;
  image: TarEntry | undefined;
  label: string | undefined;
}

async function inspectArchive(
  source: ArchiveSource,
  full: boolean,
  signal: AbortSignal | undefined,
): Promise<UnitFindings> {
  const findings: UnitFindings = { entries: [], broken: [], ignored: [] };
  const read = windowed(source, signal);
  let sample: Sample | undefined;
  const finish = async (): Promise<void> => {
    const { image, label } = sample ?? {};
    if (image === undefined) {
      if (label !== undefined) findings.ignored.push(`${sample!.key}.cls`);
      return;
    }
    if (label === undefined)
      findings.broken.push([image.name, 'has no label: a member of the same name that ends in .cls']);
    else await inspectMember(image, label, read, full, findings);
  };
  for await (const entry of tarEntries(shown(source), source.bytes, read)) {
    signal?.throwIfAborted();
    const { key, extension } = partsOf(entry.name);
    if (sample?.key !== key) {
      await finish();
      sample = { key, image: undefined, label: undefined };
    }
    if (extension === 'cls' && entry.bytes <= longestLabel) {
      sample.label = Buffer.from(await read(entry.offset, entry.bytes))
        .toString('utf8')
        .trim();
    } else if (isImage(extension) && sample.image === undefined) sample.image = entry;
    else if (extension !== 'json' && extension !== 'txt') findings.ignored.push(entry.name);
  }
  await finish();
  return findings;
}

async function inspectMember(
  { name, offset, bytes }: TarEntry,
  label: string,
  read: ReadBytes,
  full: boolean,
  findings: UnitFindings,
): Promise<void> {
  try {
    const facts = await inspectImage(name, bytes, (at, length) => read(offset + at, length));
    const checksum = full ? await checkContents(await read(offset, bytes)) : 0;
    findings.entries.push([name, bytes, offset, checksum, 0, traitBits(facts.traits), label]);
  } catch (error) {
    if (!(error instanceof BrokenImageError)) throw error;
    findings.broken.push([name, error.message]);
  }
}

/** Reads at least a window at a time: headers, heads and ends of small images lie close together. */
function windowed(source: ArchiveSource, signal: AbortSignal | undefined): ReadBytes {
  let from = 0;
  let piece: Uint8Array = new Uint8Array(0);
  return async (offset, length) => {
    if (offset < from || offset + length > from + piece.length) {
      piece = await source.read(offset, Math.max(length, source.windowBytes), signal);
      from = offset;
    }
    return piece.subarray(offset - from, offset - from + length);
  };
}

/** Puts findings together in the order of archives; class names are settled when all are known. */
class Assembly {
  readonly #trainArchives: number;
  readonly #builder = new ImageIndexBuilder();
  readonly #containers: string[] = [];
  readonly #stamps: Record<string, string> = {};
  readonly #report: ImageReport = emptyReport();
  /** Labels in the order in which they were met; samples refer to them by number at first. */
  readonly #labels = new Map<string, number>();
  #trainCount = 0;
  #trainLabels = 0;

  constructor(trainArchives: number) {
    this.#trainArchives = trainArchives;
  }

  add(source: ArchiveSource, { entries, broken, ignored }: UnitFindings): void {
    const container = this.#containers.length;
    this.#containers.push(source.name);
    this.#stamps[source.name] = source.stamp;
    const archive = shown(source);
    this.#report.files += entries.length + broken.length;
    for (const [name, problem] of broken) note(this.#report.broken, `${archive}: ${name} ${problem}`);
    for (const name of ignored) note(this.#report.ignored, `${archive}: ${name}`);
    for (const [name, bytes, offset, checksum, modifiedMs, traits, text] of entries) {
      const label = this.#labels.get(text) ?? this.#labels.size;
      this.#labels.set(text, label);
      this.#builder.add({ container, label, name, bytes, offset, checksum, modifiedMs, traits });
      noteTraits(this.#report, traits, `${archive}: ${name}`);
    }
    if (container >= this.#trainArchives) return;
    this.#trainCount = this.#builder.count;
    this.#trainLabels = this.#labels.size;
  }

  encode(contents: boolean): Uint8Array {
    if (this.#trainCount === 0) {
      const [first] = this.#report.broken.names;
      throw new DatasetError(
        `The archives of dataset.train hold no image with a label${first === undefined ? '' : ` (${first})`}`,
      );
    }
    const texts = [...this.#labels.keys()];
    const classNames = classNamesOf(texts);
    const numbers = new Map(classNames.map((name, number) => [name, number]));
    const unknown = texts.slice(this.#trainLabels);
    if (unknown.length > 0 && !classNames.every((name) => /^\d+$/.test(name))) {
      throw new DatasetError(`The test archives have images of class '${unknown[0]!}', which no training image has`);
    }
    this.#builder.relabel(texts.map((text) => numbers.get(normal(text))!));
    if (this.#builder.count === this.#trainCount)
      this.#report.warnings.push('There are no test images: nothing can be evaluated.');
    const absent = classNames.length - new Set(texts.slice(0, this.#trainLabels).map(normal)).size;
    if (absent > 0) this.#report.warnings.push(`${absent} of the ${classNames.length} classes have no training image.`);
    const head = {
      kind: 'webdataset',
      classNames,
      containers: this.#containers,
      trainCount: this.#trainCount,
      contents,
    } as const;
    return this.#builder.encode(head, { report: this.#report, stamps: this.#stamps });
  }
}

/** Numbers count classes from 0; texts are sorted byte by byte, as class folders are. */
function classNamesOf(texts: readonly string[]): string[] {
  const numbers = texts.filter((text) => /^\d{1,6}$/.test(text));
  if (numbers.length === 0)
    return texts
      .map((text) => Buffer.from(text))
      .toSorted((one, other) => Buffer.compare(one, other))
      .map(String);
  if (numbers.length < texts.length) {
    const word = texts.find((text) => !numbers.includes(text))!;
    throw new DatasetError(
      `Some labels (.cls) are numbers, such as ${numbers[0]!}, and some are not, such as '${word}': they must be of one kind`,
    );
  }
  return Array.from({ length: Math.max(...numbers.map(Number)) + 1 }, (_, number) => String(number));
}

/** '007' is class 7. */
function normal(text: string): string {
  return /^\d{1,6}$/.test(text) ? String(Number(text)) : text;
}

function shown({ name }: ArchiveSource): string {
  return isArchiveUrl(name) ? name.replace(/[?#].*$/s, '') : name;
}
