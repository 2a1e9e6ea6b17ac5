// Adds the tasks' roots of one slice along the canonical tree, in whatever order they are accepted.
// Owns the buffers that it was given; refuses to know where they come from.
import { addBfloat16Into, addInto, TreeAccumulator, widenBfloat16 } from '#model/reduction.js';
import type { ArrayPool } from './array-pool.js';

/** One contribution's elements of a slice; the gradient is float32 or bfloat16 bits. */
export interface Staged {
  readonly gradient: Float32Array | Uint16Array;
  readonly statistics: Float32Array;
}

/** The sum of all tasks. */
export interface Sum {
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
}

export class SumTree {
  readonly #pool: ArrayPool;
  readonly #tree: TreeAccumulator<Staged>;
  #sum: Sum | undefined;

  /** @param tasks number of leaves, at least 1 */
  constructor(tasks: number, pool: ArrayPool) {
    this.#pool = pool;
    this.#tree = new TreeAccumulator<Staged>(tasks, (left, right) => this.#merge(left, right));
  }

  /** Takes over the buffers of a task's contribution. */
  add(task: number, staged: Staged): void {
    if (!this.#tree.add(task, staged)) return;
    const { gradient, statistics } = this.#tree.root!;
    this.#sum = { gradient: gradient instanceof Uint16Array ? this.#widen(gradient) : gradient, statistics };
  }

  /** The sum, once all tasks are in. */
  get sum(): Sum | undefined {
    return this.#sum;
  }

  /** Gives all buffers back; the tree is of no use after this. */
  clear(): void {
    const held = this.#sum === undefined ? this.#tree.heldValues() : [this.#sum];
    for (const staged of held) this.#release(staged);
    this.#sum = undefined;
  }

  // IEEE addition commutes: which of the two is the accumulator does not show in the bits.
  #merge(left: Staged, right: Staged): Staged {
    const [into, from] = left.gradient instanceof Float32Array ? [left, right] : [right, left];
    const gradient = into.gradient instanceof Uint16Array ? this.#widen(into.gradient) : into.gradient;
    if (from.gradient instanceof Uint16Array) addBfloat16Into(gradient, from.gradient);
    else addInto(gradient, from.gradient);
    addInto(into.statistics, from.statistics);
    this.#release(from);
    return { gradient, statistics: into.statistics };
  }

  #widen(bits: Uint16Array): Float32Array {
    const wide = this.#pool.float32(bits.length);
    widenBfloat16(bits, wide);
    this.#pool.give(bits);
    return wide;
  }

  #release(staged: Staged): void {
    this.#pool.give(staged.gradient);
    this.#pool.give(staged.statistics);
  }
}
