// Owns: reading pieces of an archive, wherever it lies: a local file, or a URL that is allowed, through a cache on this disk.
// Refuses to know: what is in the archive.
import { createHash } from 'node:crypto';
import { open, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { isArchiveUrl } from '../job-spec-datasets.js';
import { isAllowedUrl, shownUrl, type DatasetAccess } from './dataset-access.js';
import { DatasetError } from './dataset-error.js';
import { FileCache } from './file-cache.js';
import { HttpFile, plainGet, type FileState, type HttpFileOptions } from './http-file.js';
import { s3Get } from './s3.js';

/** An archive; `stamp` is '<bytes> <what changes when its contents do>'. */
export interface ArchiveSource {
  readonly name: string;
  readonly bytes: number;
  readonly stamp: string;
  /** How much one reading costs little more than less, bytes. */
  readonly windowBytes: number;
  /** Bytes [offset, offset + length), cut at the archive's end. Throws DatasetError or a file system's error. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
}

/** What is fetched and kept in one piece. */
const chunkBytes = 1 << 20;
/** Requests under way at one time, per opener. */
const requestsAtOnce = 16;
const defaultCacheBytes = 20e9;

/** Opens archives by their names: paths in a folder, or URLs. */
export class ArchiveOpener {
  readonly #folder: string;
  readonly #access: DatasetAccess;
  readonly #cache: FileCache | undefined;
  readonly #http: Omit<HttpFileOptions, 'get'>;
  readonly #limit = new Limit(requestsAtOnce);

  /** @param folder what paths are relative to */
  constructor(folder: string, access: DatasetAccess, http: Omit<HttpFileOptions, 'get' | 'mayFollow'> = {}) {
    this.#folder = folder;
    this.#access = access;
    this.#cache = cacheOf(access);
    this.#http = { ...http, mayFollow: (url) => isAllowedUrl(url, access.urlPrefixes ?? []) };
  }

  /** @throws DatasetError where it is not there, or not allowed */
  async open(name: string, signal?: AbortSignal): Promise<ArchiveSource> {
    return isArchiveUrl(name) ? this.#remote(name, signal) : this.#local(name);
  }

  async #local(name: string): Promise<ArchiveSource> {
    const file = path.join(this.#folder, name);
    let found;
    try {
      await this.#mustBeInside(file);
      found = await stat(file);
    } catch (error) {
      if (error instanceof DatasetError) throw error;
      const cause = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      const reason = cause === 'ENOENT' ? ': there is no such file' : ` (${cause})`;
      throw new DatasetError(`The archive ${file} cannot be opened${reason}`, { cause: error });
    }
    if (!found.isFile()) throw new DatasetError(`${file} is no file: name tar archives`);
    const { size, mtimeMs } = found;
    return {
      name,
      bytes: size,
      stamp: `${size} ${mtimeMs}`,
      windowBytes: 1 << 16,
      read: (offset, length) => readLocal(file, offset, Math.min(length, size - offset)),
    };
  }

  /** The first folder of the path may be a link, as a person puts one to mount a large dataset; what it holds must stay inside. */
  async #mustBeInside(file: string): Promise<void> {
    const [first = '', ...rest] = path.relative(this.#folder, file).split(path.sep);
    const roots = [await realpath(this.#folder)];
    if (rest.length > 0) roots.push(await realpath(path.join(this.#folder, first)));
    const target = await realpath(file);
    if (!roots.some((root) => target.startsWith(root + path.sep))) {
      throw new DatasetError(
        `${file} is a symbolic link that leads out of the datasets folder, to ${target}: put the archive there`,
      );
    }
  }

  async #remote(url: string, signal: AbortSignal | undefined): Promise<ArchiveSource> {
    if (!isAllowedUrl(url, this.#access.urlPrefixes ?? [])) {
      throw new DatasetError(`${shownUrl(url)} lies outside what LOCKSTEP_DATASET_URLS allows`);
    }
    const s3 = url.startsWith('s3:');
    const get = s3
      ? s3Get(this.#access.s3 ?? { endpoint: undefined, region: 'us-east-1', credentials: undefined })
      : plainGet;
    const file = new HttpFile(url, { ...this.#http, get });
    const state = await this.#limit.run(() => file.state(signal));
    return remoteArchive(url, file, state, this.#cache, this.#limit);
  }
}

/** An archive that is fetched in pieces, kept in the cache where there is one. */
export function remoteArchive(
  name: string,
  file: HttpFile,
  state: FileState,
  cache: FileCache | undefined,
  limit: Limit,
): ArchiveSource {
  const key = createHash('sha256').update(`${name}\n${state.tag}\n${state.bytes}`).digest('hex').slice(0, 32);
  const chunk = async (number: number): Promise<Uint8Array> => {
    const from = number * chunkBytes;
    const length = Math.min(chunkBytes, state.bytes - from);
    // Others may wait for the same chunk: whoever no longer wants it does not take it from them.
    const fetched = (): Promise<Uint8Array> => limit.run(() => file.read(from, length, state));
    return cache === undefined ? fetched() : cache.get(`${key}/${number}`, length, fetched);
  };
  return {
    name,
    bytes: state.bytes,
    stamp: `${state.bytes} ${state.tag}`,
    windowBytes: chunkBytes,
    read: async (offset, length, signal) => {
      signal?.throwIfAborted();
      const end = Math.min(offset + length, state.bytes);
      const numbers: number[] = [];
      for (let number = Math.floor(offset / chunkBytes); number * chunkBytes < end; number++) numbers.push(number);
      const chunks = await Promise.all(numbers.map(chunk));
      signal?.throwIfAborted();
      const start = offset - (numbers[0] ?? 0) * chunkBytes;
      // A copy of its own: a view would keep whole pieces in memory, and be sent to other threads with them.
      return copyOf(chunks, start, Math.max(0, end - offset));
    },
  };
}

function copyOf(pieces: readonly Uint8Array[], start: number, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  let from = -start;
  for (const piece of pieces) {
    const skipped = Math.max(0, -from);
    const at = Math.max(0, from);
    copy.set(piece.subarray(skipped, skipped + Math.max(0, length - at)), at);
    from += piece.length;
  }
  return copy;
}

const caches = new Map<string, FileCache>();

/** Where pieces of datasets are kept, one for all that this process reads: its bound is theirs together. Undefined where nothing is kept. */
export function cacheOf({ cacheDir, cacheBytes = defaultCacheBytes }: DatasetAccess): FileCache | undefined {
  if (cacheDir === undefined || cacheBytes === 0) return undefined;
  const key = `${cacheBytes} ${cacheDir}`;
  const cache = caches.get(key) ?? new FileCache(path.join(cacheDir, 'dataset-pieces'), cacheBytes);
  caches.set(key, cache);
  return cache;
}

async function readLocal(file: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, length));
  const handle = await open(file, 'r');
  try {
    let read = 0;
    while (read < bytes.length) {
      const { bytesRead } = await handle.read(bytes, read, bytes.length - read, offset + read);
      if (bytesRead === 0) break;
      read += bytesRead;
    }
    return bytes.subarray(0, read);
  } finally {
    await handle.close();
  }
}

/** Lets so many calls run at a time; the others wait in order. */
export class Limit {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
