// Owns: the way from one encoded image to the numbers that the network sees: header, view, decoding, resizing, normalising.
// Refuses to know: where the bytes come from, threads, and who waits.
import { normalisationTable } from '../augment.js';
import { decodeRegion, type ImageHeader, readHeader, type Region } from './decode.js';
import { normaliseInto } from './normalise.js';
import { type AxisWeights, axisWeights, resample, ResampleScratch, sourceRange } from './resample.js';
import { type AxisView, centerView, type ImageAugmentation, type ImageView, scaledTo, trainView } from './views.js';

/** What is to be made of an image; plain data, so that it can go to another thread. */
export interface ImageRecipe {
  /** Height and width of what the network sees. */
  readonly imageSize: number;
  /** Per channel, of pixels scaled to [0, 1]. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Absent for a test image. */
  readonly training?: {
    readonly augmentation: ImageAugmentation;
    readonly seed: number;
    readonly epoch: number;
    readonly sampleId: number;
  };
}

/**
 * @param out gets [imageSize, imageSize, 3] numbers
 * @throws ImageError
 */
export async function prepareImage(bytes: Uint8Array, recipe: ImageRecipe, out: Float32Array): Promise<void> {
  const { imageSize, training, mean, std } = recipe;
  const header = await readHeader(bytes);
  const view =
    training === undefined
      ? centerView(header, imageSize)
      : trainView(training.augmentation, header, imageSize, training);
  const wanted = { width: imageSize, height: imageSize };
  const window = await decodeWindow(bytes, header, view, wanted);
  // From here on nothing waits: all images of a thread are resized in the same memory.
  const pixels = resizeWindow(window);
  normaliseInto(pixels, imageSize, view.flip, normalisationTable(mean, std, view.shift), out);
}

export interface DecodedImage {
  readonly width: number;
  readonly height: number;
  /** RGB, pixel by pixel. */
  readonly pixels: Uint8Array;
}

/** A whole image, upright, resized so that its shorter side is as wanted; as it is where that is so already. */
export async function decodeTestImage(bytes: Uint8Array, shorterSide: number): Promise<DecodedImage> {
  const header = await readHeader(bytes);
  const size = scaledTo(header, shorterSide);
  const across = { start: 0, size: header.width, scaledSize: size.width, first: 0 };
  const down = { start: 0, size: header.height, scaledSize: size.height, first: 0 };
  const window = await decodeWindow(bytes, header, { across, down }, size);
  return { ...size, pixels: resizeWindow(window).slice() };
}

/** The decoded part of an image, and how the wanted pixels are made of it. */
interface Window {
  readonly source: Uint8Array;
  readonly region: Region;
  readonly columns: AxisWeights;
  readonly rows: AxisWeights;
}

/** Decodes no more than the wanted pixels need. */
async function decodeWindow(
  bytes: Uint8Array,
  header: ImageHeader,
  { across, down }: Pick<ImageView, 'across' | 'down'>,
  wanted: { readonly width: number; readonly height: number },
): Promise<Window> {
  const columns = weightsOf(across, wanted.width);
  const rows = weightsOf(down, wanted.height);
  const [x, y] = [sourceRange(columns), sourceRange(rows)];
  const region = { left: x.first, top: y.first, width: x.end - x.first, height: y.end - y.first };
  return { source: await decodeRegion(bytes, header, region), region, columns, rows };
}

const scratch = new ResampleScratch();
let resized = new Uint8Array(0);

/** The wanted pixels, valid until the next call. */
function resizeWindow({ source, region, columns, rows }: Window): Uint8Array {
  const length = 3 * columns.starts.length * rows.starts.length;
  if (resized.length < length) resized = new Uint8Array(length);
  const pixels = resized.subarray(0, length);
  resample(source, region, columns, rows, pixels, scratch);
  return pixels;
}

function weightsOf({ start, size, scaledSize, first }: AxisView, count: number): AxisWeights {
  return axisWeights({ boxStart: start, boxSize: size, scaledSize, first, count });
}
