// The record of a job that was just submitted. Pure, but for the clock.
import type { Dataset } from '#model/datasets/dataset.js';
import type { JobSpec } from '#model/job-spec.js';
import { layoutOf } from '#model/parameters.js';
import { totalStepsOf } from '#model/schedule.js';
import { tasksPerStep } from '../training/step-plan.js';
import type { JobRecord } from './job-store.js';

/** @param trainCount training images of the dataset; 0 where that is not known yet */
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
    kernels: null,
    probeChecksum: null,
    rollback: false,
    trainCount,
    datasetHash: null,
    datasetContentsHash: null,
    reason: null,
    error: null,
    createdAt: new Date().toISOString(),
    startedAt: null,
    endedAt: null,
    reached: {
      step: 0,
      totalSteps: stepsOf(spec, trainCount),
      epoch: 0,
      loss: null,
      top1: null,
      test: null,
      imagesPerSecond: null,
      checkpoint: null,
    },
    usefulWorkers: tasksOf(spec, trainCount),
    parameterCount: layoutOf(spec.model).parameterCount,
  };
}

/** What is known once the dataset is open. */
export function withDataset(
  { spec, reached, datasetContentsHash }: JobRecord,
  { trainCount, indexHash, contentsHash }: Pick<Dataset, 'trainCount' | 'indexHash' | 'contentsHash'>,
): Partial<JobRecord> {
  return {
    trainCount,
    datasetHash: indexHash,
    // Contents that were read once are known, also where the index was made anew without them.
    datasetContentsHash: contentsHash ?? (reached.step > 0 ? datasetContentsHash : null),
    reached: { ...reached, totalSteps: stepsOf(spec, trainCount) },
    usefulWorkers: tasksOf(spec, trainCount),
  };
}

function stepsOf({ training }: JobSpec, trainCount: number): number {
  return trainCount === 0 ? (training.steps ?? 0) : totalStepsOf(training, trainCount);
}

function tasksOf({ training }: JobSpec, trainCount: number): number {
  return tasksPerStep(training, trainCount === 0 ? training.batchSize : trainCount);
}
