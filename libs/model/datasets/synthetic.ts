// Owns: images made on the fly: a smooth pattern per class under noise, so that a network can learn them and speed can be measured.
// Refuses to know: files. Every pixel is a pure function of (dataset seed, part, sample id).
import { createHash } from 'node:crypto';
import { CROP_PADDING, type CropAndFlip, TEN_CROPS } from '../augment.js';
import type { EvaluationViews, ViewGroup } from '../evaluation-views.js';
import type { DatasetSpec } from '../job-spec.js';
import { randomStream } from '../random.js';
import type { Dataset } from './dataset.js';
import { checkFixedSize, checkRequest, highestOf } from './dataset-error.js';

type SyntheticSpec = Extract<DatasetSpec, { kind: 'synthetic' }>;

const CHANNELS = 3;
/** Cells per side of a class's pattern; pixels between are interpolated. */
const PATTERN_CELLS = 4;
const NOISE = 0.6;
/** Changes whenever other pixels would come out, so that old checkpoints and caches do not pass for new ones. */
const RECIPE = 1;

export async function openSynthetic(spec: SyntheticSpec): Promise<Dataset> {
  return new SyntheticDataset(spec);
}

class SyntheticDataset implements Dataset {
  readonly kind = 'synthetic';
  readonly trainCount: number;
  readonly testCount: number;
  readonly classes: number;
  readonly imageShape: readonly [number, number, number];
  readonly indexHash: string;
  readonly contentsHash = null;
  private readonly spec: SyntheticSpec;
  private readonly imageElements: number;

  constructor(spec: SyntheticSpec) {
    this.spec = spec;
    this.trainCount = spec.size;
    this.testCount = spec.testSize;
    this.classes = spec.classes;
    this.imageShape = [spec.imageSize, spec.imageSize, CHANNELS];
    this.imageElements = spec.imageSize * spec.imageSize * CHANNELS;
    const { size, testSize, classes, imageSize, seed } = spec;
    const identity = JSON.stringify({ kind: 'synthetic', recipe: RECIPE, size, testSize, classes, imageSize, seed });
    this.indexHash = createHash('sha256').update(identity).digest('hex');
  }

  async prepareTrain(
    ids: Uint32Array,
    _seed: number,
    _epoch: number,
    _augmentation: string,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<void> {
    checkRequest(
      'training',
      this.trainCount,
      { length: ids.length, highest: highestOf(ids) },
      out,
      labels,
      this.imageElements,
    );
    for (let index = 0; index < ids.length; index++) labels[index] = this.write('train', ids[index]!, out, index);
  }

  async prepareTest(first: number, count: number, out: Float32Array, labels: Int32Array): Promise<void> {
    checkRequest(
      'test',
      this.testCount,
      { length: count, highest: first + count - 1 },
      out,
      labels,
      this.imageElements,
    );
    for (let index = 0; index < count; index++) labels[index] = this.write('test', first + index, out, index);
  }

  async prepareTestViews(
    views: EvaluationViews,
    first: number,
    count: number,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<ViewGroup[][]> {
    checkFixedSize(views);
    const whole = new Float32Array(this.imageElements);
    const size = this.spec.imageSize;
    for (let index = 0; index < count; index++) {
      labels[index] = this.write('test', first + index, whole, 0);
      for (const [view, crop] of TEN_CROPS.entries()) {
        const at = (index * TEN_CROPS.length + view) * this.imageElements;
        writeShifted(whole, size, crop, out.subarray(at, at + this.imageElements));
      }
    }
    return Array.from({ length: count }, () => [{ height: size, width: size, count: TEN_CROPS.length }]);
  }

  async close(): Promise<void> {}

  /** Writes one image and returns its class; classes take turns. */
  private write(part: 'train' | 'test', id: number, out: Float32Array, index: number): number {
    const label = id % this.classes;
    const size = this.spec.imageSize;
    const pattern = this.patternOf(label);
    const random = randomStream(this.spec.seed, part, id);
    let at = index * this.imageElements;
    for (let row = 0; row < size; row++) {
      const y = (row * (PATTERN_CELLS - 1)) / (size - 1);
      const top = Math.min(Math.floor(y), PATTERN_CELLS - 2);
      const down = y - top;
      for (let column = 0; column < size; column++) {
        const x = (column * (PATTERN_CELLS - 1)) / (size - 1);
        const left = Math.min(Math.floor(x), PATTERN_CELLS - 2);
        const right = x - left;
        // One random word gives a pixel's three noises of 10 bits each.
        let word = random.uint32();
        for (let channel = 0; channel < CHANNELS; channel++) {
          const corner = (top * PATTERN_CELLS + left) * CHANNELS + channel;
          const below = corner + PATTERN_CELLS * CHANNELS;
          const upper = pattern[corner]! * (1 - right) + pattern[corner + CHANNELS]! * right;
          const lower = pattern[below]! * (1 - right) + pattern[below + CHANNELS]! * right;
          const noise = ((word & 1023) - 511.5) * (Math.sqrt(12) / 1024);
          word >>>= 10;
          out[at++] = upper * (1 - down) + lower * down + NOISE * noise;
        }
      }
    }
    return label;
  }

  private readonly patterns = new Map<number, Float64Array>();

  private patternOf(label: number): Float64Array {
    let pattern = this.patterns.get(label);
    if (!pattern) {
      const random = randomStream(this.spec.seed, 'pattern', label);
      pattern = Float64Array.from({ length: PATTERN_CELLS * PATTERN_CELLS * CHANNELS }, () => random.normal());
      this.patterns.set(label, pattern);
    }
    return pattern;
  }
}

/** A crop of an image padded with zeros, mirrored or not. */
function writeShifted(image: Float32Array, size: number, { top, left, flip }: CropAndFlip, out: Float32Array): void {
  out.fill(0);
  const [down, right] = [top - CROP_PADDING, left - CROP_PADDING];
  for (let row = Math.max(0, -down); row < Math.min(size, size - down); row++) {
    for (let column = Math.max(0, -right); column < Math.min(size, size - right); column++) {
      const from = ((row + down) * size + column + right) * CHANNELS;
      const to = (row * size + (flip ? size - 1 - column : column)) * CHANNELS;
      out.set(image.subarray(from, from + CHANNELS), to);
    }
  }
}
