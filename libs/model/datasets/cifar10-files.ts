// Owns: the files of CIFAR-10 in its standard binary form (cifar-10-batches-bin): which there are, their hashes, and reading them.
// Refuses to know: pixels, and where the folder came from (cifar10-convert.ts makes one).
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatasetError } from './dataset-error.js';

/** What the folder is called in archives, caches and job specs. */
export const CIFAR10_FOLDER = 'cifar-10-batches-bin';
export const CIFAR10_TRAIN_FILES = [1, 2, 3, 4, 5].map((number) => `data_batch_${number}.bin`);
export const CIFAR10_TEST_FILE = 'test_batch.bin';
/** A label byte, then 1024 bytes of red, of green and of blue, row by row. */
export const CIFAR10_RECORD_BYTES = 1 + 3 * 32 * 32;

const INDEX_FILE = '.lockstep-index.json';
export const CIFAR10_REMEDY =
  'run `npx lockstep dataset prepare cifar10`, or point at a complete cifar-10-batches-bin folder';

/** A file of a dataset that has no index of its own. */
export interface DataFile {
  readonly name: string;
  readonly bytes: number;
  /** In hex. */
  readonly sha256: string;
}

/** The files, wherever they are: those of the training part in order, then that of the test part. */
export interface Cifar10Files {
  readonly list: readonly DataFile[];
  /** For messages: a path or a URL. */
  nameOf(file: DataFile): string;
  /** All bytes of a file. Rejects with DatasetError where they cannot be had, or are not as many as they were. */
  read(file: DataFile): Promise<Uint8Array>;
}

/** SHA-256 in hex of names, lengths and contents. */
export function cifar10Hash({ list }: Pick<Cifar10Files, 'list'>): string {
  const digest = createHash('sha256');
  for (const { name, bytes, sha256 } of list) digest.update(`${name} ${bytes} ${sha256}\n`);
  return digest.digest('hex');
}

/**
 * The files of a folder. They are hashed once (half a second) and the hashes kept in a file beside them.
 *
 * @throws DatasetError naming the file that is missing or damaged
 */
export async function filesOfFolder(folder: string): Promise<Cifar10Files> {
  const found = await Promise.all(
    [...CIFAR10_TRAIN_FILES, CIFAR10_TEST_FILE].map((name) => describeFile(folder, name)),
  );
  const nameOf = ({ name }: DataFile): string => path.join(folder, name);
  return {
    list: (await withHashes(folder, found)).map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
    nameOf,
    read: async (file) => {
      const bytes = await readFile(nameOf(file));
      if (bytes.length === file.bytes) return bytes;
      const problem = `${nameOf(file)} has ${bytes.length} bytes now, not ${file.bytes}`;
      throw new DatasetError(`CIFAR-10 is damaged: ${problem}; ${CIFAR10_REMEDY}`);
    },
  };
}

interface FoundFile {
  readonly name: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}
type HashedFile = FoundFile & DataFile;

async function describeFile(folder: string, name: string): Promise<FoundFile> {
  const file = path.join(folder, name);
  let found;
  try {
    found = await stat(file);
  } catch (cause) {
    throw new DatasetError(`CIFAR-10 is not complete: ${file} cannot be opened; ${CIFAR10_REMEDY}`, { cause });
  }
  if (!found.isFile() || found.size === 0 || found.size % CIFAR10_RECORD_BYTES !== 0) {
    const problem = `${file} has ${found.size} bytes, not a multiple of ${CIFAR10_RECORD_BYTES}`;
    throw new DatasetError(`CIFAR-10 is damaged: ${problem}; ${CIFAR10_REMEDY}`);
  }
  return { name, bytes: found.size, modifiedMs: found.mtimeMs };
}

/** Hashes are taken from the file that an earlier opening left, where size and time of change still fit. */
async function withHashes(folder: string, files: readonly FoundFile[]): Promise<HashedFile[]> {
  const indexFile = path.join(folder, INDEX_FILE);
  const known = await readIndex(indexFile);
  const hashed: HashedFile[] = [];
  for (const file of files) {
    const entry = known.find(
      ({ name, bytes, modifiedMs }) => name === file.name && bytes === file.bytes && modifiedMs === file.modifiedMs,
    );
    hashed.push(entry ?? { ...file, sha256: await hashFile(path.join(folder, file.name)) });
  }
  if (!hashed.every((file) => known.includes(file))) await saveIndex(indexFile, hashed);
  return hashed;
}

async function readIndex(indexFile: string): Promise<HashedFile[]> {
  try {
    const parsed: unknown = JSON.parse(await readFile(indexFile, 'utf8'));
    return Array.isArray(parsed) ? parsed.filter(isHashedFile) : [];
  } catch {
    // Not there or not readable: it only saves time, so hash again.
    return [];
  }
}

function isHashedFile(value: unknown): value is HashedFile {
  const entry = value as Partial<Record<keyof HashedFile, unknown>> | null;
  return typeof entry === 'object' && typeof entry?.name === 'string' && /^[0-9a-f]{64}$/.test(String(entry.sha256));
}

async function saveIndex(indexFile: string, entries: readonly HashedFile[]): Promise<void> {
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
