// Owns: which views of a test image an evaluation averages over: its middle, ten crops, or all of it at several sizes.
// Refuses to know: how pixels get there (datasets, images/) and what is computed on them (view-scores.ts).
import type { ModelSpec } from './job-spec.js';

export interface EvaluationViews {
  /** 1: the middle; 10: four corners and the middle, and their mirror images (Krizhevsky et al. 2012, section 4.1). */
  readonly crops: 1 | 10;
  /**
   * Shorter sides that images are resized to; none: the usual one. With one crop the net then sees the whole image, fully
   * convolutionally (He et al. 2015, section 4.1).
   */
  readonly scales: readonly number[];
}

/** Views of one sample that have one size and lie one after the other in memory: [count, height, width, channels]. */
export interface ViewGroup {
  readonly height: number;
  readonly width: number;
  readonly count: number;
}

/** The longest side of a view in shorter sides: of an image that is longer, its middle is seen. */
export const LONGEST_SIDE = 2;

const CHANNELS = 3;
/** Numbers that the views of a shard may take up: 64 MiB. */
const SHARD_ELEMENTS = 2 ** 24;

export function isSingleView({ crops, scales }: EvaluationViews): boolean {
  return crops === 1 && scales.length === 0;
}

/** Most numbers that the views of one sample take up. */
export function viewElements({ crops, scales }: EvaluationViews, imageSize: number): number {
  if (crops === 10) return crops * Math.max(1, scales.length) * imageSize * imageSize * CHANNELS;
  if (scales.length === 0) return imageSize * imageSize * CHANNELS;
  return scales.reduce((sum, side) => sum + LONGEST_SIDE * side * side * CHANNELS, 0);
}

/** Numbers that views take up, as they lie without holes. */
export function elementsOf(views: readonly (readonly ViewGroup[])[]): number {
  const each = views.flat().map(({ height, width, count }) => count * height * width * CHANNELS);
  return each.reduce((sum, elements) => sum + elements, 0);
}

/** Samples of an evaluation's shards: the training's, or fewer where many views of each would take up too much memory. */
export function evaluationShardSize(
  { imageSize }: Pick<ModelSpec, 'imageSize'>,
  views: EvaluationViews,
  shardSize: number,
): number {
  if (isSingleView(views)) return shardSize;
  return Math.max(1, Math.min(shardSize, Math.floor(SHARD_ELEMENTS / viewElements(views, imageSize))));
}
