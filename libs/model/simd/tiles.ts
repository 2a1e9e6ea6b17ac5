// Owns: bringing vectors to the kernels, piece by piece. What lies in a memory of vectors is worked on where it is; anything else is
// copied into the processor's cache, worked on and copied out. Refuses to know: arithmetic, and what vectors mean.
import { compileKernels, type Kernels, roundElements } from './kernels.js';

/** Elements worked on at once: two vectors fit a core's first cache, all of an update its second. */
export const tileElements = 4_096;
/** Vectors of the largest kernel. */
const slots = 5;
const sumsBytes = 128;
/** A float32 tile, moved by up to 7 bytes and padded to whole rounds. */
const slotBytes = tileElements * Float32Array.BYTES_PER_ELEMENT + 64;
/** What tiles and sums take up in a memory, bytes. */
export const scratchBytes = slots * slotBytes + sumsBytes;

export type Vector = Float32Array | Uint16Array;

export class Tiles {
  readonly kernels: Kernels;
  /** Address of float64 sums that kernels add to, and the sums. */
  readonly sumsAt: number;
  readonly sums: Float64Array;
  readonly #buffer: ArrayBuffer | SharedArrayBuffer;
  readonly #scratchAt: number;
  readonly #floats: Float32Array;
  readonly #words: Uint16Array;

  /** @param scratchAt address of `scratchBytes` bytes that nobody else uses, a multiple of 64 */
  constructor(memory: WebAssembly.Memory, scratchAt: number) {
    this.#buffer = memory.buffer;
    this.#scratchAt = scratchAt;
    this.#floats = new Float32Array(memory.buffer);
    this.#words = new Uint16Array(memory.buffer);
    this.sumsAt = scratchAt + slots * slotBytes;
    this.sums = new Float64Array(memory.buffer, this.sumsAt, sumsBytes / Float64Array.BYTES_PER_ELEMENT);
    this.kernels = compileKernels(memory);
  }

  /** Where the elements from `from` on are worked on: where they lie, or in a slot. */
  at(slot: number, vector: Vector, from: number, to: number): number {
    const { byteOffset, BYTES_PER_ELEMENT } = vector;
    const address = byteOffset + from * BYTES_PER_ELEMENT;
    // Copies between shared memory and another are quick only at like addresses.
    return this.#inPlace(vector, to - from) ? address : this.#scratchAt + slot * slotBytes + (address % 8);
  }

  /** The same, and where it is a slot the elements are copied into it, with zeros behind them up to a whole round. */
  bring(slot: number, vector: Vector, from: number, to: number): number {
    const address = this.at(slot, vector, from, to);
    const count = to - from;
    if (this.#inPlace(vector, count)) return address;
    const memory = this.#like(vector);
    const first = address / vector.BYTES_PER_ELEMENT;
    memory.set(vector.subarray(from, to), first);
    const odd = count % roundElements;
    if (odd > 0) memory.fill(0, first + count, first + count + roundElements - odd);
    return address;
  }

  /** Copies what was worked on in a slot out to elements [from, to). */
  take(slot: number, vector: Vector, from: number, to: number): void {
    if (this.#inPlace(vector, to - from)) return;
    const first = this.at(slot, vector, from, to) / vector.BYTES_PER_ELEMENT;
    vector.set(this.#like(vector).subarray(first, first + to - from), from);
  }

  /** Kernels take whole rounds: what is less is always copied, so that none writes beyond a vector's end. */
  #inPlace({ buffer }: Vector, count: number): boolean {
    return buffer === this.#buffer && count % roundElements === 0;
  }

  #like(vector: Vector): Vector {
    return vector instanceof Float32Array ? this.#floats : this.#words;
  }
}

/** Of memories of vectors that this thread works in. */
const byMemory = new WeakMap<ArrayBufferLike, Tiles>();
let ofThread: Tiles | undefined;

/** From now on this thread works in place on what lies in the memory. @param scratchAt see `Tiles` */
export function workIn(memory: WebAssembly.Memory, scratchAt: number): void {
  byMemory.set(memory.buffer, new Tiles(memory, scratchAt));
}

/** The tiles of the memory that a vector lies in, or those that this thread has for vectors from anywhere. */
export function tilesFor({ buffer }: Vector): Tiles {
  return byMemory.get(buffer) ?? (ofThread ??= new Tiles(ownMemory(), 0));
}

function ownMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: Math.ceil(scratchBytes / 65_536) });
}

/** Calls `work` for [from, to) piece by piece: at most `tileElements` in each, and what makes no whole round apart. */
export function eachTile(from: number, to: number, work: (first: number, last: number) => void): void {
  const whole = to - ((to - from) % roundElements);
  for (let first = from; first < whole; first += tileElements) work(first, Math.min(first + tileElements, whole));
  if (whole < to) work(whole, to);
}
