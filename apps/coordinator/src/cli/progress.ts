// A job's progress in one line: a bar for a terminal, a plain sentence elsewhere, and how a job's end reads.
// Refuses to know where the line is shown.
import type { JobView } from '../jobs/ports.js';
import { formatCount, formatDuration, formatLoss, formatRate, formatShare } from './format.js';

/** The part of a job that its progress line tells. */
export type JobProgress = Pick<
  JobView,
  'state' | 'step' | 'totalSteps' | 'epoch' | 'loss' | 'top1' | 'imagesPerSecond' | 'etaSeconds' | 'reason'
> & { readonly spec: { readonly training: { readonly epochs: number | null } } };

const BAR_CELLS = 24;
const SHORTEST_BAR = 8;
/** Blanks and the percentage. */
const AROUND_BAR = 8;

/** Fits `width` characters (undefined: no limit): the bar shrinks, then step and epoch go, then what stands at the end. */
export function progressLine(job: JobProgress, width: number | undefined): string {
  const all = parts(job);
  if (width === undefined) {
    return all.join(' · ');
  }
  for (const kept of fewerAndFewer(all)) {
    const text = kept.join('  ');
    const cells = Math.min(BAR_CELLS, width - text.length - AROUND_BAR);
    if (cells >= SHORTEST_BAR) {
      return `${bar(share(job), cells)} ${percent(job).padStart(5)}  ${text}`;
    }
  }
  return [percent(job), all.at(-1)].join('  ').slice(0, Math.max(0, width));
}

/** All, then fewer and fewer: the bar tells the step, roughly; the figures at the front matter more than those behind. */
function* fewerAndFewer(all: readonly string[]): Generator<readonly string[]> {
  const figures = all.findIndex((part) => !/^(step|epoch) /.test(part));
  for (let first = 0; first < figures; first += 1) {
    yield all.slice(first);
  }
  for (let kept = all.slice(Math.max(0, figures)); kept.length > 0; kept = kept.slice(0, -1)) {
    yield kept;
  }
}

function parts(job: JobProgress): string[] {
  const known = (text: string, value: number | null): string[] => (value === null ? [] : [text]);
  const all = [`step ${formatCount(job.step)}/${formatCount(job.totalSteps)}`];
  const epoch = epochText(job);
  if (epoch !== undefined) {
    all.push(epoch);
  }
  if (waits(job)) {
    return [...all, job.reason ?? job.state];
  }
  if (job.state === 'running' && job.step === 0 && job.loss === null) return [...all, 'the first step is under way'];
  return [
    ...all,
    ...known(`loss ${formatLoss(job.loss)}`, job.loss),
    ...known(`accuracy ${formatShare(job.top1)}`, job.top1),
    ...known(`${formatRate(job.imagesPerSecond)} images/s`, job.imagesPerSecond),
    ...(job.state === 'running' ? known(`${formatDuration(job.etaSeconds)} left`, job.etaSeconds) : [job.state]),
  ];
}

/** A job that is not going on says why instead of figures that no longer hold. */
function waits(job: JobProgress): boolean {
  return job.reason !== null || job.state === 'queued' || job.state === 'paused';
}

/** Counted from 1, from the steps alone. */
function epochText(job: JobProgress): string | undefined {
  const epochs = job.spec.training.epochs;
  if (epochs === null || epochs <= 0 || job.totalSteps <= 0) {
    return undefined;
  }
  const running = Math.min(epochs, Math.floor((job.step * epochs) / job.totalSteps) + 1);
  return `epoch ${running}/${epochs}`;
}

function share(job: JobProgress): number {
  return job.totalSteps > 0 ? Math.min(1, job.step / job.totalSteps) : 0;
}

/** Rounded down: 100 % means done. */
function percent(job: JobProgress): string {
  return `${Math.floor(share(job) * 100)} %`;
}

function bar(filledShare: number, cells: number): string {
  const filled = Math.floor(filledShare * cells);
  return '█'.repeat(filled) + '░'.repeat(cells - filled);
}

/** `test accuracy 76.4 %, loss 0.702 (step 1,173)`, or nothing where there is no evaluation yet. */
export function evaluationText(job: Pick<JobView, 'test'>): string | undefined {
  const { test } = job;
  return test === null
    ? undefined
    : `test accuracy ${formatShare(test.top1)}, loss ${formatLoss(test.loss)} (step ${formatCount(test.step)})`;
}

export function hasEnded(job: Pick<JobView, 'state'>): boolean {
  return job.state === 'completed' || job.state === 'failed' || job.state === 'cancelled';
}

/** How it ended, as a sentence. */
export function endText(job: Pick<JobView, 'id' | 'state' | 'error' | 'reason' | 'checkpoint'>): string {
  if (job.state === 'completed') {
    return `Job ${job.id} is complete${job.checkpoint === null ? '' : `; checkpoint: ${job.checkpoint.path}`}`;
  }
  const why = job.error ?? job.reason;
  return `Job ${job.id} ${job.state === 'failed' ? 'failed' : 'was cancelled'}${why === null ? '.' : `: ${why}`}`;
}
