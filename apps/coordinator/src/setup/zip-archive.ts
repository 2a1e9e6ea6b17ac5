// Reads zip archives (Python wheels): the directory, then single files by streaming, with checks of size and CRC-32.
// Refuses to know what is inside. Handles zip64; refuses encryption and methods other than stored and deflate.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';
import { systemCode } from './setup-error.js';

export interface ZipEntry {
  readonly name: string;
  /** 0 stored, 8 deflate. */
  readonly method: number;
  readonly encrypted: boolean;
  /** A program, where the archive was made on Unix. */
  readonly executable: boolean;
  readonly crc: number;
  readonly compressedBytes: number;
  readonly bytes: number;
  readonly headerOffset: number;
}

/** The archive is torn, damaged or of a kind that is not read here. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
}

const endSignature = 0x06054b50;
const end64LocatorSignature = 0x07064b50;
const end64Signature = 0x06064b50;
const entrySignature = 0x02014b50;
const localSignature = 0x04034b50;
const unset32 = 0xffffffff;

/** The files of an archive, folders left out. Throws `ArchiveError` where it is not a whole zip archive. */
export async function readZipDirectory(path: string): Promise<ZipEntry[]> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const { offset, length, count } = await findDirectory(file, size, path);
    const directory = await readExactly(file, offset, length, path);
    const entries: ZipEntry[] = [];
    let at = 0;
    for (let i = 0; i < count; i += 1) {
      if (at + 46 > length || directory.readUInt32LE(at) !== entrySignature) {
        throw new ArchiveError(`${path} is damaged: entry ${i} of its directory cannot be read`);
      }
      const nameLength = directory.readUInt16LE(at + 28);
      const extraLength = directory.readUInt16LE(at + 30);
      const next = at + 46 + nameLength + extraLength + directory.readUInt16LE(at + 32);
      if (next > length) throw new ArchiveError(`${path} is damaged: entry ${i} of its directory is cut off`);
      const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
      const extra = directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
      if (!name.endsWith('/')) entries.push({ name, ...readEntry(directory, at, extra, path) });
      at = next;
    }
    return entries;
  } finally {
    await file.close();
  }
}

/**
 * Writes one file of an archive to `target` (its folder is made) and returns its SHA-256.
 * `onBytes` gets the size of each piece written. Throws `ArchiveError` where size or CRC are not what the directory says.
 */
export async function extractZipEntry(
  path: string,
  entry: ZipEntry,
  target: string,
  onBytes: (bytes: number) => void = () => {},
): Promise<string> {
  if (entry.encrypted || (entry.method !== 0 && entry.method !== 8)) {
    throw new ArchiveError(`${path}: ${entry.name} is packed in a way that is not read here (method ${entry.method})`);
  }
  const start = await dataOffset(path, entry);
  const hash = createHash('sha256');
  let crc = 0;
  let bytes = 0;
  const count = new Transform({
    transform(piece: Buffer, _encoding, done) {
      bytes += piece.length;
      if (bytes > entry.bytes) {
        done(new ArchiveError(`${path} is damaged: ${entry.name} is longer than its directory says`));
        return;
      }
      crc = crc32(piece, crc);
      hash.update(piece);
      onBytes(piece.length);
      done(null, piece);
    },
  });
  await mkdir(dirname(target), { recursive: true });
  const sink = createWriteStream(target, { flush: true, mode: entry.executable ? 0o777 : 0o666 });
  if (entry.compressedBytes === 0) {
    await pipeline([], count, sink);
  } else {
    const source = createReadStream(path, {
      start,
      end: start + entry.compressedBytes - 1,
      highWaterMark: 1 << 20,
    });
    try {
      if (entry.method === 0) await pipeline(source, count, sink);
      else await pipeline(source, createInflateRaw({ chunkSize: 1 << 18 }), count, sink);
    } catch (error) {
      if (!(systemCode(error) ?? '').startsWith('Z_')) throw error;
      throw new ArchiveError(`${path} is damaged: ${entry.name} cannot be unpacked`, { cause: error });
    }
  }
  if (bytes !== entry.bytes || crc !== entry.crc) {
    throw new ArchiveError(`${path} is damaged: ${entry.name} has another size or checksum than its directory says`);
  }
  return hash.digest('hex');
}

