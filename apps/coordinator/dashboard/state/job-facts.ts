// What follows from a job's view: progress, what may be done to it, how well the pool fits it.
// Refuses to know how it is shown.
import type { JobAction, JobState, JobView, WorkerView } from '../../src/jobs/ports.js';

const allowed: Record<JobState, readonly JobAction[]> = {
  queued: ['cancel'],
  running: ['pause', 'cancel'],
  paused: ['resume', 'cancel'],
  completed: [],
  failed: [],
  cancelled: [],
};

export function allows(job: JobView, action: JobAction): boolean {
  return allowed[job.state].includes(action);
}

export function hasEnded(job: JobView): boolean {
  return allowed[job.state].length === 0;
}

/** In [0, 1]. */
export function progressOf(job: JobView): number {
  return job.totalSteps > 0 ? Math.min(1, job.step / job.totalSteps) : 0;
}

/** The epoch that is being trained, counted from 1 as people do; of an ended job the last one. */
export function epochNumber(job: JobView): number {
  const { epochs } = job.spec.training;
  if (typeof epochs !== 'number' || job.totalSteps === 0) {
    return job.epoch + 1;
  }
  return Math.min(epochs, Math.floor((job.step * epochs) / job.totalSteps) + 1);
}

/** Seconds since the job started, up to its end. */
export function runSeconds(job: JobView, now: number): number | null {
  if (job.startedAt === null) {
    return null;
  }
  const end = job.endedAt === null ? now : Date.parse(job.endedAt);
  return Math.max(0, (end - Date.parse(job.startedAt)) / 1000);
}

export interface PoolFit {
  /** Live workers that could take this job's tasks: of its numerics class, or all while it has none. */
  readonly live: number;
  readonly useful: number;
  readonly hint: string;
}

export function poolFit(job: JobView, workers: Iterable<WorkerView>): PoolFit {
  let live = 0;
  let others = 0;
  for (const worker of workers) {
    const fits = job.numericsClass === null || isOfClass(worker, job.numericsClass);
    live += fits && worker.state !== 'draining' ? 1 : 0;
    others += fits ? 0 : 1;
  }
  const useful = job.usefulWorkers;
  if (hasEnded(job)) {
    return { live, useful, hint: '' };
  }
  if (live === 0) {
    return {
      live,
      useful,
      hint: others > 0 ? 'The live ones are of another numerics class.' : 'Start a worker to go on.',
    };
  }
  if (live < useful) {
    return { live, useful, hint: `${useful - live} more would help.` };
  }
  return { live, useful, hint: live > useful ? `${live - useful} more than a step can use.` : '' };
}

/** A job's class is a worker's and, after a comma, the precision that the job computes in. */
function isOfClass(worker: WorkerView, jobClass: string): boolean {
  return jobClass === worker.numericsClass || jobClass.startsWith(`${worker.numericsClass}, `);
}
