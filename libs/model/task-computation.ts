// Owns: one task: its shards' gradients and batch statistics added along the tree, rounded once at the root.
// Refuses to know: queues, wires, versions, and where images come from and sums go to.

import { addInto, roundToBfloat16 } from './float-arrays.js';
import { laggedSink } from './layers/lagged-sink.js';
import type { GradientSink } from './layers/sink.js';
import type { Network } from './network.js';
import type { ParameterLayout, TensorEntry } from './parameters.js';
import { readInto } from './tensorflow/bfloat16.js';
import type { Tensor } from './tensorflow/tensor.js';

export interface ShardInput {
  /** [n, h, w, 3], normalised; may be backed by a SharedArrayBuffer. */
  readonly images: Float32Array;
  readonly labels: Int32Array;
}

export interface ContributionTarget {
  /** Over the layout's parameters: float32, or the bits of bfloat16 (then rounded to nearest even). */
  readonly gradient: Float32Array | Uint16Array;
  /** Over the layout's statistics: means and unbiased variances, weighted by samples / miniBatchSamples. */
  readonly statistics: Float32Array;
  /** Elements [firstFinalElement, parameterCount) of `gradient` are final; falls to 0 while backward runs. */
  onProgress(firstFinalElement: number): void;
  /** How many gradients later each is read: above 0 on a GPU only (layers/lagged-sink.ts). @default 0 */
  readonly readLag?: number;
}

export interface TaskResult {
  readonly samples: number;
  /** In nats, over the task's samples. */
  readonly lossSum: number;
  readonly top1Hits: number;
  readonly top5Hits: number;
}

/**
 * Computes a task's contribution into `target`. Each shard's gradient is that of (sum of its losses) / miniBatchSamples,
 * so contributions only ever add. The last shard's layers join the sums of the others as backward yields them: the
 * target becomes final from its end on while the pass still runs.
 * @throws RangeError when lengths do not fit the layout or the task has no shards
 */
export function computeTask(
  network: Network,
  shards: readonly ShardInput[],
  miniBatchSamples: number,
  target: ContributionTarget,
): TaskResult {
  const { layout } = network;
  if (shards.length === 0) throw new RangeError('a task has at least one shard');
  if (target.gradient.length !== layout.parameterCount || target.statistics.length !== layout.statisticCount) {
    throw new RangeError("the target's lengths are not those of the net's layout");
  }
  const sums = partialSumsOf(network);
  sums.clear();
  const total = { samples: 0, lossSum: 0, top1Hits: 0, top5Hits: 0 };
  for (const [index, { images, labels }] of shards.entries()) {
    const weight = labels.length / miniBatchSamples;
    const sink = index < shards.length - 1 ? sums.leafSink(weight) : rootSink(sums, target, weight);
    const lagged = laggedSink(sink, target.readLag ?? 0);
    const result = network.trainShard(images, labels, 1 / miniBatchSamples, lagged);
    lagged.flush();
    total.samples += labels.length;
    total.lossSum += result.lossSum;
    total.top1Hits += result.top1Hits;
    total.top5Hits += result.top5Hits;
  }
  return total;
}

/** One float32 vector over both regions. */
interface Sum {
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
  /** Shards in it, a power of two. */
  shards: number;
}

/**
 * The sums that wait for their sibling, as in a binary counter: sizes fall from the bottom of the stack to its top. A
 * leaf joins the sums of its own size from the top down; the last leaf joins all of them, which is the tree's shape for
 * any number of leaves.
 */
class PartialSums {
  readonly #stack: Sum[] = [];
  readonly #spare: Sum[] = [];
  #scratch = new Float32Array(0);

  constructor(private readonly layout: ParameterLayout) {}

  /** Forgets what a failed task may have left. */
  clear(): void {
    this.#spare.push(...this.#stack.splice(0));
  }

  get depth(): number {
    return this.#stack.length;
  }

  /** The waiting sum that is `level` below the top. */
  at(level: number): Sum {
    return this.#stack[this.#stack.length - 1 - level] as Sum;
  }

