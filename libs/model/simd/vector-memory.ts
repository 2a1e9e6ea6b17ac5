// Owns: memory for vectors that several threads work on in place, which ends at the 4 GiB that WebAssembly's addresses reach.
// Refuses to know: what is in it. It only ever hands out more: whoever has done with a vector keeps it for use again, and all of it
// goes together.
import { mostPages } from './assembler.js';
import { scratchBytes, workIn } from './tiles.js';

const pageBytes = 65_536;
/** Vectors begin at multiples of this: a line of the processor's cache. */
const lineBytes = 64;
/** Room for the scratch of some threads beside the vectors. */
const pagesForScratch = 64;

export class VectorMemory {
  /** For other threads, which see the same numbers through a `VectorMemory` of their own. */
  readonly memory: WebAssembly.Memory;
  /** Lines handed out, for all threads; the first one holds this number. */
  readonly #used: Int32Array;

  /** Works in memory that this thread or another made by `ofBytes`. */
  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    this.#used = new Int32Array(memory.buffer, 0, 1);
    const scratch = this.#take(scratchBytes);
    if (scratch === undefined) throw new RangeError('There is no room for another thread in this memory of vectors.');
    workIn(memory, scratch);
  }

  /** @param bytes how much is wanted at most; what is never used costs nothing */
  static ofBytes(bytes: number): VectorMemory {
    // One page short of 4 GiB at most: an address behind the last element must not wrap to 0.
    const pages = Math.min(mostPages - 1, Math.ceil(bytes / pageBytes) + pagesForScratch);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    new Int32Array(memory.buffer, 0, 1).fill(1);
    return new VectorMemory(memory);
  }

  /** Undefined when there is no room left. */
  float32(length: number): Float32Array | undefined {
    const at = this.#take(length * Float32Array.BYTES_PER_ELEMENT);
    return at === undefined ? undefined : new Float32Array(this.memory.buffer, at, length);
  }

  /** Undefined when there is no room left. */
  uint16(length: number): Uint16Array | undefined {
    const at = this.#take(length * Uint16Array.BYTES_PER_ELEMENT);
    return at === undefined ? undefined : new Uint16Array(this.memory.buffer, at, length);
  }

  /** A vector that another thread has in this memory, as this thread sees it. */
  seen({ byteOffset, length }: Float32Array): Float32Array {
    return new Float32Array(this.memory.buffer, byteOffset, length);
  }

  #take(bytes: number): number | undefined {
    const lines = Math.ceil(bytes / lineBytes);
    // Only what fits is ever stored: another thread must not take from behind what is given back.
    for (let first = Atomics.load(this.#used, 0); ;) {
      if ((first + lines) * lineBytes > this.memory.buffer.byteLength) return undefined;
      const found = Atomics.compareExchange(this.#used, 0, first, first + lines);
      if (found === first) return first * lineBytes;
      first = found;
    }
  }
}
