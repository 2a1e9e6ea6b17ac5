// Runs the plain in-process loop with the TensorFlow settings of a worker: the reference for the bits of a system.
// Refuses to run it in the test's own process, whose TensorFlow was loaded with other settings, or not at all.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { InitialWeights } from '#model/exchange/initial-weights.js';
import type { KernelTable } from '#model/kernel-table.js';
import { loadConfig } from '../../apps/coordinator/src/config.js';
import { findCifar10 } from '../../apps/coordinator/src/setup/cifar10.js';
import { tensorflowEnvironment } from '../../apps/worker/src/config.js';
import { distribution } from './system.js';

export interface PlainOutcome {
  readonly steps: number;
  readonly parametersSha256: string;
  readonly stateSha256: string;
  /** Of the last epoch; sums over `samples`. */
  readonly evaluation?: { readonly lossSum: number; readonly top1Hits: number; readonly samples: number };
}

export interface PlainOptions {
  /** The folder that holds the dataset. @default CIFAR-10's in the cache */
  readonly dataset?: string;
  /** Shards to leave out, by step. */
  readonly excluded?: Readonly<Record<number, readonly number[]>>;
  /** A job's kernel table. @default the fixed rule */
  readonly kernels?: KernelTable | undefined;
  /** That it starts from. @default random ones */
  readonly weights?: InitialWeights;
}

/** Trains by `spec` from start to end. */
export async function trainPlainly(spec: object, options: PlainOptions = {}): Promise<PlainOutcome> {
  const location = options.dataset ?? (await findCifar10(loadConfig(process.env).cacheDir)) ?? '';
  const script = join(distribution, 'test/support/in-process.js');
  const args = [script, JSON.stringify(spec), location, JSON.stringify(options)];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    env: { ...process.env, ...tensorflowEnvironment(1) },
  });
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as PlainOutcome;
}
