// State chip and progress bar of a job.
import type { JobView } from '../../src/jobs/ports.js';
import { formatCount } from '../state/format.js';
import { progressOf } from '../state/job-facts.js';

export function StateChip({ job }: { job: JobView }) {
  return (
    <span class={`chip chip--${job.state}`} data-testid="job-state" data-state={job.state}>
      {job.state}
    </span>
  );
}

export function ProgressBar({ job }: { job: JobView }) {
  const percent = progressOf(job) * 100;
  return (
    <div
      class={`bar bar--${job.state}`}
      role="progressbar"
      aria-label={`Progress of ${job.name}`}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(percent)}
      aria-valuetext={`step ${formatCount(job.step)} of ${formatCount(job.totalSteps)}`}
      data-testid="job-progress"
    >
      <div class="bar-fill" style={{ width: `${percent}%` }} />
    </div>
  );
}
