// Owns: several views of one test image: ten crops, or all of it, at each size that an evaluation asks for.
// Refuses to know: which images there are, and what is computed on the views.
import { normalisationTable } from '../augment.js';
import { type EvaluationViews, LONGEST_SIDE, type ViewGroup } from '../evaluation-views.js';
import { normaliseInto } from './normalise.js';
import { readHeader, type Region } from './decode.js';
import { decodeTestWindows, type ImageRecipe } from './prepare-image.js';
import { type ImageSize, middle, scaledTo, shorterSideFor } from './views.js';

const CHANNELS = 3;

/**
 * The views that `writeTestViews` writes, of the header alone.
 *
 * @throws ImageError
 */
export async function viewGroupsOf(
  bytes: Uint8Array,
  { crops, scales }: EvaluationViews,
  imageSize: number,
): Promise<ViewGroup[]> {
  const header = await readHeader(bytes);
  return sidesOf(scales, imageSize).map((side) => {
    if (crops === 10) return { height: imageSize, width: imageSize, count: crops };
    const { height, width } = longestMiddle(scaledTo(header, side), side);
    return { height, width, count: crops };
  });
}

function sidesOf(scales: readonly number[], imageSize: number): readonly number[] {
  return scales.length > 0 ? scales : [shorterSideFor(imageSize)];
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
  const groups: ViewGroup[] = [];
  let at = 0;
  for (const side of sidesOf(views.scales, imageSize)) {
    let size = { width: imageSize, height: imageSize };
    const windows = await decodeTestWindows(bytes, side, (scaled) => {
      if (views.crops === 10) return cornersAndMiddle(scaled, imageSize);
      const window = longestMiddle(scaled, side);
      size = window;
      return [window];
    });
    const { height, width } = size;
    for (const flip of views.crops === 10 ? [false, true] : [false]) {
      for (const pixels of windows) {
        const end = at + height * width * CHANNELS;
        normaliseInto(pixels, width, flip, table, out.subarray(at, end));
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
  const [pixels] = await decodeTestWindows(bytes, shorterSide, ({ width, height }) => [
    { left: middle(width, imageSize), top: middle(height, imageSize), width: imageSize, height: imageSize },
  ]);
  normaliseInto(pixels!, imageSize, false, normalisationTable(mean, std), out);
}

function cornersAndMiddle({ width, height }: ImageSize, size: number): Region[] {
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
function longestMiddle({ width, height }: ImageSize, side: number): Region {
  const longest = LONGEST_SIDE * side;
  const size = { width: Math.min(width, longest), height: Math.min(height, longest) };
  return { ...size, left: middle(width, size.width), top: middle(height, size.height) };
}
