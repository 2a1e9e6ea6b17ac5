// This worker's side of the memory that it shares with a coordinator on its own host: whether there is any, the segments that it
// pushes through, and the ones that it pulls from. Refuses to know blocks and tasks.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { RegisterResponse } from '#proto/generated/lockstep/v1/pool.js';
import { Segment } from '#proto/segment.js';

export class SharedMemory {
  readonly #folder: string;
  readonly #workerId: string;
  /** Written before, and read by nobody: memory that is there already is written to three times as quickly. */
  readonly #idle: Segment[] = [];
  #made = 0;

  private constructor(folder: string, workerId: string) {
    this.#folder = folder;
    this.#workerId = workerId;
  }

  /** Undefined where the coordinator offers none, or sees other files than this process under the folder's name. */
  static find({
    sharedMemory,
    workerId,
  }: Pick<RegisterResponse, 'sharedMemory' | 'workerId'>): SharedMemory | undefined {
    if (sharedMemory === undefined || sharedMemory.word === '') return undefined;
    const { folder, word } = sharedMemory;
    try {
      return readFileSync(join(folder, 'word'), 'utf8') === word ? new SharedMemory(folder, workerId) : undefined;
    } catch {
      // Another host, another container or another user: tensors go over the network.
      return undefined;
    }
  }

  /** A segment to push through, the caller's until `give` or `discard`; undefined where none can be had. */
  take(): Segment | undefined {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    this.#made += 1;
    try {
      return Segment.create(this.#folder, `${this.#workerId}-${this.#made}.push`);
    } catch {
      // The coordinator has just gone, and its folder with it.
      return undefined;
    }
  }

  /** Nobody reads it any more. */
  give(segment: Segment): void {
    this.#idle.push(segment);
  }

  /** Somebody may still read it: it is not written to again. */
  discard(segment: Segment): void {
    segment.close();
    rmSync(join(this.#folder, segment.name), { force: true });
  }

  /** A version's segment, to read; the caller closes it. Throws an Error where it cannot be had. */
  version(name: string): Segment {
    return Segment.open(this.#folder, name);
  }

  /** Gives memory back that no push needs now. */
  trim(): void {
    for (const segment of this.#idle.splice(0)) this.discard(segment);
  }
}
