// The record of a job that was just submitted. Pure, but for the clock.
import type { JobSpec } from '#model/job-spec.js';
import { layoutOf } from '#model/parameters.js';
import { totalStepsOf } from '#model/schedule.js';
import { tasksPerStep } from '../training/step-plan.js';
import type { JobRecord } from './job-store.js';

/** @param trainCount training images of the dataset */
export function newRecord(
  id: string,
  spec: JobSpec,
  trainCount: number,
  idempotencyKey: string | undefined,
): JobRecord {
  return {
    id,
    spec,
    state: 'queued',
    idempotencyKey: idempotencyKey ?? null,
    lineage: 0,
    classId: null,
    numericsClass: null,
    note: null,
    probeChecksum: null,
    rollback: false,
    trainCount,
    reason: null,
    error: null,
    createdAt: new Date().toISOString(),
    startedAt: null,
    endedAt: null,
    reached: {
      step: 0,
      totalSteps: totalStepsOf(spec.training, trainCount),
      epoch: 0,
      loss: null,
      top1: null,
      test: null,
      imagesPerSecond: null,
      checkpoint: null,
    },
    usefulWorkers: tasksPerStep(spec.training, trainCount),
    parameterCount: layoutOf(spec.model).parameterCount,
  };
}
