// Owns: several views of one test image: ten crops, or all of it, at each size that an evaluation asks for.
// Refuses to know: which images there are, and what is computed on the views.
import { normalisationTable } from '../augment.js';
import { type EvaluationViews, LONGEST_SIDE, type ViewGroup } from '../evaluation-views.js';
import { normaliseInto } from './normalise.js';
import { type DecodedImage, decodeTestImage, type ImageRecipe } from './prepare-image.js';
import { middle, shorterSideFor } from './views.js';

const CHANNELS = 3;

interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Writes an encoded image's views, one after the other without holes.
 *
 * @param out has room for `viewElements(views, imageSize)` numbers
 * @throws ImageError
 */
export async function writeTestViews(
  bytes: Uint8Array,
  views: EvaluationViews,
  { imageSize, mean, std }: Pick<ImageRecipe, 'imageSize' | 'mean' | 'std'>,
  out: Float32Array,
): Promise<ViewGroup[]> {
  const table = normalisationTable(mean, std);
  const sides = views.scales.length > 0 ? views.scales : [shorterSideFor(imageSize)];
  const groups: ViewGroup[] = [];
  let at = 0;
  for (const side of sides) {
    const image = await decodeTestImage(bytes, side);
    const windows = views.crops === 10 ? cornersAndMiddle(image, imageSize) : [longestMiddle(image, side)];
    const { height, width } = windows[0]!;
    for (const flip of views.crops === 10 ? [false, true] : [false]) {
      for (const window of windows) {
        const end = at + height * width * CHANNELS;
        normaliseInto(cut(image, window), width, flip, table, out.subarray(at, end));
        at = end;
      }
    }
    groups.push({ height, width, count: views.crops });
  }
  return groups;
}

/**
 * Writes the middle of an image whose shorter side is made as long as wanted: what a net sees of an image by itself.
 *
 * @param out gets [imageSize, imageSize, 3] numbers
 * @throws ImageError
 */
export async function writeMiddle(
  bytes: Uint8Array,
  shorterSide: number,
  { imageSize, mean, std }: Pick<ImageRecipe, 'imageSize' | 'mean' | 'std'>,
  out: Float32Array,
): Promise<void> {
  const image = await decodeTestImage(bytes, shorterSide);
  const [left, top] = [middle(image.width, imageSize), middle(image.height, imageSize)];
  const pixels = cut(image, { left, top, width: imageSize, height: imageSize });
  normaliseInto(pixels, imageSize, false, normalisationTable(mean, std), out);
}

function cornersAndMiddle({ width, height }: DecodedImage, size: number): Window[] {
  const [right, bottom] = [width - size, height - size];
  return [
    [0, 0],
    [right, 0],
    [0, bottom],
    [right, bottom],
    [middle(width, size), middle(height, size)],
  ].map(([left, top]) => ({ left: left!, top: top!, width: size, height: size }));
}

/** All of the image, or the middle of one that is very long. */
function longestMiddle({ width, height }: DecodedImage, side: number): Window {
  const longest = LONGEST_SIDE * side;
  const size = { width: Math.min(width, longest), height: Math.min(height, longest) };
  return { ...size, left: middle(width, size.width), top: middle(height, size.height) };
}

function cut({ pixels, width }: DecodedImage, window: Window): Uint8Array {
  if (window.left === 0 && window.top === 0 && window.width * window.height * CHANNELS === pixels.length) return pixels;
  const rowBytes = window.width * CHANNELS;
  const part = new Uint8Array(window.height * rowBytes);
  for (let row = 0; row < window.height; row++) {
    const from = ((window.top + row) * width + window.left) * CHANNELS;
    part.set(pixels.subarray(from, from + rowBytes), row * rowBytes);
  }
  return part;
}
