// Owns: random crops and mirror images of small pictures, and turning bytes into normalised numbers.
// Refuses to know: files and epochs' orders. Randomness is keyed by (seed, epoch, sample id), so who prepares an image does not matter.
import { randomStream } from './random.js';

/** Pixels added on each side before the crop (He et al. 2015, section 4.2). */
export const CROP_PADDING = 4;

/** Where the crop starts in the padded image, and whether it is mirrored. */
export interface CropAndFlip {
  /** 0 … 2 * CROP_PADDING; CROP_PADDING is the middle. */
  readonly top: number;
  readonly left: number;
  readonly flip: boolean;
}

export const UNCHANGED: CropAndFlip = { top: CROP_PADDING, left: CROP_PADDING, flip: false };

/** The ten views of Krizhevsky et al. 2012, section 4.1: corners and middle of the padded image, then their mirror images. */
export const TEN_CROPS: readonly CropAndFlip[] = [false, true].flatMap((flip) =>
  [
    [0, 0],
    [0, 2 * CROP_PADDING],
    [2 * CROP_PADDING, 0],
    [2 * CROP_PADDING, 2 * CROP_PADDING],
    [CROP_PADDING, CROP_PADDING],
  ].map(([top, left]) => ({ top: top!, left: left!, flip })),
);

/** The crop and flip that one sample gets in one epoch. */
export function cropAndFlipOf(seed: number, epoch: number, sampleId: number): CropAndFlip {
  const random = randomStream(seed, 'augment', epoch, sampleId);
  const places = 2 * CROP_PADDING + 1;
  return { top: random.below(places), left: random.below(places), flip: random.below(2) === 1 };
}

/**
 * What each byte of each channel becomes: (byte / 255 + shift - mean) / std, as 256 entries per channel one after the other.
 *
 * @param shift of the colours, per channel; @default none
 */
export function normalisationTable(
  mean: readonly number[],
  std: readonly number[],
  shift: readonly number[] = mean.map(() => 0),
): Float32Array {
  const table = new Float32Array(256 * mean.length);
  for (let channel = 0; channel < mean.length; channel++) {
    for (let byte = 0; byte < 256; byte++) {
      table[256 * channel + byte] = (byte / 255 + shift[channel]! - mean[channel]!) / std[channel]!;
    }
  }
  return table;
}

/**
 * Crops, mirrors and normalises one square image. Padding is black (byte 0 before normalisation), as in torchvision.
 *
 * @param source bytes, channel after channel, each row by row
 * @param at where the image starts in source
 * @param size height and width in pixels
 * @param table from `normalisationTable`; tells the number of channels
 * @param out gets size * size * channels numbers, pixel by pixel (HWC)
 * @param outAt where they start in out
 */
export function writeImage(
  source: Uint8Array,
  at: number,
  size: number,
  crop: CropAndFlip,
  table: Float32Array,
  out: Float32Array,
  outAt: number,
): void {
  const channels = table.length / 256;
  const down = crop.top - CROP_PADDING;
  const right = crop.left - CROP_PADDING;
  const firstColumn = Math.max(0, -right);
  const endColumn = Math.min(size, size - right);
  for (let channel = 0; channel < channels; channel++) {
    const plane = at + channel * size * size;
    const tableAt = 256 * channel;
    const black = table[tableAt]!;
    for (let row = 0; row < size; row++) {
      const sourceRow = row + down;
      const target = outAt + row * size * channels + channel;
      const inside = sourceRow >= 0 && sourceRow < size;
      const first = inside ? firstColumn : size;
      const end = inside ? endColumn : size;
      // A mirrored row is written from its right end.
      const start = crop.flip ? target + (size - 1) * channels : target;
      const stride = crop.flip ? -channels : channels;
      const from = plane + sourceRow * size + right;
      for (let column = 0; column < first; column++) out[start + column * stride] = black;
      for (let column = first; column < end; column++)
        out[start + column * stride] = table[tableAt + source[from + column]!]!;
      for (let column = end; column < size; column++) out[start + column * stride] = black;
    }
  }
}
