// Owns: how the head, the columns and the notes of an index lie in its file, and in memory while they grow.
// Refuses to know: what they mean, and hashes.
import { z } from 'zod';

/** What the file begins with, before the head. */
export const prefixBytes = 64;

export const headSchema = z.strictObject({
  kind: z.enum(['imagefolder', 'webdataset']),
  classNames: z.array(z.string()),
  /** Folders relative to the dataset's, or archives; samples refer to them by number. */
  containers: z.array(z.string()),
  trainCount: z.int().nonnegative(),
  testCount: z.int().nonnegative(),
  /** Whether the contents of every file were read and are in the file, as CRC-32. */
  contents: z.boolean(),
  nameBytes: z.int().nonnegative(),
});
export type Head = z.infer<typeof headSchema>;

/** What the file's hash covers of each image. */
export interface Columns {
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
export interface Notes {
  readonly times: Float64Array;
  readonly traits: Uint8Array;
}

interface Layout {
  readonly columnsAt: number;
  readonly factsAt: number;
  readonly timesAt: number;
  readonly fileBytes: number;
}

export function layoutOf(head: Head, headBytes: number, factsBytes: number): Layout {
  const count = head.trainCount + head.testCount;
  const columnsAt = aligned(prefixBytes + headBytes);
  const perImage = (head.kind === 'webdataset' ? 8 : 0) + 4 * (head.contents ? 5 : 4);
  const factsAt = aligned(columnsAt + count * perImage + head.nameBytes);
  const timesAt = aligned(factsAt + factsBytes);
  return { columnsAt, factsAt, timesAt, fileBytes: timesAt + count * (head.kind === 'imagefolder' ? 9 : 1) };
}

export function columnsIn(buffer: ArrayBuffer, head: Head, { columnsAt }: Layout, base = 0): Columns {
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

export function notesIn(buffer: ArrayBuffer, head: Head, { timesAt }: Layout, base = 0): Notes {
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

/** Room for so many images, with what was there before. */
export function growing(length: number, before?: Rows): Rows {
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
