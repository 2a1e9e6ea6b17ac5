// Owns: what a collection of image files offers to whoever decodes them, however the files are stored.
// Refuses to know: pixels, augmentation and the order of samples.

export type Part = 'train' | 'test';

/** Encoded images (JPEG, PNG, …), numbered from 0 in each part; a pure function of the index. */
export interface EncodedImages {
  readonly trainCount: number;
  readonly testCount: number;
  /** Names by class number. */
  readonly classNames: readonly string[];
  /** SHA-256 in hex of the index: which images there are, in which order, with which labels and sizes. */
  readonly indexHash: string;
  /** SHA-256 in hex of the images' contents, too; null where they were not read. */
  readonly contentsHash: string | null;
  /** Class number of a sample. */
  labelOf(part: Part, id: number): number;
  /** For messages: a path, or an archive and the entry in it. */
  nameOf(part: Part, id: number): string;
  /**
   * The file's bytes. Safe to call many times at once.
   * @throws DatasetError naming the file when it cannot be read
   */
  read(part: Part, id: number, signal?: AbortSignal): Promise<Uint8Array>;
  close(): Promise<void>;
}
