// A job as people see it: its record, and what its run knows better while it trains. Refuses to change anything.
import { tableInShort } from '#model/kernel-table.js';
import type { JobRun } from './job-run.js';
import type { JobRecord } from './job-store.js';
import type { JobView } from './ports.js';

/** What a job has reached: the trainer's word once it has restored the job, else the record's. */
export function reachedBy(record: JobRecord, run: JobRun | undefined): JobRecord['reached'] {
  const trainer = run?.trainer;
  if (trainer?.opened !== true) return record.reached;
  const { step, totalSteps, epoch, loss, top1, test, imagesPerSecond, checkpoint } = trainer.progress;
  return { step, totalSteps, epoch, loss, top1, test, imagesPerSecond, checkpoint };
}

/** @param waits why a queued job has no run */
export function viewOf(record: JobRecord, run: JobRun | undefined, waits: string): JobView {
  const { step, checkpoint, ...reached } = reachedBy(record, run);
  const progress = record.state === 'running' ? run?.trainer?.progress : undefined;
  return {
    id: record.id,
    name: record.spec.name,
    state: record.state,
    step,
    version: step,
    ...reached,
    etaSeconds: progress?.etaSeconds ?? null,
    workers: progress?.workers ?? [],
    parametersSha256: checkpoint?.parametersSha256 ?? null,
    stateSha256: checkpoint?.stateSha256 ?? null,
    checkpoint: checkpoint && { step: checkpoint.step, path: checkpoint.path },
    numericsClass: record.numericsClass === null ? null : `${record.numericsClass}, ${record.spec.training.precision}`,
    kernels: (record.kernels && tableInShort(record.kernels)) ?? null,
    usefulWorkers: record.usefulWorkers,
    parameterCount: record.parameterCount,
    note: record.note,
    reason: reasonOf(record, run, waits),
    error: record.error,
    spec: record.spec,
    createdAt: record.createdAt,
    startedAt: record.startedAt,
    endedAt: record.endedAt,
  };
}

function reasonOf(record: JobRecord, run: JobRun | undefined, waits: string): string | null {
  if (record.state === 'paused') return record.reason;
  if (record.state !== 'queued' && record.state !== 'running') return null;
  return run === undefined ? waits : run.reason;
}

/**
 * Why a job that could be trained has no run.
 * @param running how many have one
 */
export function turnText({ stopping, running }: { stopping: boolean; running: number }): string {
  if (stopping) return 'The coordinator is stopping; the job goes on when it is back.';
  const others = running === 1 ? 'Another job is running' : `${running} other jobs are running`;
  return running === 0 ? 'It begins in a moment.' : `${others}; this one waits for its turn, by priority and age.`;
}
