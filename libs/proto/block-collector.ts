// Keeps account of the blocks of one stream: each expected block once, whole, with the right checksum.
// Refuses to know where the bytes go; the caller copies a block only after it was found good.
import { blockByteLength, type BlockRange, type PullRegion, type Region } from './blocks.js';
import { crc32c } from './crc32c.js';
import type { Block } from './generated/lockstep/v1/reducer.js';

export type BlockFault = 'unknown' | 'double' | 'size' | 'checksum';

export type BlockVerdict<Of extends PullRegion = Region> =
  | { readonly ok: true; readonly range: BlockRange<Of> }
  | { readonly ok: false; readonly fault: BlockFault; readonly detail: string };

/** Checks the blocks of one stream as they arrive, in any order. */
export class BlockCollector<Of extends PullRegion = Region> {
  readonly #expected: ReadonlyMap<number, BlockRange<Of>>;
  readonly #checksums = new Map<number, number>();
  readonly #gradientBytes: 2 | 4;

  /** `expected`: the blocks that this stream must bring; `gradientBytes`: width of an element of a parameter block. */
  constructor(expected: readonly BlockRange<Of>[], gradientBytes: 2 | 4) {
    this.#expected = new Map(expected.map((range) => [range.index, range]));
    this.#gradientBytes = gradientBytes;
  }

  /** The parameters among the expected blocks whose bytes lie in a segment at `place`; undefined for any other block. */
  inSegment({ index, inSegment }: Block): { readonly range: BlockRange<Of>; readonly place: number } | undefined {
    const range = inSegment ? this.#expected.get(index) : undefined;
    return range?.region === 'parameters' ? { range, place: range.first * this.#gradientBytes } : undefined;
  }

  /** Judges a block and, when it is good, counts it as arrived. `detail` is a sentence for people. */
  accept(block: Pick<Block, 'index' | 'data' | 'checksum'>): BlockVerdict<Of> {
    const range = this.#expected.get(block.index);
    if (range === undefined) return refused('unknown', `Block ${block.index} does not belong to this stream.`);
    if (this.#checksums.has(block.index)) return refused('double', `Block ${block.index} came twice.`);
    const bytes = blockByteLength(range, this.#gradientBytes);
    if (block.data.byteLength !== bytes) {
      return refused('size', `Block ${block.index} has ${block.data.byteLength} bytes instead of ${bytes}.`);
    }
    if (crc32c(block.data) !== block.checksum) {
      return refused('checksum', `The checksum of block ${block.index} is wrong.`);
    }
    this.#checksums.set(block.index, block.checksum);
    return { ok: true, range };
  }

  /** How many expected blocks have not arrived. */
  get missing(): number {
    return this.#expected.size - this.#checksums.size;
  }

  /** Checksums of the blocks that arrived, by index. */
  get checksums(): ReadonlyMap<number, number> {
    return this.#checksums;
  }
}

function refused(fault: BlockFault, detail: string): BlockVerdict<never> {
  return { ok: false, fault, detail };
}
