import { describe, expect, it } from 'vitest';
import { DatasetError } from '#model/datasets/dataset-error.js';
import { UnavailableError } from '../errors.js';
import { TrainingFailedError } from '../training/training-job.js';
import { stateAfter } from './state-after.js';

describe('after an error a job', () => {
  it('pauses where the dataset cannot be read, so that it can be resumed', () => {
    const after = stateAfter(new DatasetError('s3://b/a.tar cannot be read at byte 0: ECONNREFUSED (5 attempts)'));
    expect(after).toMatchObject({ state: 'paused', refusedBySystem: false });
    expect(after).toHaveProperty('reason', expect.stringMatching(/ECONNREFUSED \(5 attempts\).*resume the job\.$/));
  });

  it('pauses where the system refuses something, also in the thread that indexes', () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    });
    expect(stateAfter(full)).toMatchObject({ state: 'paused', refusedBySystem: true });
    expect(stateAfter(new UnavailableError('It cannot be fetched.'))).toMatchObject({ state: 'paused' });
  });

  it('fails where training failed, and by what can only be a defect', () => {
    expect(stateAfter(new TrainingFailedError('The loss is NaN.'))).toMatchObject({ state: 'failed', defect: false });
    expect(stateAfter(new TypeError('x is undefined'))).toMatchObject({ state: 'failed', defect: true });
  });
});
