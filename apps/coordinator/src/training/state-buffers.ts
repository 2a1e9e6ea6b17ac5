// Where a job's versions lie: two buffers in turn, and a third while a checkpoint still reads one.
// Refuses to know what is in them.
import type { VectorMemory } from '#model/simd/vector-memory.js';
import type { StateArrays, StateBuffer } from './slices/messages.js';

const atMost = 3;

export class StateBuffers {
  readonly #counts: { readonly parameters: number; readonly statistics: number };
  readonly #memory: VectorMemory;
  readonly #onNew: (index: number, state: StateBuffer) => void;
  readonly #buffers: StateBuffer[] = [];
  readonly #readers = new Map<number, number>();
  #freed: (() => void) | undefined;

  /**
   * @param memory where they lie, as long as there is room
   * @param onNew told of every buffer, before it is used
   */
  constructor(
    counts: { readonly parameters: number; readonly statistics: number },
    memory: VectorMemory,
    onNew: (index: number, state: StateBuffer) => void,
  ) {
    this.#counts = counts;
    this.#memory = memory;
    this.#onNew = onNew;
  }

  get(index: number): StateArrays {
    const state = this.#buffers[index];
    if (state === undefined) throw new RangeError(`There is no state buffer ${index}.`);
    return state;
  }

  /** A buffer to write the next version to: not `current`, and read by nobody. Waits while there is none. */
  async spare(current: number | undefined): Promise<number> {
    for (;;) {
      const free = this.#buffers.findIndex((_, index) => index !== current && !this.#readers.has(index));
      if (free >= 0) return free;
      if (this.#buffers.length < atMost) return this.#allocate();
      await new Promise<void>((resolve) => (this.#freed = resolve));
    }
  }

  /** Keeps a buffer's numbers as they are until the returned function is called. */
  hold(index: number): () => void {
    this.#readers.set(index, (this.#readers.get(index) ?? 0) + 1);
    return () => {
      const left = this.#readers.get(index)! - 1;
      if (left > 0) this.#readers.set(index, left);
      else this.#readers.delete(index);
      this.#freed?.();
    };
  }

  #allocate(): number {
    const { parameters, statistics } = this.#counts;
    const momentumAt = aligned(parameters);
    const statisticsAt = momentumAt + aligned(parameters);
    const inMemory = this.#memory.float32(statisticsAt + statistics);
    const all = inMemory ?? new Float32Array(new SharedArrayBuffer(4 * (statisticsAt + statistics)));
    const state = {
      parameters: all.subarray(0, parameters),
      momentum: all.subarray(momentumAt, momentumAt + parameters),
      statistics: all.subarray(statisticsAt),
      inMemory: inMemory !== undefined,
    };
    const index = this.#buffers.push(state) - 1;
    this.#onNew(index, state);
    return index;
  }
}

/** Elements rounded up to whole lines of the processor's cache. */
function aligned(elements: number): number {
  return Math.ceil(elements / 16) * 16;
}
