// Keeps typed arrays for use again, so that a step allocates nothing large after the first.
// Refuses to know what is in them: what it hands out holds old numbers.

export class ArrayPool {
  readonly #float32 = new Map<number, Float32Array[]>();
  readonly #uint16 = new Map<number, Uint16Array[]>();
  readonly #keep: number;

  /** @param keep how many free arrays of one type and length to keep */
  constructor(keep: number) {
    this.#keep = keep;
  }

  float32(length: number): Float32Array {
    return this.#float32.get(length)?.pop() ?? new Float32Array(length);
  }

  uint16(length: number): Uint16Array {
    return this.#uint16.get(length)?.pop() ?? new Uint16Array(length);
  }

  give(array: Float32Array | Uint16Array): void {
    if (array instanceof Float32Array) put(this.#float32, array, this.#keep);
    else put(this.#uint16, array, this.#keep);
  }
}

function put<T extends { readonly length: number }>(shelf: Map<number, T[]>, array: T, keep: number): void {
  const free = shelf.get(array.length);
  if (free === undefined) shelf.set(array.length, [array]);
  else if (free.length < keep) free.push(array);
}
