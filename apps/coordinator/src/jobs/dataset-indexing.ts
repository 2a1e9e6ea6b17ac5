// Indexes datasets of image files for jobs that wait for them, each on a thread of its own; jobs with the same dataset share one.
// Refuses to know what an index is and which jobs there are.
import { Worker } from 'node:worker_threads';
import { DatasetError } from '#model/datasets/dataset-error.js';
import type { IndexingProgress } from '#model/datasets/folder-indexer.js';
import type { IndexDone, IndexOrder, IndexProblem, IndexReport } from './index-thread.js';

interface Indexing {
  readonly done: Promise<IndexDone>;
  readonly thread: Worker;
  readonly listeners: Set<(progress: IndexingProgress) => void>;
}

export class DatasetIndexing {
  readonly #underWay = new Map<string, Indexing>();

  /**
   * Resolves when the index is there and fits the files. An indexing that nobody waits for any more is broken off; the next
   * one goes on where it was.
   *
   * @throws DatasetError, a file system's error, the signal's reason
   */
  async ensure(
    order: IndexOrder,
    onProgress: (progress: IndexingProgress) => void,
    signal: AbortSignal,
  ): Promise<IndexDone> {
    signal.throwIfAborted();
    const key = JSON.stringify([order.name, order.location]);
    const indexing = this.#underWay.get(key) ?? this.#begin(key, order);
    indexing.listeners.add(onProgress);
    let stop!: () => void;
    const stopped = new Promise<never>((_resolve, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener('abort', stop, { once: true });
    });
    try {
      return await Promise.race([indexing.done, stopped]);
    } finally {
      signal.removeEventListener('abort', stop);
      indexing.listeners.delete(onProgress);
      if (indexing.listeners.size === 0) {
        if (this.#underWay.get(key) === indexing) this.#underWay.delete(key);
        await indexing.thread.terminate();
      }
    }
  }

  #begin(key: string, order: IndexOrder): Indexing {
    const thread = new Worker(new URL('./index-thread.js', import.meta.url), { workerData: order, name: 'index' });
    const listeners: Indexing['listeners'] = new Set();
    const done = new Promise<IndexDone>((resolve, reject) => {
      thread.on('message', (report: IndexReport) => {
        if ('progress' in report) for (const listener of listeners) listener(report.progress);
        else if ('done' in report) resolve(report.done);
        else reject(errorOf(report.problem));
      });
      thread.once('error', reject);
      thread.once('exit', () =>
        reject(new DatasetError('The thread that indexes images has ended before its work was done')),
      );
    });
    done.catch(() => undefined); // whoever waits for it knows
    const indexing = { done, thread, listeners };
    this.#underWay.set(key, indexing);
    return indexing;
  }
}

function errorOf({ message, system }: IndexProblem): Error {
  return system === undefined ? new DatasetError(message) : Object.assign(new Error(message), system);
}
