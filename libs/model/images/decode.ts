// Owns: turning encoded images (JPEG, PNG, …) into 8-bit RGB, upright, or only the part that is wanted: by sharp (libvips), plain JPEGs
// by another decoder where there is one that gives the same bytes in less time.
// Refuses to know: which part is wanted and why. Colour profiles are not applied, as Pillow and torchvision do not.
import sharp from 'sharp';

// Parallel by images, not within one; and nothing of one image is of use to another.
sharp.concurrency(1);
sharp.cache(false);

export interface ImageHeader {
  /** Upright, that is after the rotation that EXIF asks for. */
  readonly width: number;
  readonly height: number;
  readonly turned: boolean;
  /** A JPEG as nearly all are: 8 bits, in colour or grey, not turned. */
  readonly plainJpeg: boolean;
  /** A JPEG in scans. Where the last ones are missing, libjpegs smooth over that in different ways. */
  readonly progressive: boolean;
}

/** Part of an image. */
export interface Region {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A file that is no image, or a damaged one; the message goes on from 'it'. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/** What damage is an error: a file that ends too early or cannot be decoded, but not oddities that all decoders live with. */
const options = { failOn: 'error', ignoreIcc: true } as const;

export async function readHeader(bytes: Uint8Array): Promise<ImageHeader> {
  const metadata = await explained(() => sharp(bytes, options).metadata());
  const { format, orientation = 1, autoOrient, space, depth, isProgressive } = metadata;
  const turned = orientation > 1;
  const plainJpeg = format === 'jpeg' && !turned && depth === 'uchar' && (space === 'srgb' || space === 'b-w');
  return { width: autoOrient.width, height: autoOrient.height, turned, plainJpeg, progressive: isProgressive };
}

/** Rows of a plain JPEG that is `width` pixels wide, to the bit as sharp decodes them; undefined for a file that it refuses. */
export type JpegRowDecoder = (bytes: Uint8Array, width: number, top: number, rows: number) => Uint8Array | undefined;

let jpegRows: JpegRowDecoder | undefined;

/** From here on plain JPEGs of full size are decoded by `decoder` in this thread; what it refuses is left to sharp. */
export function decodeJpegsBy(decoder: JpegRowDecoder | undefined): void {
  jpegRows = decoder;
}

export interface DecodedRegion {
  /** RGB, 8 bits each, row by row. */
  readonly pixels: Uint8Array;
  /** Where they lie in the image. */
  readonly region: Region;
}

/**
 * By how much an image may be decoded smaller where `scale` of its pixels become one along each axis: 1, 4 or 8.
 * libjpeg's inverse transform gives a JPEG at 1/2 or 1/4 of its size in less time. sharp leaves the last halving to a filter of its own,
 * as libjpeg may round sides; it gives the same bytes with vector instructions and without. Sides that are no multiples, and turned
 * images, would be rounded and resized by other factors.
 */
export function shrinkFor(
  { plainJpeg, width, height }: Pick<ImageHeader, 'plainJpeg' | 'width' | 'height'>,
  scale: number,
): number {
  if (!plainJpeg) return 1;
  return [8, 4].find((shrink) => scale >= shrink && width % shrink === 0 && height % shrink === 0) ?? 1;
}

/**
 * The region's pixels and perhaps others around it. Anything is converted to RGB: grey, CMYK, palettes, 16 bits; alpha is dropped.
 *
 * @param region of the image as it is when it is shrunk
 * @param shrink from `shrinkFor`
 * @throws ImageError
 */
export async function decodeRegion(
  bytes: Uint8Array,
  header: ImageHeader,
  region: Region,
  shrink = 1,
): Promise<DecodedRegion> {
  const plain = header.plainJpeg && !header.progressive && shrink === 1;
  // What the decoder refuses sharp may put up with; otherwise it says what is wrong.
  const rows = plain ? jpegRows?.(bytes, header.width, region.top, region.height) : undefined;
  if (rows !== undefined) return { pixels: rows, region: { ...region, left: 0, width: header.width } };
  return { pixels: await decodeBySharp(bytes, header, region, shrink), region };
}

async function decodeBySharp(
  bytes: Uint8Array,
  { width, height, turned }: ImageHeader,
  region: Region,
  shrink: number,
): Promise<Uint8Array> {
  const size = { width: width / shrink, height: height / shrink };
  const { data, info } = await explained(() => {
    const image = sharp(bytes, { ...options, autoOrient: turned });
    if (shrink > 1) image.resize({ ...size, fit: 'fill', kernel: 'mitchell' });
    if (region.width !== size.width || region.height !== size.height) image.extract(region);
    return image.removeAlpha().toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  });
  if (info.channels !== 3 || info.width !== region.width || info.height !== region.height) {
    throw new ImageError(`decodes to ${info.width}x${info.height} pixels of ${info.channels} channels`);
  }
  return data;
}

async function explained<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const [reason] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    throw new ImageError(`cannot be decoded: ${reason ?? ''}`, { cause });
  }
}
