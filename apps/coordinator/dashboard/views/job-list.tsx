// All jobs, each a link to its page.
import type { JobView } from '../../src/jobs/ports.js';
import { formatCount, formatDuration, formatLoss, formatPercent, formatRate } from '../state/format.js';
import { epochNumber, hasEnded, runSeconds } from '../state/job-facts.js';
import { addressOf, jobsInOrder, now, selectedJobId } from '../state/store.js';
import { ProgressBar, StateChip } from './progress.js';

export function JobList() {
  const list = jobsInOrder.value;
  return (
    <nav class="jobs" aria-labelledby="jobs-title">
      <h2 id="jobs-title">
        Jobs <span class="count">{list.length}</span>
      </h2>
      <ul data-testid="job-list">
        {list.map((job) => (
          <li key={job.id}>
            <JobCard job={job} selected={job.id === selectedJobId.value} />
          </li>
        ))}
      </ul>
    </nav>
  );
}

function JobCard({ job, selected }: { job: JobView; selected: boolean }) {
  return (
    <a
      class="job-card"
      href={addressOf(job.id)}
      aria-current={selected ? 'true' : undefined}
      data-testid="job-card"
      data-job-id={job.id}
    >
      <span class="job-card-head">
        <span class="job-name" title={job.name}>
          {job.name}
        </span>
        <StateChip job={job} />
      </span>
      <ProgressBar job={job} />
      <span class="job-card-line">
        <span>
          step {formatCount(job.step)} / {formatCount(job.totalSteps)}
        </span>
        <span>epoch {formatCount(epochNumber(job))}</span>
        <span>{timeText(job)}</span>
      </span>
      <span class="job-card-figures">
        <Figure name="loss" value={formatLoss(job.loss)} />
        <Figure name="test" value={formatPercent(job.test?.top1)} />
        <Figure name="img/s" value={hasEnded(job) ? '–' : formatRate(job.imagesPerSecond)} />
      </span>
      {job.reason !== null && !hasEnded(job) && <span class="job-reason">{job.reason}</span>}
      {job.error !== null && <span class="job-reason job-reason--error">{job.error}</span>}
    </a>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <span>
      <span class="figure-name">{name}</span> <span class="figure-value">{value}</span>
    </span>
  );
}

function timeText(job: JobView): string {
  if (hasEnded(job)) {
    return job.startedAt === null ? '' : `took ${formatDuration(runSeconds(job, now.value))}`;
  }
  return job.etaSeconds === null ? '' : `${formatDuration(job.etaSeconds)} left`;
}
