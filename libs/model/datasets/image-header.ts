// Owns: what the first and last bytes of an image file tell: its format, size and oddities, and whether its end is missing.
// Refuses to know: pixels (a file that passes may still be damaged in its middle) and where the bytes come from.

export type ImageFormat = 'JPEG' | 'PNG' | 'WebP';

/** What is unusual about an image that can be decoded all the same. */
export const imageTraits = ['cmyk', 'grey', '16-bit', 'rotated', 'misnamed'] as const;
export type ImageTrait = (typeof imageTraits)[number];

export interface ImageFacts {
  readonly format: ImageFormat;
  /** Pixels, before a rotation that EXIF asks for. */
  readonly width: number;
  readonly height: number;
  readonly traits: readonly ImageTrait[];
}

/** The image cannot be used; the message goes on from the file's name: 'is empty'. */
export class BrokenImageError extends Error {
  override readonly name = 'BrokenImageError';
}

/** Reads bytes [offset, offset + length); fewer only at the end of the file. */
export type ReadBytes = (offset: number, length: number) => Promise<Uint8Array>;

const firstBytes = 8192;
/** Cameras and editors leave padding after the end of an image; this much is looked through. */
const tailBytes = 4096;
/** What sharp decodes at most. */
const mostPixels = 0x3fff ** 2;
const formatsByExtension: Readonly<Record<string, ImageFormat>> = {
  jpg: 'JPEG',
  jpeg: 'JPEG',
  png: 'PNG',
  webp: 'WebP',
};

/** The format that a file's name promises; undefined for what is no image by its name. */
export function formatByName(name: string): ImageFormat | undefined {
  const dot = name.lastIndexOf('.');
  return dot <= 0 ? undefined : formatsByExtension[name.slice(dot + 1).toLowerCase()];
}

/**
 * Looks at an image's header and end, some kilobytes in all.
 *
 * @param size bytes of the file
 * @throws BrokenImageError where it cannot be decoded, with what `read` throws otherwise
 */
export async function inspectImage(name: string, size: number, read: ReadBytes): Promise<ImageFacts> {
  if (size === 0) throw new BrokenImageError('is empty');
  const bytes = new ByteWindow(size, read);
  const start = await bytes.at(0, 16);
  const format = sniff(start);
  if (format === undefined) throw new BrokenImageError(`is no JPEG, PNG or WebP image${foreignFormat(start)}`);
  const facts = await parsers[format](bytes);
  if (facts.width === 0 || facts.height === 0) throw new BrokenImageError('has no pixels');
  if (facts.width * facts.height > mostPixels) {
    throw new BrokenImageError(`has ${facts.width} x ${facts.height} pixels, more than can be decoded`);
  }
  const traits = formatByName(name) === format ? facts.traits : [...facts.traits, 'misnamed' as const];
  return { ...facts, format, traits };
}

type Found = Omit<ImageFacts, 'format'>;

const parsers: Readonly<Record<ImageFormat, (bytes: ByteWindow) => Promise<Found>>> = {
  JPEG: parseJpeg,
  PNG: parsePng,
  WebP: parseWebp,
};

/** Markers from the start to the frame header (ITU-T T.81, annex B), then the end-of-image marker from the end. */
async function parseJpeg(bytes: ByteWindow): Promise<Found> {
  const traits: ImageTrait[] = [];
  let at = 2;
  for (;;) {
    const head = await bytes.at(at, 4);
    if (head.length < 4) throw cutOff('before its header ends');
    if (head[0] !== 0xff) throw new BrokenImageError('has a damaged header');
    const marker = head[1]!;
    if (marker === 0xff) {
      at += 1; // a fill byte
      continue;
    }
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2; // markers that stand alone
      continue;
    }
    if (marker === 0xd9 || marker === 0xda) throw new BrokenImageError('has no frame header');
    const length = (head[2]! << 8) | head[3]!;
    if (length < 2) throw new BrokenImageError('has a damaged header');
    if (isFrameHeader(marker)) {
      const frame = await bytes.at(at + 4, 6);
      if (frame.length < 6) throw cutOff('before its header ends');
      const [bits, high1, high0, wide1, wide0, components] = frame as unknown as [
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      if (components === 1) traits.push('grey');
      if (components === 4) traits.push('cmyk');
      if (bits > 8) traits.push('16-bit');
      const found = { width: (wide1 << 8) | wide0, height: (high1 << 8) | high0, traits };
      if (!(await endsWith(bytes, [0xff, 0xd9]))) throw cutOff('without an end-of-image marker');
      return found;
    }
    if (marker === 0xe1 && isRotated(exifBody(await bytes.at(at + 4, Math.min(length - 2, firstBytes)))))
      traits.push('rotated');
    at += 2 + length;
  }
}

/** SOF0 to SOF15 without the tables and the reserved one between them. */
function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

