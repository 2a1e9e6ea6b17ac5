// What a slice sends of a version: its blocks in float32 as they lie, or rounded to bfloat16, once per version however many pull.
// Refuses to know gRPC and which versions there are.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { roundToBfloat16 } from '#model/float-arrays.js';
import { elementsOf } from '#model/parameter-forms.js';
import {
  type BlockRange,
  blocksOfSlice,
  bytesOf,
  inPullOrder,
  noBytes,
  type PullRegion,
  pullTable,
  throughSegment,
} from '#proto/blocks.js';
import { crc32c } from '#proto/crc32c.js';
import type { Block } from '#proto/generated/lockstep/v1/reducer.js';
import { Segment } from '#proto/segment.js';
import type { ArrayPool } from './array-pool.js';
import type { SliceJob, StateArrays } from './messages.js';

/** What a worker asks for. */
export interface PullForm {
  /** Parameters as bits of bfloat16. */
  readonly rounded: boolean;
  /** It sees the shared folder. */
  readonly sharedMemory: boolean;
}

/** The parameters of one buffer in one form, in memory that workers on this host see; block by block, when first asked for. */
interface SharedForm {
  readonly segment: Segment;
  readonly there: Set<number>;
}

/** What was made of one buffer's numbers; block by block, when first asked for. */
interface Rounded {
  /** Of own blocks, without gaps. */
  readonly bits: Uint16Array;
  readonly exact: Float32Array;
  exactThere: boolean;
  /** CRC32C of the blocks that are there, by index. */
  readonly checksums: Map<number, number>;
}

export class PullForms {
  readonly #job: SliceJob;
  readonly #localOf: ReadonlyMap<number, number>;
  readonly #ownElements: number;
  readonly #pool: ArrayPool;
  /** In the order in which they are sent. */
  readonly #exactForm: readonly BlockRange<PullRegion>[];
  readonly #roundedForm: readonly BlockRange<PullRegion>[];
  readonly #rounded: (Rounded | undefined)[] = [];
  readonly #checksums: Map<number, number>[] = [];
  readonly #sharedFolder: string | undefined;
  /** By the segment's name. */
  readonly #shared = new Map<string, SharedForm>();
  readonly #slice: number;

  /** @param own `localOf`: where own blocks begin in vectors without gaps; `ownElements` of the parameters are own */
  constructor(
    job: SliceJob,
    slice: number,
    slices: number,
    own: {
      readonly localOf: ReadonlyMap<number, number>;
      readonly ownElements: number;
      readonly pool: ArrayPool;
      readonly sharedFolder?: string | undefined;
    },
  ) {
    this.#slice = slice;
    this.#sharedFolder = own.sharedFolder;
    this.#job = job;
    this.#localOf = own.localOf;
    this.#ownElements = own.ownElements;
    this.#pool = own.pool;
    const { parameterCount, statisticCount, exactRanges } = job;
    const formOf = (exact: number): BlockRange<PullRegion>[] =>
      inPullOrder(blocksOfSlice(pullTable(parameterCount, statisticCount, exact), slice, slices));
    this.#exactForm = formOf(0);
    this.#roundedForm = formOf(elementsOf(exactRanges ?? []));
  }

  /** Whether the job's workers may ask for rounded parameters. */
  get rounds(): boolean {
    return this.#job.exactRanges !== undefined;
  }

