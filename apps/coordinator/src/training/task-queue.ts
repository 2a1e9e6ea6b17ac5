// The task queue of one numerics class: puts entries in, and says where entries are. BullMQ only delivers;
// what a task's state is, the coordinator knows. Refuses to know steps and workers.
import { type JobState, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { entryId, type TaskEntry } from '#proto/task-entry.js';

const answerWithinMs = 3000;

/** Where an entry is: waiting for a worker, with one, or nowhere (never arrived, done, flushed). */
export type EntryPlace = 'waiting' | 'active' | 'nowhere';

export interface QueuedEntry {
  readonly entry: TaskEntry;
  /** 1 is served first; BullMQ takes up to 2^21. */
  readonly priority: number;
}

export class TaskQueue {
  readonly #queue: Queue;

  /** @param connection with a command timeout, so that a paused Redis hangs nobody */
  constructor(name: string, prefix: string, connection: Redis, onError: (error: Error) => void) {
    this.#queue = new Queue(name, {
      prefix,
      connection,
      skipVersionCheck: true,
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
    });
    this.#queue.on('error', onError);
  }

  get bullQueue(): Queue {
    return this.#queue;
  }

  /** Puts entries in, in order. Throws when Redis cannot be had; some may then be in nevertheless. */
  async put(entries: readonly QueuedEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const added = this.#queue.addBulk(
      entries.map(({ entry, priority }) => ({
        name: entry.key.kind,
        data: entry,
        opts: { jobId: entryId(entry.key, entry.attempt), priority },
      })),
    );
    await inTime(added);
  }

  async placeOf(id: string): Promise<EntryPlace> {
    const state: JobState | 'unknown' = await inTime(this.#queue.getJobState(id));
    if (state === 'active') return 'active';
    return state === 'completed' || state === 'failed' || state === 'unknown' ? 'nowhere' : 'waiting';
  }

  /** Takes out what nobody wants any more; an entry that a worker has is left to its claim's answer. */
  async remove(ids: readonly string[]): Promise<void> {
    await inTime(Promise.all(ids.map((id) => this.#queue.remove(id))));
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** BullMQ waits without limit for a connection that is not ready; a queue that is away must hang nobody. */
async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Redis did not answer within ${answerWithinMs} ms`)), answerWithinMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
