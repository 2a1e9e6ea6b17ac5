// Entry of the thread that gets CIFAR-10 while a coordinator runs: unpacking and converting block for seconds.
import { parentPort, workerData } from 'node:worker_threads';
import { prepareCifar10 } from './cifar10.js';

/** The folder, or why it cannot be had. */
export type Cifar10Answer = { readonly folder: string } | { readonly problem: string };

const { cacheDir } = workerData as { readonly cacheDir: string };
const answer: Cifar10Answer = await prepareCifar10({ cacheDir }).then(
  (folder) => ({ folder }),
  (error: Error) => ({ problem: error.message }),
);
parentPort?.postMessage(answer);