  /** How many blocks are sent. */
  count({ rounded }: Pick<PullForm, 'rounded'>): number {
    return (rounded ? this.#roundedForm : this.#exactForm).length;
  }

  /** The blocks in order; each is made when it is asked for. `segment`: where those of parameters lie, '' for nowhere. */
  blocks(buffer: number, state: StateArrays, form: PullForm): { segment: string; blocks: Iterable<Block> } {
    const shared = form.sharedMemory ? this.#sharedForm(buffer, form.rounded) : undefined;
    return { segment: shared?.segment.name ?? '', blocks: this.#blocks(buffer, state, form.rounded, shared) };
  }

  *#blocks(buffer: number, state: StateArrays, rounded: boolean, shared: SharedForm | undefined): Generator<Block> {
    for (const range of rounded ? this.#roundedForm : this.#exactForm) {
      const block = rounded ? this.#roundedBlock(buffer, state, range) : this.#exactBlock(buffer, state, range);
      if (shared === undefined || range.region !== 'parameters') yield block;
      else if (shared.there.has(range.index)) yield { ...block, data: noBytes, inSegment: true };
      else {
        const passed = throughSegment(block, range.first, rounded ? 2 : 4, shared.segment);
        if (passed.inSegment) shared.there.add(range.index);
        yield passed;
      }
    }
  }

  /** The job is over: nobody reads its versions any more. */
  close(): void {
    for (const { segment } of this.#shared.values()) {
      segment.close();
      if (this.#sharedFolder !== undefined) rmSync(join(this.#sharedFolder, segment.name), { force: true });
    }
    this.#shared.clear();
  }

  /** Undefined where there is no folder, or it takes no more. */
  #sharedForm(buffer: number, rounded: boolean): SharedForm | undefined {
    if (this.#sharedFolder === undefined) return undefined;
    const name = this.#segmentName(buffer, rounded);
    let form = this.#shared.get(name);
    if (form !== undefined && !existsSync(join(this.#sharedFolder, name))) {
      // Cleared away by others: nobody could open it.
      form.segment.close();
      this.#shared.delete(name);
      form = undefined;
    }
    if (form === undefined) {
      try {
        form = { segment: Segment.create(this.#sharedFolder, name), there: new Set() };
      } catch {
        return undefined;
      }
      this.#shared.set(name, form);
    }
    return form;
  }

  /** A buffer has other numbers now, all there. `checksums`: of own blocks, by index. */
  changed(buffer: number, checksums: Map<number, number>): void {
    this.#checksums[buffer] = checksums;
    for (const rounds of [false, true]) this.#shared.get(this.#segmentName(buffer, rounds))?.there.clear();
    const rounded = this.#rounded[buffer];
    if (rounded === undefined) return;
    rounded.checksums.clear();
    rounded.exactThere = false;
  }

  #segmentName(buffer: number, rounded: boolean): string {
    return `${this.#job.jobId}-${buffer}-${rounded ? 'bfloat16' : 'float32'}-${this.#slice}.version`;
  }

  #exactBlock(buffer: number, state: StateArrays, range: BlockRange<PullRegion>): Block {
    const data = bytesOf(range.region === 'statistics' ? state.statistics : state.parameters, range);
    const checksum = this.#checksums[buffer]?.get(range.index) ?? crc32c(data);
    return { index: range.index, data, checksum, inSegment: false };
  }

  #roundedBlock(buffer: number, state: StateArrays, range: BlockRange<PullRegion>): Block {
    if (range.region === 'statistics') return this.#exactBlock(buffer, state, range);
    const rounded = (this.#rounded[buffer] ??= this.#newRounded());
    const local = this.#localOf.get(range.index) ?? 0;
    const { checksums } = rounded;
    const own = rounded.bits.subarray(local, local + range.count);
    const data =
      range.region === 'exact'
        ? bytesOf(this.#exactOf(rounded, state), range)
        : bytesOf(own, { first: 0, count: range.count });
    let checksum = checksums.get(range.index);
    if (checksum === undefined) {
      if (range.region === 'parameters')
        roundToBfloat16(state.parameters.subarray(range.first, range.first + range.count), own);
      checksums.set(range.index, (checksum = crc32c(data)));
    }
    return { index: range.index, data, checksum, inSegment: false };
  }

  /** Gathered from all slices' blocks: a version that can be pulled is whole. */
  #exactOf(rounded: Rounded, { parameters }: StateArrays): Float32Array {
    if (rounded.exactThere) return rounded.exact;
    let at = 0;
    for (const { from, to } of this.#job.exactRanges ?? []) {
      rounded.exact.set(parameters.subarray(from, to), at);
      at += to - from;
    }
    rounded.exactThere = true;
    return rounded.exact;
  }

  #newRounded(): Rounded {
    return {
      bits: this.#pool.uint16(this.#ownElements),
      exact: this.#pool.float32(elementsOf(this.#job.exactRanges ?? [])),
      exactThere: false,
      checksums: new Map(),
    };
  }
}