async function parsePng(bytes: ByteWindow): Promise<Found> {
  const header = await bytes.at(8, 18);
  if (header.length < 18) throw cutOff('before its header ends');
  if (ascii(header, 4, 4) !== 'IHDR') throw new BrokenImageError('has a damaged header');
  const traits: ImageTrait[] = [];
  const view = viewOf(header);
  const colour = header[17]!;
  if (colour === 0 || colour === 4) traits.push('grey');
  if (header[16] === 16) traits.push('16-bit');
  for (let at = 33; ;) {
    const chunk = await bytes.at(at, 8);
    if (chunk.length < 8) throw cutOff('before its pixels begin');
    const length = viewOf(chunk).getUint32(0);
    const type = ascii(chunk, 4, 4);
    if (type === 'IDAT') break;
    if (type === 'eXIf' && isRotated(await bytes.at(at + 8, Math.min(length, firstBytes)))) traits.push('rotated');
    at += 12 + length;
  }
  if (!(await endsWith(bytes, [0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82])))
    throw cutOff('without its last chunk');
  return { width: view.getUint32(8), height: view.getUint32(12), traits };
}

async function parseWebp(bytes: ByteWindow): Promise<Found> {
  const header = await bytes.at(0, 30);
  if (header.length < 30) throw cutOff('before its header ends');
  const view = viewOf(header);
  if (view.getUint32(4, true) + 8 > bytes.size) throw cutOff('before all that its header promises');
  const uint24 = (at: number): number => header[at]! | (header[at + 1]! << 8) | (header[at + 2]! << 16);
  switch (ascii(header, 12, 4)) {
    case 'VP8 ':
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff, traits: [] };
    case 'VP8L': {
      const packed = view.getUint32(21, true);
      return { width: (packed & 0x3fff) + 1, height: ((packed >>> 14) & 0x3fff) + 1, traits: [] };
    }
    case 'VP8X':
      return { width: uint24(24) + 1, height: uint24(27) + 1, traits: [] };
    default:
      throw new BrokenImageError('has a damaged header');
  }
}

function sniff(start: Uint8Array): ImageFormat | undefined {
  if (start[0] === 0xff && start[1] === 0xd8) return 'JPEG';
  if (start[0] === 0x89 && ascii(start, 1, 7) === 'PNG\r\n\x1a\n') return 'PNG';
  return ascii(start, 0, 4) === 'RIFF' && ascii(start, 8, 4) === 'WEBP' ? 'WebP' : undefined;
}

function foreignFormat(start: Uint8Array): string {
  const text = ascii(start, 0, 4);
  if (text === 'GIF8') return ' but a GIF';
  if (text.startsWith('BM')) return ' but a BMP';
  if (text === 'II*\0' || text === 'MM\0*') return ' but a TIFF';
  return /^\s*<[!?a-zA-Z]/.test(ascii(start, 0, 16)) ? ' but a web page or XML' : '';
}

/** What follows the name of an EXIF segment; empty for another kind of segment. */
function exifBody(segment: Uint8Array): Uint8Array {
  return ascii(segment, 0, 4) === 'Exif' ? segment.subarray(6) : new Uint8Array(0);
}

/** Whether EXIF (a TIFF structure) asks for a rotation or a mirror image: tag 0x0112 other than 1. */
function isRotated(tiff: Uint8Array): boolean {
  if (tiff.length < 14) return false;
  const view = viewOf(tiff);
  const little = ascii(tiff, 0, 2) === 'II';
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return false;
  const entries = view.getUint16(directory, little);
  for (let entry = 0; entry < entries; entry++) {
    const at = directory + 2 + 12 * entry;
    if (at + 12 > tiff.length) return false;
    if (view.getUint16(at, little) !== 0x0112) continue;
    const orientation = view.getUint16(at + 8, little);
    return orientation >= 2 && orientation <= 8;
  }
  return false;
}

/** Whether the last kilobytes hold a sequence; it is looked for from the end. */
async function endsWith(bytes: ByteWindow, sequence: readonly number[]): Promise<boolean> {
  const wanted = Buffer.from(sequence);
  for (const length of [wanted.length, tailBytes]) {
    const from = Math.max(0, bytes.size - length);
    if (Buffer.from(await bytes.at(from, bytes.size - from)).lastIndexOf(wanted) >= 0) return true;
  }
  return false;
}

function cutOff(where: string): BrokenImageError {
  return new BrokenImageError(`is truncated: it ends ${where}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

/** Some bytes of a file at a time; the piece read last is kept. */
class ByteWindow {
  readonly size: number;
  readonly #read: ReadBytes;
  #from = 0;
  #piece: Uint8Array = new Uint8Array(0);

  constructor(size: number, read: ReadBytes) {
    this.size = size;
    this.#read = read;
  }

  /** Bytes [offset, offset + length); fewer at the end of the file. */
  async at(offset: number, length: number): Promise<Uint8Array> {
    const end = Math.min(offset + length, this.size);
    if (offset >= end) return new Uint8Array(0);
    if (offset < this.#from || end > this.#from + this.#piece.length) {
      this.#piece = await this.#read(offset, Math.min(Math.max(length, firstBytes), this.size - offset));
      this.#from = offset;
    }
    return this.#piece.subarray(offset - this.#from, end - this.#from);
  }
}
