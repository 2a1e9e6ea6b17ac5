// One job on one slice: stages contributions, sums them, and computes the slice's blocks of the next version.
// Plain arithmetic on typed arrays; refuses to know gRPC, threads and which contribution wins.
import { allFinite, firstNotFinite } from '#model/float-arrays.js';
import { type Piece, pieceSums, piecesOf } from '#model/layer-norms.js';
import { sgdRange, sumOfSquares, updateStatisticsRange } from '#model/optimizer.js';
import type { VectorMemory } from '#model/simd/vector-memory.js';
import { type BlockRange, blocksOfSlice, blockTable, bytesOf, copyBlock } from '#proto/blocks.js';
import { crc32c } from '#proto/crc32c.js';
import { ArrayPool } from './array-pool.js';
import type { RangeUpdate, SliceJob, StateArrays, StateBuffer } from './messages.js';
import { PullForms } from './pull-forms.js';
import { type Staged, type Sum, SumTree } from './sum-tree.js';

/** A block and where its elements lie in the slice's own, gapless vectors. */
interface OwnBlock {
  readonly range: BlockRange;
  readonly local: number;
  /** Pieces of layers in it. */
  readonly pieces: readonly Piece[];
}

export class JobSlice {
  readonly job: SliceJob;
  /** Blocks that this slice owns, in index order. */
  readonly blocks: readonly BlockRange[];
  /** What is sent of a version. */
  readonly forms: PullForms;
  readonly #own: readonly OwnBlock[];
  readonly #localOf = new Map<number, number>();
  readonly #parameterCount: number;
  readonly #statisticCount: number;
  readonly #buffers: StateArrays[] = [];
  readonly #memory: VectorMemory;
  readonly #pool: ArrayPool;
  #tree: SumTree | undefined;

