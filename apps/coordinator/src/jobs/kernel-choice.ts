// Which kernels serve a job's 1x1 convolutions: settled once, when the job is pinned to a numerics class, by one worker of it.
// Refuses to know how kernels are tried and how the job trains.
import type { JobSpec } from '#model/job-spec.js';
import { fitsShapes, type KernelTable, pointwiseShapes } from '#model/kernel-table.js';
import type { KernelTrials } from '../workers/kernel-trials.js';
import type { PoolWorker } from '../workers/worker-registry.js';
import type { JobRecord } from './job-store.js';

export interface KernelChoice {
  /** Null: the fixed rule. */
  readonly kernels: KernelTable | null;
  /** What people should know about it. */
  readonly note: string | null;
}

export interface KernelChoiceOptions {
  readonly trials: Pick<KernelTrials, 'ask'>;
  /** Those of the class that may be asked, now. */
  readonly workers: () => readonly PoolWorker[];
  /** What the class has found for another job like this one. */
  readonly known: KernelTable | undefined;
  /** Told what is waited for. */
  readonly onWait: (reason: string) => void;
  readonly signal: AbortSignal;
}

const fixed: KernelChoice = { kernels: null, note: null };

/** Asks one worker after the other. Undefined where the class has none left before anybody has answered, or the signal came. */
export async function chooseKernels(spec: JobSpec, options: KernelChoiceOptions): Promise<KernelChoice | undefined> {
  const { trials, workers, known, onWait, signal } = options;
  const shapes = pointwiseShapes(spec.model);
  const { kernels } = spec.training;
  if (kernels === 'fixed' || spec.faults.reproducibility === 'relaxed' || shapes.length === 0) return fixed;
  if (known !== undefined) return { kernels: known, note: null };
  const failures = new Map<string, string>();
  while (!signal.aborted) {
    const left = workers().filter(({ id }) => !failures.has(id));
    const worker = left.find(({ heartbeat }) => heartbeat.computing === null) ?? left[0];
    if (worker === undefined) break;
    onWait(`Worker ${worker.name} tries which kernels are the quicker ones.`);
    const answer = await trials.ask(worker, spec);
    if (typeof answer !== 'string' && fitsShapes(answer, shapes)) return { kernels: answer, note: null };
    failures.set(worker.id, `${worker.name}: ${typeof answer === 'string' ? answer : 'other shapes came back.'}`);
  }
  if (signal.aborted || workers().length === 0) return undefined;
  const causes = [...failures.values()].join(' ');
  return { kernels: null, note: `Its kernels follow the fixed rule, as none could be tried. ${causes}` };
}

/**
 * What the same class has found for a job of the same shapes, shard size and precision: jobs of the same spec then end with the
 * same bits.
 * @param records newest first
 */
export function tableAmong(records: readonly JobRecord[], classId: string, spec: JobSpec): KernelTable | undefined {
  const shapes = pointwiseShapes(spec.model);
  const { shardSize, precision } = spec.training;
  const found = records.find(
    ({ classId: ofClass, kernels, spec: { training } }) =>
      kernels !== null &&
      ofClass === classId &&
      training.shardSize === shardSize &&
      training.precision === precision &&
      fitsShapes(kernels, shapes),
  );
  return found?.kernels ?? undefined;
}
