// Owns: encoded images by their index: which row a sample is, and that the bytes read are those that were indexed.
// Refuses to know: where the bytes are (the reader does).
import { crc32 } from 'node:zlib';
import { DatasetError } from './dataset-error.js';
import type { EncodedImages, Part } from './encoded-images.js';
import type { ImageIndex, IndexEntry } from './image-index.js';

/** Reads the bytes of images, wherever they are. */
export interface ImageReader {
  /** For messages: a path, or an archive and the entry in it. */
  nameOf(container: string, entry: IndexEntry): string;
  /** The image's bytes; fewer or more where it has changed. Rejects with whatever went wrong. */
  read(container: string, entry: IndexEntry, signal: AbortSignal | undefined): Promise<Uint8Array>;
  close(): Promise<void>;
}

export class IndexedImages implements EncodedImages {
  readonly trainCount: number;
  readonly testCount: number;
  readonly classNames: readonly string[];
  readonly indexHash: string;
  readonly contentsHash: string | null;
  readonly #index: ImageIndex;
  readonly #reader: ImageReader;

  constructor(index: ImageIndex, reader: ImageReader) {
    this.#index = index;
    this.#reader = reader;
    this.trainCount = index.head.trainCount;
    this.testCount = index.head.testCount;
    this.classNames = index.head.classNames;
    this.indexHash = index.hash;
    this.contentsHash = index.contentsHash;
  }

  labelOf(part: Part, id: number): number {
    return this.#index.labelAt(this.#index.row(part, id));
  }

  nameOf(part: Part, id: number): string {
    const row = this.#index.row(part, id);
    return this.#reader.nameOf(this.#index.containerAt(row), this.#index.entryAt(row));
  }

  async read(part: Part, id: number, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const row = this.#index.row(part, id);
    const entry = this.#index.entryAt(row);
    const container = this.#index.containerAt(row);
    const name = (): string => this.#reader.nameOf(container, entry);
    let bytes;
    try {
      bytes = await this.#reader.read(container, entry, signal);
    } catch (error) {
      if (error instanceof DatasetError || signal?.aborted === true) throw error;
      const cause = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      throw new DatasetError(`${name()} cannot be read (${cause})`, { cause: error });
    }
    if (bytes.length !== entry.bytes) {
      throw new DatasetError(
        `${name()} has changed since it was indexed: it has ${bytes.length} bytes, not ${entry.bytes}; ${remedy}`,
      );
    }
    if (this.#index.head.contents && crc32(bytes) !== entry.checksum) {
      throw new DatasetError(`${name()} has changed since it was indexed: its checksum is another one; ${remedy}`);
    }
    return bytes;
  }

  close(): Promise<void> {
    return this.#reader.close();
  }
}

const remedy = 'put it back, or index the dataset anew with `npx lockstep dataset index`';
