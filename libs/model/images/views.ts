// Owns: which part of an image the network sees, mirrored or not, in which light: random for training, fixed for tests.
// Refuses to know: pixels and files. Randomness is keyed by (seed, epoch, sample id), so who prepares an image does not matter.
import type { DatasetSpec } from '../job-spec.js';
import { type RandomStream, randomStream } from '../random.js';

export type ImageAugmentation = Extract<DatasetSpec, { kind: 'imagefolder' }>['augmentation'];

/** Along one axis: the box [start, start + size) of the source is scaled to `scaledSize` pixels, of which some are wanted. */
export interface AxisView {
  readonly start: number;
  readonly size: number;
  readonly scaledSize: number;
  /** First wanted pixel of those that the box is scaled to. */
  readonly first: number;
}

export interface ImageView {
  readonly across: AxisView;
  readonly down: AxisView;
  readonly flip: boolean;
  /** Added to red, green and blue, of pixels scaled to [0, 1]. */
  readonly shift: readonly [number, number, number];
}

export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

const NO_SHIFT = [0, 0, 0] as const;

/** He et al. 2015, section 3.4: sides between which the shorter one is drawn, for networks that see 224 pixels. */
const PAPER_SIDES = [256, 480] as const;
const PAPER_SIZE = 224;

/** The shorter side that an image is resized to before its middle is cut out: 256 where the network sees 224 pixels. */
export function shorterSideFor(imageSize: number): number {
  return Math.round((imageSize * PAPER_SIDES[0]) / PAPER_SIZE);
}

/** The middle of the image, as for tests. An image whose shorter side is right already is not resized. */
export function centerView(source: ImageSize, imageSize: number): ImageView {
  const scaled = scaledTo(source, shorterSideFor(imageSize));
  return {
    across: whole(source.width, scaled.width, middle(scaled.width, imageSize)),
    down: whole(source.height, scaled.height, middle(scaled.height, imageSize)),
    flip: false,
    shift: NO_SHIFT,
  };
}

/** What training sees of one sample in one epoch. */
export function trainView(
  augmentation: ImageAugmentation,
  source: ImageSize,
  imageSize: number,
  key: { readonly seed: number; readonly epoch: number; readonly sampleId: number },
): ImageView {
  if (augmentation === 'none') return centerView(source, imageSize);
  const random = randomStream(key.seed, 'augment', key.epoch, key.sampleId);
  return augmentation === 'paper' ? paperView(source, imageSize, random) : randomCropView(source, imageSize, random);
}

/** He et al. 2015, section 3.4: shorter side random, a random crop, a mirror image half of the time, colours shifted. */
function paperView(source: ImageSize, imageSize: number, random: RandomStream): ImageView {
  const [least, most] = PAPER_SIDES.map((side) => Math.round((side * imageSize) / PAPER_SIZE)) as [number, number];
  const scaled = scaledTo(source, least + random.below(most - least + 1));
  return {
    across: whole(source.width, scaled.width, random.below(scaled.width - imageSize + 1)),
    down: whole(source.height, scaled.height, random.below(scaled.height - imageSize + 1)),
    flip: random.below(2) === 1,
    shift: colourShift(random),
  };
}

/** A part of random area and shape (Szegedy et al. 2015, section 6), scaled to a square, with the usual bounds and number of tries. */
function randomCropView(source: ImageSize, imageSize: number, random: RandomStream): ImageView {
  const crop = randomCrop(source, random);
  return {
    across: { start: crop.left, size: crop.width, scaledSize: imageSize, first: 0 },
    down: { start: crop.top, size: crop.height, scaledSize: imageSize, first: 0 },
    flip: random.below(2) === 1,
    shift: NO_SHIFT,
  };
}

const LEAST_AREA = 0.08;
const WIDEST = 4 / 3;
const LOG_WIDEST = 0.287_682_072_451_780_9;
const TRIES = 10;

interface Crop extends ImageSize {
  readonly left: number;
  readonly top: number;
}

function randomCrop({ width, height }: ImageSize, random: RandomStream): Crop {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const area = width * height * (LEAST_AREA + (1 - LEAST_AREA) * random.uniform());
    const ratio = exponential(LOG_WIDEST * (2 * random.uniform() - 1));
    const crop = { width: Math.round(Math.sqrt(area * ratio)), height: Math.round(Math.sqrt(area / ratio)) };
    if (crop.width < 1 || crop.width > width || crop.height < 1 || crop.height > height) continue;
    return { ...crop, top: random.below(height - crop.height + 1), left: random.below(width - crop.width + 1) };
  }
  // The largest part in the middle whose shape is allowed.
  const size = {
    width: Math.min(width, Math.max(1, Math.round(height * WIDEST))),
    height: Math.min(height, Math.max(1, Math.round(width * WIDEST))),
  };
  return { ...size, left: Math.trunc((width - size.width) / 2), top: Math.trunc((height - size.height) / 2) };
}

/** e^x for |x| below 1/2, by its series: the same bits on every engine, unlike Math.exp. */
function exponential(x: number): number {
  let sum = 1;
  for (let term = 14; term >= 1; term--) sum = 1 + (sum * x) / term;
  return sum;
}

/**
 * Krizhevsky et al. 2012, section 4.1: moves all pixels along the principal components of ImageNet's colours, each by its
 * share of the variance times a normal number of deviation 0.1.
 */
const COMPONENTS = [
  { share: 0.2175, direction: [-0.5675, -0.5808, -0.5836] },
  { share: 0.0188, direction: [0.7192, -0.0045, -0.6948] },
  { share: 0.0045, direction: [0.4009, -0.814, 0.4203] },
] as const;
const SHIFT_DEVIATION = 0.1;

function colourShift(random: RandomStream): [number, number, number] {
  const shift: [number, number, number] = [0, 0, 0];
  for (const { share, direction } of COMPONENTS) {
    const distance = SHIFT_DEVIATION * random.normal() * share;
    for (let channel = 0; channel < shift.length; channel++) shift[channel]! += distance * direction[channel]!;
  }
  return shift;
}

/** Size with the shorter side as wanted; the longer one is cut to whole pixels, as torchvision does. */
export function scaledTo({ width, height }: ImageSize, shorterSide: number): ImageSize {
  return width <= height
    ? { width: shorterSide, height: Math.trunc((shorterSide * height) / width) }
    : { width: Math.trunc((shorterSide * width) / height), height: shorterSide };
}

function whole(size: number, scaledSize: number, first: number): AxisView {
  return { start: 0, size, scaledSize, first };
}

/** Where a centered window begins; halves go to the even pixel, as in torchvision. */
export function middle(size: number, window: number): number {
  const half = (size - window) / 2;
  const floor = Math.floor(half);
  return half === floor || floor % 2 === 0 ? floor : floor + 1;
}
