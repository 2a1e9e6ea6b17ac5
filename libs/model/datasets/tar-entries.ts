// Owns: the entries of a tar archive (ustar, with GNU's and POSIX's long names), by their headers alone.
// Refuses to know: what the entries hold and where the archive lies.
import { DatasetError } from './dataset-error.js';
import type { ReadBytes } from './image-header.js';

export interface TarEntry {
  readonly name: string;
  /** Where its bytes begin. */
  readonly offset: number;
  readonly bytes: number;
}

const blockBytes = 512;
const longestName = 1 << 16;

/**
 * The plain files of an archive, in order; links, folders and all else are passed over.
 *
 * @param archive for messages
 * @param bytes length of the archive
 * @throws DatasetError where it is no tar archive, damaged or cut off
 */
export async function* tarEntries(archive: string, bytes: number, read: ReadBytes): AsyncGenerator<TarEntry> {
  let at = 0;
  let longName: string | undefined;
  let longBytes: number | undefined;
  while (at < bytes) {
    const header = Buffer.from(await read(at, Math.min(blockBytes, bytes - at)));
    if (header.length < blockBytes) throw cutOff(archive, at);
    if (header.every((byte) => byte === 0)) return;
    if (!isHeader(header)) throw damaged(archive, at, header);
    const kind = String.fromCharCode(header[156]!);
    const size = longBytes ?? numberAt(header, 124, 12);
    const begin = at + blockBytes;
    if (begin + size > bytes) throw cutOff(archive, at);
    if (kind === 'L' || kind === 'x' || kind === 'g') {
      if (size > longestName) throw damaged(archive, at, header);
      const content = Buffer.from(await read(begin, size));
      if (kind === 'L') longName = textUpToZero(content);
      if (kind === 'x') {
        const records = paxRecords(content);
        longName = records.get('path') ?? longName;
        const told = records.get('size');
        if (told !== undefined) longBytes = /^\d+$/.test(told) ? Number(told) : Number.NaN;
        if (longBytes !== undefined && !Number.isSafeInteger(longBytes)) throw damagedSize(archive, at);
      }
    } else {
      if (kind === '0' || kind === '\0' || kind === '7')
        yield { name: longName ?? nameIn(header), offset: begin, bytes: size };
      longName = undefined;
      longBytes = undefined;
    }
    at = begin + Math.ceil(size / blockBytes) * blockBytes;
  }
}

/** The sum of all its bytes, its own field counted as spaces. */
function isHeader(header: Buffer): boolean {
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  const size = numberAt(header, 124, 12);
  return sum === numberAt(header, 148, 8) && Number.isSafeInteger(size) && size >= 0;
}

function nameIn(header: Buffer): string {
  const prefix = header.toString('latin1', 257, 262) === 'ustar' ? textUpToZero(header.subarray(345, 500)) : '';
  const name = textUpToZero(header.subarray(0, 100));
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Octal digits, or binary where the first bit is set (GNU's, for sizes from 8 GiB on). */
function numberAt(header: Buffer, at: number, length: number): number {
  if ((header[at]! & 0x80) !== 0)
    return header.subarray(at + 1, at + length).reduce((value, byte) => value * 256 + byte, 0);
  return Number.parseInt(textUpToZero(header.subarray(at, at + length)).trim() || '0', 8);
}

/** Lines of '<length> <key>=<value>\n', the length counting all of the line (POSIX pax). */
function paxRecords(content: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < content.length;) {
    const space = content.indexOf(0x20, at);
    const length = Number.parseInt(content.toString('latin1', at, space), 10);
    if (space < 0 || !(length > 0)) break;
    const record = content.toString('utf8', space + 1, at + length - 1);
    const equals = record.indexOf('=');
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

function textUpToZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

function cutOff(archive: string, at: number): DatasetError {
  return new DatasetError(`The archive ${archive} is cut off: its entry at byte ${at} is not whole; copy it again`);
}

function damagedSize(archive: string, at: number): DatasetError {
  return new DatasetError(`The archive ${archive} is damaged at byte ${at}: the size of its next entry is no number`);
}

function damaged(archive: string, at: number, header: Buffer): DatasetError {
  if (at === 0 && header[0] === 0x1f && header[1] === 0x8b) {
    return new DatasetError(
      `The archive ${archive} is compressed; images are so already: unpack it with gunzip, so that parts of it can be read`,
    );
  }
  const what = at === 0 ? 'is no tar archive' : `is damaged at byte ${at}: there is no entry's header`;
  return new DatasetError(`The archive ${archive} ${what}`);
}
