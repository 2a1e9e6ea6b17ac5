// Owns: the way from one encoded image to the numbers that the network sees: header, view, decoding, resizing, normalising.
// Refuses to know: where the bytes come from, threads, and who waits.
import { normalisationTable } from '../augment.js';
import type { EvaluationViews } from '../evaluation-views.js';
import { type DecodedRegion, decodeRegion, type ImageHeader, readHeader, type Region, shrinkFor } from './decode.js';
import { normaliseInto } from './normalise.js';
import { type AxisWeights, axisWeights, resample, sourceRange } from './resample.js';
import {
  type AxisView,
  centerView,
  type ImageAugmentation,
  type ImageView,
  type ImageSize,
  scaledTo,
  trainView,
} from './views.js';

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
  /** Of a test image: several views in place of its middle. */
  readonly views?: EvaluationViews;
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
  // What tests see is the same to the byte as elsewhere; what is drawn at random need not be.
  const drawn = training !== undefined && training.augmentation !== 'none';
  const window = await decodeWindow(bytes, header, view, wanted, drawn ? shrinkFor(header, scaleOf(view)) : 1);
  // From here on nothing waits: all images of a thread are resized in the same memory.
  const pixels = resizeWindow(window);
  normaliseInto(pixels, imageSize, view.flip, normalisationTable(mean, std, view.shift), out);
}

/**
 * Windows of an image that is upright and resized so that its shorter side is as wanted; no more of it is decoded than they
 * need, and nothing but they is resized, however long the image is.
 *
 * @param windowsOf chooses them, knowing the size of the resized image
 * @returns the pixels of each: RGB, pixel by pixel
 * @throws ImageError
 */
export async function decodeTestWindows(
  bytes: Uint8Array,
  shorterSide: number,
  windowsOf: (size: ImageSize) => readonly Region[],
): Promise<Uint8Array[]> {
  const header = await readHeader(bytes);
  const scaled = scaledTo(header, shorterSide);
  const weights = windowsOf(scaled).map(({ left, top, width, height }) => ({
    columns: weightsOf({ start: 0, size: header.width, scaledSize: scaled.width, first: left }, width),
    rows: weightsOf({ start: 0, size: header.height, scaledSize: scaled.height, first: top }, height),
  }));
  const x = hull(weights.map(({ columns }) => sourceRange(columns)));
  const y = hull(weights.map(({ rows }) => sourceRange(rows)));
  const decoded = await decodeRegion(bytes, header, regionOf(x, y));
  return weights.map((each) => resizeWindow({ ...decoded, ...each }).slice());
}

interface Range {
  readonly first: number;
  readonly end: number;
}

function hull(ranges: readonly Range[]): Range {
  return { first: Math.min(...ranges.map(({ first }) => first)), end: Math.max(...ranges.map(({ end }) => end)) };
}

function regionOf(x: Range, y: Range): Region {
  return { left: x.first, top: y.first, width: x.end - x.first, height: y.end - y.first };
}

/** The decoded part of an image, and how the wanted pixels are made of it. */
interface Window extends DecodedRegion {
  readonly columns: AxisWeights;
  readonly rows: AxisWeights;
}

/** Decodes no more than the wanted pixels need, from the image made `shrink` times smaller. */
async function decodeWindow(
  bytes: Uint8Array,
  header: ImageHeader,
  { across, down }: Pick<ImageView, 'across' | 'down'>,
  wanted: { readonly width: number; readonly height: number },
  shrink: number,
): Promise<Window> {
  const columns = weightsOf(shrunk(across, shrink), wanted.width);
  const rows = weightsOf(shrunk(down, shrink), wanted.height);
  const region = regionOf(sourceRange(columns), sourceRange(rows));
  return { ...(await decodeRegion(bytes, header, region, shrink)), columns, rows };
}

/** How many pixels of the image become one, along the axis where that is fewer. */
function scaleOf({ across, down }: Pick<ImageView, 'across' | 'down'>): number {
  return Math.min(across.size / across.scaledSize, down.size / down.scaledSize);
}

/** The same box of an image that is so many times smaller; exact, as it is a power of two. */
function shrunk(axis: AxisView, shrink: number): AxisView {
  return { ...axis, start: axis.start / shrink, size: axis.size / shrink };
}

let resized = new Uint8Array(0);

/** The wanted pixels, valid until the next call. */
function resizeWindow({ pixels: source, region, columns, rows }: Window): Uint8Array {
  const length = 3 * columns.starts.length * rows.starts.length;
  if (resized.length < length) resized = new Uint8Array(length);
  const pixels = resized.subarray(0, length);
  resample(source, region, columns, rows, pixels);
  return pixels;
}

function weightsOf({ start, size, scaledSize, first }: AxisView, count: number): AxisWeights {
  return axisWeights({ boxStart: start, boxSize: size, scaledSize, first, count });
}
