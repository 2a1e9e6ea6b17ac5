// What a job becomes when its run ends with an error: paused where a person can put it right, else failed. Pure.
import { DatasetError } from '#model/datasets/dataset-error.js';
import { CheckpointFailedError } from '../checkpoints/checkpoint-store.js';
import { LockstepError, UnavailableError } from '../errors.js';
import { LedgerDamagedError } from '../training/ledger.js';
import { messageOf, TrainingFailedError, TrainingPausedError } from '../training/training-job.js';

export type AfterError =
  | { readonly state: 'paused'; readonly reason: string; readonly refusedBySystem: boolean }
  | { readonly state: 'failed'; readonly error: string; readonly defect: boolean };

export function stateAfter(error: Error): AfterError {
  if (error instanceof TrainingPausedError || error instanceof UnavailableError) {
    return { state: 'paused', reason: error.message, refusedBySystem: false };
  }
  if (error instanceof CheckpointFailedError || typeof (error as NodeJS.ErrnoException).syscall === 'string') {
    const reason = `${messageOf(error)} Put that right, then resume the job.`;
    return { state: 'paused', reason, refusedBySystem: true };
  }
  // The dataset may only be out of reach for a moment, and what the job has reached is still there.
  if (error instanceof DatasetError) {
    const reason = `${messageOf(error)} When the dataset is as it should be, resume the job.`;
    return { state: 'paused', reason, refusedBySystem: false };
  }
  const expected = [TrainingFailedError, LedgerDamagedError, LockstepError].some((kind) => error instanceof kind);
  return { state: 'failed', error: error.message, defect: !expected };
}