  /** @param sharedFolder where versions may lie for workers on this host */
  constructor(job: SliceJob, slice: number, slices: number, memory: VectorMemory, sharedFolder?: string) {
    this.job = job;
    this.#memory = memory;
    this.#pool = new ArrayPool(memory);
    this.blocks = blocksOfSlice(blockTable(job.parameterCount, job.statisticCount), slice, slices);
    const counts = { parameters: 0, statistics: 0 };
    const pieces = piecesOf(job.layers);
    this.#own = this.blocks.map((range) => {
      const local = counts[range.region];
      counts[range.region] += range.count;
      this.#localOf.set(range.index, local);
      return { range, local, pieces: pieces.filter(({ block }) => block === range.index) };
    });
    this.#parameterCount = counts.parameters;
    this.#statisticCount = counts.statistics;
    this.forms = new PullForms(job, slice, slices, {
      localOf: this.#localOf,
      ownElements: counts.parameters,
      pool: this.#pool,
      sharedFolder,
    });
  }

  get gradientBytes(): 2 | 4 {
    return this.job.wire === 'bfloat16' ? 2 : 4;
  }

  addBuffer(index: number, { parameters, momentum, statistics, inMemory }: StateBuffer): void {
    const own = (array: Float32Array): Float32Array => (inMemory ? this.#memory.seen(array) : array);
    this.#buffers[index] = { parameters: own(parameters), momentum: own(momentum), statistics: own(statistics) };
  }

  buffer(index: number): StateArrays {
    const state = this.#buffers[index];
    if (state === undefined) throw new RangeError(`Job ${this.job.jobId} has no state buffer ${index}.`);
    return state;
  }

  /** A block of a version's parameters or statistics as bytes, in place. */
  blockBytes(buffer: number, range: BlockRange): Uint8Array {
    return bytesOf(this.buffer(buffer)[range.region], range);
  }

  /** CRC32C of each own block of a version that is new in its buffer. */
  checksums(buffer: number): Float64Array {
    const checksums = Float64Array.from(this.blocks, (range) => crc32c(this.blockBytes(buffer, range)));
    this.#changed(buffer, checksums);
    return checksums;
  }

  #changed(buffer: number, checksums: Float64Array): void {
    this.forms.changed(buffer, new Map(this.blocks.map(({ index }, own) => [index, checksums[own]!])));
  }

  /** Room for one contribution; give it back by `release` or hand it over by `add`. */
  stage(): Staged {
    const gradient =
      this.job.wire === 'bfloat16' ? this.#pool.uint16(this.#parameterCount) : this.#pool.float32(this.#parameterCount);
    return { gradient, statistics: this.#pool.float32(this.#statisticCount) };
  }

  release(staged: Staged): void {
    this.#pool.give(staged.gradient);
    this.#pool.give(staged.statistics);
  }

  /** Where a block's bytes belong in a staged contribution: a view. */
  place(staged: Staged, range: BlockRange): Uint8Array {
    return bytesOf(arrayOf(staged, range), { first: this.#localOf.get(range.index)!, count: range.count });
  }

  /** Copies a block's bytes into a staged contribution. */
  receive(staged: Staged, range: BlockRange, data: Uint8Array): void {
    copyBlock(data, arrayOf(staged, range), { first: this.#localOf.get(range.index)!, count: range.count });
  }

  /** The name of the first tensor that is not finite in a block that has come. */
  notFinite(staged: Staged, range: BlockRange): string | undefined {
    const first = this.#localOf.get(range.index)!;
    const at = firstNotFinite(arrayOf(staged, range), first, first + range.count);
    if (at < 0) return undefined;
    return range.region === 'statistics' ? 'The batch statistics' : this.#tensorAt(range.first + at - first);
  }

  openStep(tasks: number): void {
    this.closeStep();
    this.#tree = new SumTree(tasks, this.#pool);
  }

  /** The job is over. */
  close(): void {
    this.forms.close();
  }

  closeStep(): void {
    this.#tree?.clear();
    this.#tree = undefined;
  }

  /** Takes over an accepted contribution's buffers. */
  add(task: number, staged: Staged): void {
    if (this.#tree === undefined) throw new Error(`Job ${this.job.jobId} has no open step.`);
    this.#tree.add(task, staged);
  }

  /** Squared gradient norm of each own parameter block (0 for statistics), in float64, and whether the sum is finite. */
  summarise(): { values: Float64Array; finite: boolean } {
    const { gradient, statistics } = this.#sum();
    const values = Float64Array.from(this.#own, ({ range, local }) =>
      range.region === 'parameters' ? sumOfSquares(gradient, local, local + range.count) : 0,
    );
    return { values, finite: values.every(Number.isFinite) && allFinite(statistics) };
  }

  /**
   * Computes the own blocks of the next version from one buffer into another.
   * @returns the CRC32C of each own block of the new version, whether all that was written is finite, and what the
   * metrics of layers are made of
   */
  apply(update: RangeUpdate): { values: Float64Array; finite: boolean; layerSums: Float64Array } {
    const from = this.buffer(update.fromBuffer);
    const to = this.buffer(update.toBuffer);
    const { gradient, statistics } = this.#sum();
    const checksums = new Float64Array(this.#own.length);
    const layerSums: number[] = [];
    let finite = true;
    // All that is to be done with a block at once, while it lies in the processor's cache.
    for (const [index, { range, local, pieces }] of this.#own.entries()) {
      const end = range.first + range.count;
      if (range.region === 'statistics') {
        finite =
          updateStatisticsRange({
            statistics: from.statistics.subarray(range.first, end),
            batch: statistics.subarray(local, local + range.count),
            outStatistics: to.statistics.subarray(range.first, end),
            from: 0,
            to: range.count,
          }) && finite;
      } else {
        const ownGradient = gradient.subarray(local, local + range.count);
        finite = this.#updateParameters(range, ownGradient, from, to, update) && finite;
        const vectors = { gradient, before: from.parameters, after: to.parameters };
        for (const piece of pieces) layerSums.push(...pieceSums(piece, vectors, local + piece.from - range.first));
      }
      checksums[index] = crc32c(this.blockBytes(update.toBuffer, range));
    }
    this.#changed(update.toBuffer, checksums);
    return { values: checksums, finite, layerSums: Float64Array.from(layerSums) };
  }

  #updateParameters(
    range: BlockRange,
    gradient: Float32Array,
    from: StateArrays,
    to: StateArrays,
    update: RangeUpdate,
  ): boolean {
    const end = range.first + range.count;
    const views = {
      parameters: from.parameters.subarray(range.first, end),
      momentum: from.momentum.subarray(range.first, end),
      gradient,
      outParameters: to.parameters.subarray(range.first, end),
      outMomentum: to.momentum.subarray(range.first, end),
      learningRate: update.learningRate,
      momentumFactor: this.job.momentum,
      nesterov: this.job.nesterov,
      scale: update.gradientScale,
    };
    let finite = true;
    for (const { from: first, to: last, weightDecay } of this.job.decayRanges) {
      if (last <= range.first || first >= end) continue;
      const part = { from: Math.max(first, range.first) - range.first, to: Math.min(last, end) - range.first };
      finite = sgdRange({ ...views, ...part, weightDecay }) && finite;
    }
    return finite;
  }

  #tensorAt(element: number): string {
    const tensor = this.job.tensors.find(({ offset, size }) => element >= offset && element < offset + size);
    return tensor?.name ?? `element ${element}`;
  }

  #sum(): Sum {
    const sum = this.#tree?.sum;
    if (sum === undefined) throw new Error(`The step of job ${this.job.jobId} is not complete.`);
    return sum;
  }
}

function arrayOf(staged: Staged, { region }: BlockRange): Staged['gradient' | 'statistics'] {
  return region === 'parameters' ? staged.gradient : staged.statistics;
}
