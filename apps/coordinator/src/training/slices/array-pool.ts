// Keeps typed arrays for use again, so that a step allocates nothing large after the first.
// Refuses to know what is in them: what it hands out holds old numbers.
import type { VectorMemory } from '#model/simd/vector-memory.js';

export class ArrayPool {
  readonly #memory: VectorMemory;
  readonly #float32 = new Map<number, Float32Array[]>();
  readonly #uint16 = new Map<number, Uint16Array[]>();

  /** @param memory where arrays lie as long as there is room; kept for good, as it takes none back */
  constructor(memory: VectorMemory) {
    this.#memory = memory;
  }

  float32(length: number): Float32Array {
    return this.#float32.get(length)?.pop() ?? this.#memory.float32(length) ?? new Float32Array(length);
  }

  uint16(length: number): Uint16Array {
    return this.#uint16.get(length)?.pop() ?? this.#memory.uint16(length) ?? new Uint16Array(length);
  }

  give(array: Float32Array | Uint16Array): void {
    if (array instanceof Float32Array) put(this.#float32, array);
    else put(this.#uint16, array);
  }
}

function put<T extends { readonly length: number }>(shelf: Map<number, T[]>, array: T): void {
  const free = shelf.get(array.length);
  if (free === undefined) shelf.set(array.length, [array]);
  else free.push(array);
}
