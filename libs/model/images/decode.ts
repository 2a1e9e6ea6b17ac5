// Owns: turning encoded images (JPEG, PNG, …) into 8-bit RGB, upright, by sharp (libvips), or only the part that is wanted.
// Refuses to know: which part is wanted and why. Colour profiles are not applied, as Pillow and torchvision do not.
import sharp from 'sharp';

// Parallel by images, not within one; and nothing of one image is of use to another.
sharp.concurrency(1);
sharp.cache(false);

export interface ImageHeader {
  /** Upright, that is after the rotation that EXIF asks for. */
  readonly width: number;
  readonly height: number;
  readonly format: string;
  readonly turned: boolean;
}

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
  const { format, orientation = 1, autoOrient } = await explained(() => sharp(bytes, options).metadata());
  return { width: autoOrient.width, height: autoOrient.height, format, turned: orientation > 1 };
}

/**
 * By how much an image may be decoded smaller where `scale` of its pixels become one along each axis: 1, 4 or 8.
 * libjpeg's inverse transform gives a JPEG at 1/2 or 1/4 of its size in less time. sharp leaves the last halving to a filter of its own,
 * as libjpeg may round sides; it gives the same bytes with vector instructions and without. Sides that are no multiples, and turned
 * images, would be rounded and resized by other factors.
 */
export function shrinkFor({ format, width, height, turned }: ImageHeader, scale: number): number {
  if (format !== 'jpeg' || turned) return 1;
  return [8, 4].find((shrink) => scale >= shrink && width % shrink === 0 && height % shrink === 0) ?? 1;
}

/**
 * The region's pixels: RGB, 8 bits each, row by row. Anything else is converted: grey, CMYK, palettes, 16 bits; alpha is dropped.
 *
 * @param region of the image as it is when it is shrunk
 * @param shrink from `shrinkFor`
 * @throws ImageError
 */
export async function decodeRegion(
  bytes: Uint8Array,
  { width, height, turned }: ImageHeader,
  region: Region,
  shrink = 1,
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
