// Pause, resume and cancel, where the state allows them; cancelling asks first.
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { JobAction, JobView } from '../../src/jobs/ports.js';
import { ApiError, post } from '../state/api.js';
import { allows } from '../state/job-facts.js';

export function JobActions({ job }: { job: JobView }) {
  const busy = useSignal(false);
  const problem = useSignal<string | null>(null);
  const confirm = useRef<HTMLDialogElement>(null);

  const act = async (action: JobAction): Promise<void> => {
    busy.value = true;
    problem.value = null;
    try {
      await post(`/jobs/${encodeURIComponent(job.id)}/${action}`);
    } catch (error) {
      problem.value = error instanceof ApiError ? error.message : String(error);
    } finally {
      busy.value = false;
    }
  };
  const cancel = (): void => {
    confirm.current?.close();
    void act('cancel');
  };

  return (
    <div class="actions">
      <div class="action-buttons">
        {allows(job, 'pause') && (
          <button
            type="button"
            class="button"
            disabled={busy}
            onClick={() => void act('pause')}
            data-testid="job-pause"
          >
            Pause
          </button>
        )}
        {allows(job, 'resume') && (
          <button
            type="button"
            class="button"
            disabled={busy}
            onClick={() => void act('resume')}
            data-testid="job-resume"
          >
            Resume
          </button>
        )}
        <button
          type="button"
          class="button button--danger"
          disabled={busy.value || !allows(job, 'cancel')}
          onClick={() => confirm.current?.showModal()}
          data-testid="job-cancel"
        >
          Cancel job
        </button>
      </div>
      {problem.value !== null && (
        <p class="problem" role="alert" data-testid="job-action-problem">
          {problem.value}
        </p>
      )}
      <dialog ref={confirm} class="dialog" aria-labelledby="cancel-title" data-testid="cancel-dialog">
        <h2 id="cancel-title">Cancel this job?</h2>
        <p>
          <strong class="job-name">{job.name}</strong> stops for good and cannot be resumed. Its checkpoints stay.
        </p>
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={() => confirm.current?.close()} data-testid="cancel-keep">
            Let it run
          </button>
          <button type="button" class="button button--danger-strong" onClick={cancel} data-testid="cancel-confirm">
            Cancel job
          </button>
        </div>
      </dialog>
    </div>
  );
}
