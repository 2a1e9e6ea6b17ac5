// How much of a version has arrived, told to the compute thread by a word of shared memory while the rest is on its way.
// Refuses to know streams and checksums: who calls has checked what arrived.
import type { BlockRange, PullRegion } from '#proto/blocks.js';

/** The word's value when the version will never be whole. */
const never = -1;
/** How long the compute thread sleeps before it looks whether its task is still wanted. Milliseconds. */
const lookMs = 50;

/** Parameters that the compute thread waits for will not come. */
export class ParametersLost extends Error {
  override readonly name = 'ParametersLost';
  constructor() {
    super('The rest of the parameters did not arrive.');
  }
}

/** Of one filling of a version's memory, over all attempts to pull it. */
export class Arrivals {
  /** 0 until all that is small is there; then 1 more than the parameters that are there without a gap. */
  readonly word = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  readonly #parameters: readonly BlockRange<PullRegion>[];
  #smallMissing: number;
  readonly #there = new Set<number>();
  #next = 0;

  constructor(table: readonly BlockRange<PullRegion>[]) {
    this.#parameters = table.filter(({ region }) => region === 'parameters');
    this.#smallMissing = table.length - this.#parameters.length;
    if (this.#smallMissing === 0) this.#tell(1);
  }

  /** Whether a block is in its place, and so may be computed with. */
  has({ index }: BlockRange<PullRegion>): boolean {
    return this.#there.has(index);
  }

  /** A block is in its place; again where it was pulled again. */
  note({ index, region }: BlockRange<PullRegion>): void {
    if (this.#there.has(index)) return;
    this.#there.add(index);
    if (region !== 'parameters') this.#smallMissing -= 1;
    for (let next = this.#parameters[this.#next]; next && this.#there.has(next.index);) {
      this.#next += 1;
      next = this.#parameters[this.#next];
    }
    if (this.#smallMissing > 0) return;
    const last = this.#parameters[this.#next - 1];
    this.#tell(1 + (last === undefined ? 0 : last.first + last.count));
  }

  /** Nothing more will come. */
  giveUp(): void {
    this.#tell(never);
  }

  #tell(value: number): void {
    if (Atomics.exchange(this.word, 0, value) !== value) Atomics.notify(this.word, 0);
  }
}

/** Whether elements [0, end) are there, and all that is small. */
export function isThere(word: Int32Array, end: number): boolean {
  return Atomics.load(word, 0) > end;
}

/** Whether it will never be whole. */
export function isLost(word: Int32Array): boolean {
  return Atomics.load(word, 0) === never;
}

/**
 * Returns when elements [0, end) are there, and all that is small.
 * @param stillWanted called now and then; what it throws ends the wait
 * @throws ParametersLost
 */
export function waitForElements(word: Int32Array, end: number, stillWanted: () => void): void {
  for (;;) {
    // Read before the checks: what changes behind them ends the sleep.
    const before = Atomics.load(word, 0);
    if (isThere(word, end)) return;
    if (isLost(word)) throw new ParametersLost();
    stillWanted();
    Atomics.wait(word, 0, before, lookMs);
  }
}
