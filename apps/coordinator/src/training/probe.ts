// The task by which a worker shows that it computes a job's bits: task 0 of step 0, on the initial parameters. Pure.
import type { JobSpec } from '#model/job-spec.js';
import type { TaskEntry } from '#proto/task-entry.js';
import { entryShards, planStep } from './step-plan.js';

/** What the queue would carry for it. */
export function probeOf(jobId: string, spec: JobSpec, trainCount: number): TaskEntry {
  const plan = planStep(spec.training, trainCount, 0);
  return {
    key: { jobId, lineage: 0, step: 0, round: 0, task: 0, kind: 'train' },
    attempt: 1,
    version: 0,
    epoch: 0,
    shards: entryShards(plan.tasks[0]!.shards),
    miniBatchSamples: plan.samples,
  };
}
