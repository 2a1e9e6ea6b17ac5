// One job: how far it is, how well it learns, what it consists of.
import { useEffect } from 'preact/hooks';
import type { JobView } from '../../src/jobs/ports.js';
import { formatCount, formatDuration, formatLoss, formatPercent, formatRate } from '../state/format.js';
import { epochNumber, hasEnded, poolFit, progressOf, runSeconds } from '../state/job-facts.js';
import { namedJobId, now, workers } from '../state/store.js';
import { JobActions } from './job-actions.js';
import { JobCharts } from './job-charts.js';
import { JobFacts } from './job-facts.js';
import { ProgressBar, StateChip } from './progress.js';

export function JobDetail({ job }: { job: JobView }) {
  const fit = poolFit(job, workers.value.values());
  const ended = hasEnded(job);
  useEffect(() => {
    if (namedJobId.peek() === job.id) {
      scrollTo(0, 0);
    }
  }, [job.id]);
  return (
    <article class="detail" aria-labelledby="job-title" data-testid="job-detail" data-job-id={job.id}>
      <a class="back" href="#/">
        ← All jobs
      </a>
      <div class="detail-head">
        <h1 id="job-title" data-testid="job-title">
          {job.name}
        </h1>
        <StateChip job={job} />
        <JobActions job={job} />
      </div>
      {job.note !== null && !ended && (
        <p class="notice" role="note" data-testid="job-note">
          {job.note}
        </p>
      )}
      {job.reason !== null && !ended && (
        <p class="notice" role="status" data-testid="job-reason">
          {job.reason}
        </p>
      )}
      {job.error !== null && (
        <p class="notice notice--error" role="alert" data-testid="job-error">
          {job.error}
        </p>
      )}
      <div class="detail-progress">
        <ProgressBar job={job} />
        <span class="percent" data-testid="job-percent">
          {formatPercent(progressOf(job))}
        </span>
      </div>
      <dl class="tiles">
        <Tile name="Step" value={formatCount(job.step)} note={`of ${formatCount(job.totalSteps)}`} testId="job-step" />
        <Tile name="Epoch" value={formatCount(epochNumber(job))} note={epochNote(job)} testId="job-epoch" />
        <Tile name="Train loss" value={formatLoss(job.loss)} note={topNote(job)} testId="job-loss" />
        <Tile name="Test accuracy" value={formatPercent(job.test?.top1)} note={testNote(job)} testId="job-test-top1" />
        <Tile name="Images/s" value={ended ? '–' : formatRate(job.imagesPerSecond)} testId="job-rate" />
        <Tile
          name={ended ? 'Took' : 'Time left'}
          value={formatDuration(ended ? runSeconds(job, now.value) : job.etaSeconds)}
          note={ended ? '' : elapsedNote(job)}
          testId="job-time"
        />
        {!ended && (
          <Tile
            name="Workers"
            value={`${fit.live}`}
            note={`of ${fit.useful} useful`}
            testId="job-workers"
            hint={fit.hint}
          />
        )}
      </dl>
      <JobCharts job={job} />
      <JobFacts job={job} />
    </article>
  );
}

interface TileProps {
  readonly name: string;
  readonly value: string;
  readonly note?: string;
  readonly hint?: string;
  readonly testId: string;
}

function Tile({ name, value, note = '', hint = '', testId }: TileProps) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>
        <span class="tile-value" data-testid={testId}>
          {value}
        </span>
        {note !== '' && <span class="tile-note">{note}</span>}
        {hint !== '' && <span class="tile-hint">{hint}</span>}
      </dd>
    </div>
  );
}

function epochNote(job: JobView): string {
  const epochs = job.spec.training.epochs;
  return typeof epochs === 'number' ? `of ${formatCount(epochs)}` : '';
}

function topNote(job: JobView): string {
  return job.top1 === null ? '' : `top-1 ${formatPercent(job.top1)}`;
}

function testNote(job: JobView): string {
  return job.test === null ? 'none yet' : `at step ${formatCount(job.test.step)}`;
}

function elapsedNote(job: JobView): string {
  const seconds = runSeconds(job, now.value);
  return seconds === null ? '' : `after ${formatDuration(seconds)}`;
}
