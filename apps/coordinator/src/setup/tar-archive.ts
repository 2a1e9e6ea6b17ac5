// Unpacks chosen files of a gzipped tar archive (npm packages) by streaming.
// Refuses to know what is inside; links, folders and anything else that is not a plain file are passed over.
import { createReadStream } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { systemCode } from './setup-error.js';
import { ArchiveError } from './zip-archive.js';

const blockBytes = 512;

/**
 * Unpacks the plain files for which `targetOf` gives a path (undefined: passed over); returns the names unpacked.
 * Throws `ArchiveError` where the archive is cut off or damaged.
 */
export async function extractTarGz(path: string, targetOf: (name: string) => string | undefined): Promise<string[]> {
  const unpacker = new TarUnpacker(path, targetOf);
  const source = createReadStream(path, { highWaterMark: 1 << 20 });
  try {
    await pipeline(source, createGunzip({ chunkSize: 1 << 18 }), async (pieces: AsyncIterable<Buffer>) => {
      try {
        for await (const piece of pieces) await unpacker.take(piece);
        await unpacker.end();
      } finally {
        await unpacker.closeFile();
      }
    });
    return unpacker.unpacked;
  } catch (error) {
    if (!(systemCode(error) ?? '').startsWith('Z_')) throw error;
    throw new ArchiveError(`${path} is cut off or damaged: it cannot be unpacked`, { cause: error });
  }
}

class TarUnpacker {
  readonly unpacked: string[] = [];
  private readonly path: string;
  private readonly targetOf: (name: string) => string | undefined;
  private header = Buffer.alloc(0);
  private file: FileHandle | undefined;
  private fileBytesLeft = 0;
  private paddingLeft = 0;

  constructor(path: string, targetOf: (name: string) => string | undefined) {
    this.path = path;
    this.targetOf = targetOf;
  }

  async take(piece: Buffer): Promise<void> {
    let rest = piece;
    while (rest.length > 0) {
      if (this.fileBytesLeft > 0) {
        const part = rest.subarray(0, this.fileBytesLeft);
        rest = rest.subarray(part.length);
        this.fileBytesLeft -= part.length;
        await this.write(part);
        if (this.fileBytesLeft === 0) await this.closeFile();
      } else if (this.paddingLeft > 0) {
        const skipped = Math.min(this.paddingLeft, rest.length);
        this.paddingLeft -= skipped;
        rest = rest.subarray(skipped);
      } else {
        const part = rest.subarray(0, blockBytes - this.header.length);
        rest = rest.subarray(part.length);
        this.header = Buffer.concat([this.header, part]);
        if (this.header.length === blockBytes) {
          await this.begin(this.header);
          this.header = Buffer.alloc(0);
        }
      }
    }
  }

  async end(): Promise<void> {
    if (this.fileBytesLeft > 0 || this.header.length > 0) throw new ArchiveError(`${this.path} is cut off`);
    await this.closeFile();
  }

  async closeFile(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }

  private async begin(header: Buffer): Promise<void> {
    // Two blocks of zeros end the archive.
    if (header.every((byte) => byte === 0)) return;
    const stored = parseInt(text(header, 148, 8).trim(), 8);
    const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
    const bytes = parseInt(text(header, 124, 12).trim(), 8);
    if (stored !== sum || !Number.isSafeInteger(bytes)) {
      throw new ArchiveError(`${this.path} is damaged: a header's checksum is wrong`);
    }
    const prefix = text(header, 257, 5) === 'ustar' ? text(header, 345, 155) : '';
    const name = (prefix === '' ? '' : `${prefix}/`) + text(header, 0, 100);
    const isFile = header[156] === 0x30 || header[156] === 0;
    this.fileBytesLeft = bytes;
    this.paddingLeft = (blockBytes - (bytes % blockBytes)) % blockBytes;
    const target = isFile ? this.targetOf(name) : undefined;
    if (target === undefined) return;
    await mkdir(dirname(target), { recursive: true });
    this.file = await open(target, 'w');
    this.unpacked.push(name);
    if (bytes === 0) await this.closeFile();
  }

  private async write(part: Buffer): Promise<void> {
    // Takes the whole piece, in several writes where it must.
    await this.file?.appendFile(part);
  }
}

function text(header: Buffer, at: number, length: number): string {
  const field = header.toString('utf8', at, at + length);
  const end = field.indexOf('\0');
  return end < 0 ? field : field.slice(0, end);
}
