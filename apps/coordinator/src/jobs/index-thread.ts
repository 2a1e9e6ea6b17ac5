// Entry of the thread that indexes a dataset of image files while a coordinator runs: a million files are looked at.
// Refuses to know what an index is.
import { parentPort, workerData } from 'node:worker_threads';
import type { DatasetAccess } from '#model/datasets/dataset-access.js';
import type { IndexingProgress } from '#model/datasets/folder-indexer.js';
import { ensureImageIndex, indexKey, type ImageFilesName } from '#model/datasets/image-files.js';
import { listed } from '#model/datasets/image-report.js';
import { waitForLock } from '../setup/lock.js';

export interface IndexOrder {
  readonly name: ImageFilesName;
  readonly location: string;
  readonly access: DatasetAccess;
  /** Where the lock is that keeps another process from indexing the same files. */
  readonly cacheDir: string;
}

export interface IndexDone {
  readonly file: string;
  /** What people should know about the images, in a sentence; null where there is nothing. */
  readonly note: string | null;
}

/** An error as it crosses threads; `system` tells what the system refused (ENOSPC, EACCES, EIO). */
export interface IndexProblem {
  readonly message: string;
  readonly system: { readonly code: string | undefined; readonly syscall: string } | undefined;
}

export type IndexReport =
  { readonly progress: IndexingProgress } | { readonly done: IndexDone } | { readonly problem: IndexProblem };

const lockWaitMs = 7 * 24 * 3_600_000;
const namesInNote = 3;

const { name, location, access, cacheDir } = workerData as IndexOrder;
const tell = (report: IndexReport): void => parentPort?.postMessage(report);
try {
  const lock = await waitForLock(cacheDir, `index ${await indexKey(name, location)}`, {
    deadlineMs: lockWaitMs,
    onWait: () => undefined,
  });
  try {
    const { file, report } = await ensureImageIndex(name, location, access, {
      onProgress: (progress) => tell({ progress }),
    });
    const { broken, warnings } = report;
    const left =
      broken.count === 0
        ? []
        : [
            `${broken.count} broken ${broken.count === 1 ? 'image is' : 'images are'} left out: ${listed(broken, namesInNote)}.`,
          ];
    const sentences = [...left, ...warnings];
    tell({ done: { file, note: sentences.length === 0 ? null : sentences.join(' ') } });
  } finally {
    await lock.release();
  }
} catch (error) {
  const { message, code, syscall } = error as NodeJS.ErrnoException;
  tell({ problem: { message, system: syscall === undefined ? undefined : { code, syscall } } });
}
