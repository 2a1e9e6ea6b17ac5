// This worker's side of the memory that it shares with a coordinator on its own host: whether there is any, the segments that it
// pushes through, and the ones that it pulls from. Refuses to know blocks and tasks.
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { RegisterResponse } from '#proto/generated/lockstep/v1/pool.js';
import { Segment } from '#proto/segment.js';

/**
 * Of one being computed, one on its way and one that waits for its answer. Blocks in segments pass however little room the slices
 * have: more of them would take up memory that nobody counts. What finds no segment goes over the network, which holds it back.
 */
const segmentsAtOnce = 3;

/** Pushes in a row that came to the coordinator broken, after which all go over the network: it may see other files here. */
const brokenInARow = 3;

export class SharedMemory {
  readonly #folder: string;
  readonly #workerId: string;
  /** Written before, and read by nobody: memory that is there already is written to three times as quickly. */
  readonly #idle: Segment[] = [];
  #made = 0;
  /** Taken, and neither given back nor discarded. */
  #out = 0;
  #broken = 0;
  readonly #onDistrusted: () => void;

  private constructor(folder: string, workerId: string, onDistrusted: () => void) {
    this.#folder = folder;
    this.#workerId = workerId;
    this.#onDistrusted = onDistrusted;
  }

  /**
   * Undefined where the coordinator offers none, sees other files than this process under the folder's name, or is another user's
   * (root reads its word, but it cannot read what root writes).
   * @param onDistrusted told once, when `trusted` turns false
   */
  static find(
    { sharedMemory, workerId }: Pick<RegisterResponse, 'sharedMemory' | 'workerId'>,
    onDistrusted: () => void = () => undefined,
  ): SharedMemory | undefined {
    if (sharedMemory === undefined || sharedMemory.word === '') return undefined;
    const { folder, word } = sharedMemory;
    try {
      const found = readFileSync(join(folder, 'word'), 'utf8') === word && statSync(folder).uid === process.geteuid?.();
      return found ? new SharedMemory(folder, workerId, onDistrusted) : undefined;
    } catch {
      // Another host, another container or another user: tensors go over the network.
      return undefined;
    }
  }

  /** Whether what is written here still arrives as it was: nothing goes through this memory otherwise. */
  get trusted(): boolean {
    return this.#broken < brokenInARow;
  }

  /** A segment to push through, the caller's until `give` or `discard`; undefined where none can be had. */
  take(): Segment | undefined {
    if (this.#out >= segmentsAtOnce || !this.trusted) return undefined;
    try {
      const segment = this.#idle.pop() ?? Segment.create(this.#folder, `${this.#workerId}-${(this.#made += 1)}.push`);
      this.#out += 1;
      return segment;
    } catch {
      // The coordinator has just gone, and its folder with it.
      return undefined;
    }
  }

  /** The push was accepted: nobody reads it any more. */
  give(segment: Segment): void {
    this.#broken = 0;
    this.#out -= 1;
    this.#idle.push(segment);
  }

  /** Somebody may still read it: it is not written to again. `broken`: what it held did not arrive as it was. */
  discard(segment: Segment, broken: boolean): void {
    if (broken) {
      this.#broken += 1;
      if (this.#broken === brokenInARow) this.#onDistrusted();
    }
    this.#out -= 1;
    this.#remove(segment);
  }

  /** A version's segment, to read; the caller closes it. Throws an Error where it cannot be had. */
  version(name: string): Segment {
    return Segment.open(this.#folder, name);
  }

  /** Gives memory back that no push needs now. */
  trim(): void {
    for (const segment of this.#idle.splice(0)) this.#remove(segment);
  }

  #remove(segment: Segment): void {
    segment.close();
    try {
      rmSync(join(this.#folder, segment.name), { force: true });
    } catch {
      // The coordinator clears what is left when this worker is gone.
    }
  }
}
