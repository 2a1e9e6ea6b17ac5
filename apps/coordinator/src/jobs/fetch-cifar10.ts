// Gets CIFAR-10 for a job that waits for it, on a thread of its own. Refuses to know how.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { UnavailableError } from '../errors.js';
import type { Cifar10Answer } from '../setup/cifar10-thread.js';

/** Resolves to the folder. Throws UnavailableError with the cause and what to do. */
export async function fetchCifar10(cacheDir: string): Promise<string> {
  const thread = new Worker(new URL('../setup/cifar10-thread.js', import.meta.url), { workerData: { cacheDir } });
  try {
    const [answer] = (await once(thread, 'message')) as [Cifar10Answer];
    if ('folder' in answer) return answer.folder;
    throw new UnavailableError(answer.problem);
  } finally {
    await thread.terminate();
  }
}
