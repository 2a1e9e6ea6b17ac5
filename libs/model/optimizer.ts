// Owns: the update of parameters, momentum and running statistics, elementwise on ranges, from one state into another, never in place.
// Refuses to know: threads, slices, versions. Each operation is rounded to float32 once, so any other implementation can give the same bits.
import type { TrainingSpec } from './job-spec.js';
import type { ParameterLayout } from './parameters.js';
import { sumTree } from './reduction.js';
import { eachTile, tilesFor } from './simd/tiles.js';

/** Elements that share one weight decay: [from, to) of the flat parameters. */
export interface DecayRange {
  readonly from: number;
  readonly to: number;
  readonly weightDecay: number;
}

/** The buffers and the numbers of one update. Inputs and outputs must not overlap. */
export interface SgdUpdate {
  readonly parameters: Float32Array;
  readonly momentum: Float32Array;
  readonly gradient: Float32Array;
  readonly outParameters: Float32Array;
  readonly outMomentum: Float32Array;
  /** First element of the range. */
  readonly from: number;
  /** One past the last element of the range. */
  readonly to: number;
  readonly learningRate: number;
  readonly momentumFactor: number;
  readonly nesterov: boolean;
  /** What the gradient is multiplied by first: the clip factor, 1 without clipping. */
  readonly scale: number;
}

const round = Math.fround;

/**
 * SGD with momentum in torch's convention, over one range:
 *
 *     d = scale * gradient + weightDecay * parameter
 *     momentum' = momentumFactor * momentum + d
 *     parameter' = parameter - learningRate * (nesterov ? d + momentumFactor * momentum' : momentum')
 *
 * Every product and sum is rounded to float32 (no fused multiply-add), constants too; without weight decay that term is left out.
 *
 * @returns whether every output is finite; outputs are written in either case
 */
export function sgdRange(update: SgdUpdate & { readonly weightDecay: number }): boolean {
  const { parameters, momentum, gradient, outParameters, outMomentum, from, to, nesterov } = update;
  if (outParameters === parameters || outMomentum === momentum)
    throw new RangeError('an update never writes into its own inputs');
  const rate = round(update.learningRate);
  const factor = round(update.momentumFactor);
  const decay = round(update.weightDecay);
  const scale = round(update.scale);
  const tiles = tilesFor(parameters);
  const { sgd, sgdDecay, nesterov: nesterovSgd, nesterovDecay } = tiles.kernels;
  const plain = nesterov ? nesterovSgd : sgd;
  const decaying = nesterov ? nesterovDecay : sgdDecay;
  const kernel = decay === 0 ? plain : decaying;
  let broken = 0;
  eachTile(from, to, (first, last) => {
    broken |= kernel(
      tiles.bring(0, parameters, first, last),
      tiles.bring(1, momentum, first, last),
      tiles.bring(2, gradient, first, last),
      tiles.at(3, outParameters, first, last),
      tiles.at(4, outMomentum, first, last),
      last - first,
      rate,
      factor,
      decay,
      scale,
    );
    tiles.take(3, outParameters, first, last);
    tiles.take(4, outMomentum, first, last);
  });
  return broken === 0;
}

/** Applies `sgdRange` to the part of [from, to) that lies in each decay range; together they must cover it. */
export function sgdOverRanges(update: SgdUpdate, ranges: readonly DecayRange[]): boolean {
  let finite = true;
  for (const range of ranges) {
    const from = Math.max(range.from, update.from);
    const to = Math.min(range.to, update.to);
    if (from < to && !sgdRange({ ...update, from, to, weightDecay: range.weightDecay })) finite = false;
  }
  return finite;
}

/**
 * Which elements decay by how much, neighbours with the same decay joined. With `decayBatchNorm: false` the scales and shifts of
 * batch normalisation and the biases do not decay (Goyal et al. 2017, section 5.1).
 */
export function decayRanges(layout: ParameterLayout, optimizer: TrainingSpec['optimizer']): DecayRange[] {
  const ranges: DecayRange[] = [];
  for (const entry of layout.parameters) {
    const spared = !optimizer.decayBatchNorm && entry.role !== 'filter' && entry.role !== 'dense';
    const weightDecay = spared ? 0 : optimizer.weightDecay;
    const last = ranges.at(-1);
    if (last && last.weightDecay === weightDecay && last.to === entry.offset) {
      ranges[ranges.length - 1] = { from: last.from, to: entry.offset + entry.size, weightDecay };
    } else {
      ranges.push({ from: entry.offset, to: entry.offset + entry.size, weightDecay });
    }
  }
  return ranges;
}

/** How far running statistics move towards a step's batch statistics (torch's batch-norm momentum). */
export const STATISTICS_MOMENTUM = 0.1;

/**
 * Running statistics after a step: r' = r + momentum * (batch - r), each operation rounded to float32.
 *
 * @returns whether every output is finite
 */
export function updateStatisticsRange(update: {
  readonly statistics: Float32Array;
  /** The step's means and variances, already weighted over its shards. */
  readonly batch: Float32Array;
  readonly outStatistics: Float32Array;
  readonly from: number;
  readonly to: number;
  /** @default 0.1 */
  readonly momentum?: number;
}): boolean {
  const { statistics, batch, outStatistics, from, to } = update;
  if (outStatistics === statistics) throw new RangeError('an update never writes into its own inputs');
  const factor = round(update.momentum ?? STATISTICS_MOMENTUM);
  let check = 0;
  for (let index = from; index < to; index++) {
    const before = statistics[index]!;
    const after = round(before + round(factor * round(batch[index]! - before)));
    outStatistics[index] = after;
    check += after * 0;
  }
  return check === 0;
}

/** Elements per partial sum of a squared norm; a slice's blocks are of the same size, so each block's sum is one slice's own. */
export const NORM_BLOCK_ELEMENTS = 262_144;

/** Sum of squares over [from, to) in float64, by four running sums in a fixed order. The unit that `squaredNorm` adds by the tree. */
export function sumOfSquares(x: Float32Array, from: number, to: number): number {
  const tiles = tilesFor(x);
  const { sums } = tiles;
  sums.fill(0, 0, 4);
  const whole = to - ((to - from) % 4);
  eachTile(from, whole, (first, last) =>
    tiles.kernels.addSquares(tiles.bring(0, x, first, last), tiles.sumsAt, last - first),
  );
  let sum0 = sums[0]!;
  const [, sum1, sum2, sum3] = sums as unknown as readonly [number, number, number, number];
  for (let index = whole; index < to; index++) sum0 += x[index]! * x[index]!;
  return sum0 + sum1 + (sum2 + sum3);
}

/**
 * Squared norm of [from, to): `sumOfSquares` of each block of NORM_BLOCK_ELEMENTS from `from` on, then the reduction tree over
 * the blocks. Whoever owns single blocks gets the same bits from its own sums and `sumTree` over all of them in block order.
 */
export function squaredNorm(x: Float32Array, from = 0, to = x.length): number {
  const sums: number[] = [];
  for (let first = from; first < to; first += NORM_BLOCK_ELEMENTS) {
    sums.push(sumOfSquares(x, first, Math.min(first + NORM_BLOCK_ELEMENTS, to)));
  }
  return sumTree(sums);
}

/** What clipping multiplies the gradient by: clipNorm / norm where the norm is larger, else 1 (also without a `clipNorm`). */
export function clipFactor(squaredGradientNorm: number, clipNorm: number | null): number {
  if (clipNorm === null) return 1;
  const norm = Math.sqrt(squaredGradientNorm);
  return norm > clipNorm ? clipNorm / norm : 1;
}
