// Owns: the memory in which this thread's images are resized and normalised by WebAssembly kernels, one piece of work at a time.
// Refuses to know: what is in it. What one piece of work took is taken again by the next.
import { moduleOf } from '../simd/assembler.js';
import { resampleFunctions, type ResampleKernels } from './resample-kernels.js';

const pageBytes = 65_536;
/** Pieces begin at multiples of this: a line of the processor's cache. */
const lineBytes = 64;
/** An image larger than most does not leave the thread with its memory. */
const mostKeptBytes = 64 * 1024 * 1024;
/** Kernels read beyond the end of rows, which may be the last piece. */
const guardBytes = pageBytes;
const firstPages = 16;

let module: WebAssembly.Module | undefined;

export class ImageMemory {
  #memory!: WebAssembly.Memory;
  #used = 0;
  #working = false;
  kernels!: ResampleKernels;
  bytes!: Uint8Array;

  constructor() {
    this.#beginAnew();
  }

  /** What `work`, which must not wait for anything, takes is free again after it. */
  within(work: () => void): void {
    if (this.#working) throw new Error('The memory for images is in use.');
    this.#working = true;
    try {
      work();
    } finally {
      this.#working = false;
      this.#used = 0;
      if (this.bytes.length > mostKeptBytes) this.#beginAnew();
    }
  }

  /** @returns the address of so many bytes, whatever is in them. Views of the memory made before must not be used any more. */
  take(bytes: number): number {
    const at = this.#used;
    this.#used += Math.ceil(bytes / lineBytes) * lineBytes;
    const missing = this.#used + guardBytes - this.bytes.length;
    if (missing > 0) {
      // Growing copies everything on some engines: not page by page.
      this.#memory.grow(Math.ceil(Math.max(missing, this.bytes.length / 4) / pageBytes));
      this.bytes = new Uint8Array(this.#memory.buffer);
    }
    return at;
  }

  /** Of what was taken; valid until something else is. */
  words(at: number, length: number): Int16Array {
    return new Int16Array(this.bytes.buffer, at, length);
  }

  longs(at: number, length: number): Int32Array {
    return new Int32Array(this.bytes.buffer, at, length);
  }

  floats(at: number, length: number): Float32Array {
    return new Float32Array(this.bytes.buffer, at, length);
  }

  #beginAnew(): void {
    this.#memory = new WebAssembly.Memory({ initial: firstPages });
    this.bytes = new Uint8Array(this.#memory.buffer);
    module ??= new WebAssembly.Module(moduleOf(resampleFunctions(), false));
    const { exports } = new WebAssembly.Instance(module, { env: { memory: this.#memory } });
    // Looking something up in the exports themselves takes longer than a small kernel.
    this.kernels = { ...exports } as unknown as ResampleKernels;
  }
}

/** This thread's. */
export const imageMemory = new ImageMemory();