  /** Takes in a leaf that is not the task's last. */
  leafSink(weight: number): GradientSink {
    let merges = 0;
    for (let size = 1; merges < this.depth && this.at(merges).shards === size; size *= 2) merges += 1;
    if (merges === 0) {
      const leaf = this.#spare.pop() ?? this.#allocate();
      leaf.shards = 1;
      this.#stack.push(leaf);
      return {
        onGradient: (entry, gradient) => readInto(gradient, rangeOf(leaf.gradient, entry)),
        onStatistics: (entry, values) => leaf.statistics.set(weighted(values, weight), entry.offset),
      };
    }
    const chain = Array.from({ length: merges }, (_, level) => this.at(level));
    const target = chain[merges - 1] as Sum;
    this.#spare.push(...this.#stack.splice(-merges, merges, target).slice(1));
    target.shards *= 2;
    return {
      onGradient: (entry, gradient) => addAlong(chain, 'gradient', entry, this.read(gradient)),
      onStatistics: (entry, values) => addAlong(chain, 'statistics', entry, weighted(values, weight)),
    };
  }

  /** A gradient's numbers in memory that the next call overwrites. */
  read(gradient: Tensor): Float32Array {
    if (this.#scratch.length < gradient.size) this.#scratch = new Float32Array(gradient.size);
    const values = this.#scratch.subarray(0, gradient.size);
    readInto(gradient, values);
    return values;
  }

  #allocate(): Sum {
    const { parameterCount, statisticCount } = this.layout;
    return { gradient: new Float32Array(parameterCount), statistics: new Float32Array(statisticCount), shards: 0 };
  }
}

/** Adds `values` to the chain's first sum, that to the second, and so on; returns the last, which holds it all. */
function addAlong(
  chain: readonly Sum[],
  region: 'gradient' | 'statistics',
  entry: TensorEntry,
  values: Float32Array,
): Float32Array {
  let addend = values;
  for (const sum of chain) {
    const range = rangeOf(sum[region], entry);
    addInto(range, addend);
    addend = range;
  }
  return addend;
}

/** Takes in the task's last leaf: joins everything that waits and writes the root. */
function rootSink(sums: PartialSums, target: ContributionTarget, weight: number): GradientSink {
  const chain = Array.from({ length: sums.depth }, (_, level) => sums.at(level));
  let firstFinal = target.gradient.length;
  return {
    onGradient(entry, gradient) {
      if (entry.offset + entry.size !== firstFinal) {
        throw new Error(`${entry.name} was reported out of the layout's reverse order`);
      }
      writeRoot(rangeOf(target.gradient, entry), sums, chain, entry, gradient);
      firstFinal = entry.offset;
      target.onProgress(firstFinal);
    },
    onStatistics(entry, values) {
      target.statistics.set(addAlong(chain, 'statistics', entry, weighted(values, weight)), entry.offset);
    },
  };
}

/** @param range the entry's part of the target */
function writeRoot(
  range: Float32Array | Uint16Array,
  sums: PartialSums,
  chain: readonly Sum[],
  entry: TensorEntry,
  gradient: Tensor,
): void {
  if (chain.length === 0) {
    readInto(gradient, range);
    return;
  }
  const root = addAlong(chain, 'gradient', entry, sums.read(gradient));
  if (range instanceof Float32Array) range.set(root);
  else roundToBfloat16(root, range);
}

/** An entry's part of a region. */
function rangeOf<Region extends Float32Array | Uint16Array>(region: Region, { offset, size }: TensorEntry): Region {
  return region.subarray(offset, offset + size) as Region;
}

function weighted(values: Float32Array, weight: number): Float32Array {
  return values.map((value) => value * weight);
}

// Sums are as long as the net's gradient; they are kept with the net rather than made anew for each task.
const partialSums = new WeakMap<Network, PartialSums>();

function partialSumsOf(network: Network): PartialSums {
  let sums = partialSums.get(network);
  if (sums === undefined) {
    sums = new PartialSums(network.layout);
    partialSums.set(network, sums);
  }
  return sums;
}