async function findDirectory(
  file: FileHandle,
  size: number,
  path: string,
): Promise<{ offset: number; length: number; count: number }> {
  // The end record is 22 bytes, a comment of up to 64 kB may follow, the zip64 locator (20 bytes) comes before it.
  const tailLength = Math.min(size, 22 + 0xffff + 20);
  const tail = await readExactly(file, size - tailLength, tailLength, path);
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== endSignature) end -= 1;
  if (end < 0) throw new ArchiveError(`${path} is cut off or no zip archive: it has no directory`);
  const count = tail.readUInt16LE(end + 10);
  const length = tail.readUInt32LE(end + 12);
  const offset = tail.readUInt32LE(end + 16);
  if (count !== 0xffff && length !== unset32 && offset !== unset32) return { offset, length, count };
  if (end < 20 || tail.readUInt32LE(end - 20) !== end64LocatorSignature) {
    throw new ArchiveError(`${path} is damaged: its zip64 locator is missing`);
  }
  const record = await readExactly(file, Number(tail.readBigUInt64LE(end - 12)), 56, path);
  if (record.readUInt32LE(0) !== end64Signature) {
    throw new ArchiveError(`${path} is damaged: its zip64 end record is missing`);
  }
  return {
    count: Number(record.readBigUInt64LE(32)),
    length: Number(record.readBigUInt64LE(40)),
    offset: Number(record.readBigUInt64LE(48)),
  };
}

function readEntry(directory: Buffer, at: number, extra: Buffer, path: string): Omit<ZipEntry, 'name'> {
  let bytes = directory.readUInt32LE(at + 24);
  let compressedBytes = directory.readUInt32LE(at + 20);
  let headerOffset = directory.readUInt32LE(at + 42);
  if (bytes === unset32 || compressedBytes === unset32 || headerOffset === unset32) {
    const wide = findZip64(extra);
    let next = 0;
    // The zip64 field holds, in this order, only those values that did not fit.
    const take = (narrow: number): number => {
      if (narrow !== unset32) return narrow;
      if (wide === undefined || next + 8 > wide.length)
        throw new ArchiveError(`${path} is damaged: a zip64 size is missing`);
      next += 8;
      return Number(wide.readBigUInt64LE(next - 8));
    };
    bytes = take(bytes);
    compressedBytes = take(compressedBytes);
    headerOffset = take(headerOffset);
  }
  return {
    method: directory.readUInt16LE(at + 10),
    encrypted: (directory.readUInt16LE(at + 8) & 1) !== 0,
    // Made on Unix (3), the file's mode lies in the upper half of the external attributes.
    executable: directory.readUInt8(at + 5) === 3 && (directory.readUInt16LE(at + 40) & 0o100) !== 0,
    crc: directory.readUInt32LE(at + 16),
    bytes,
    compressedBytes,
    headerOffset,
  };
}

function findZip64(extra: Buffer): Buffer | undefined {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) === 1) return extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
  }
  return undefined;
}

/** Where a file's data begin: its local header has a name and extra field of lengths of its own. */
async function dataOffset(path: string, entry: ZipEntry): Promise<number> {
  const file = await open(path, 'r');
  try {
    const header = await readExactly(file, entry.headerOffset, 30, path);
    if (header.readUInt32LE(0) !== localSignature) {
      throw new ArchiveError(`${path} is damaged: ${entry.name} does not begin where its directory says`);
    }
    return entry.headerOffset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  } finally {
    await file.close();
  }
}

async function readExactly(file: FileHandle, position: number, length: number, path: string): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead !== length) throw new ArchiveError(`${path} is cut off: ${length} bytes at ${position} are not there`);
  return buffer;
}
