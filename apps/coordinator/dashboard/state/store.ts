// What the dashboard knows: jobs, workers, the curves of the selected job, and how fresh all that is.
// Refuses to know how it arrives (live.ts) and how it looks (views/).
import { computed, signal } from '@preact/signals';
import type { JobState, JobView, WorkerView } from '../../src/jobs/ports.js';
import type { StreamStatus } from './event-stream.js';
import { mergeSeries, type SeriesMap } from './series.js';

/** A worker, and when we heard of it (milliseconds of the page's clock), so that its heartbeat's age goes on between events. */
export interface KnownWorker extends WorkerView {
  readonly heardAt: number;
}

export interface Curves {
  readonly jobId: string;
  readonly state: 'loading' | 'loaded' | 'failed';
  readonly series: SeriesMap;
}

export const jobs = signal<ReadonlyMap<string, JobView>>(new Map());
export const workers = signal<ReadonlyMap<string, KnownWorker>>(new Map());
export const streamStatus = signal<StreamStatus>({ kind: 'connecting' });
/** False until the first snapshot: an empty list then means 'not known yet'. */
export const loaded = signal(false);
export const curves = signal<Curves | null>(null);
/** Milliseconds; moves on each second, so that ages and run times do. */
export const now = signal(Date.now());

/** `/jobs/<id>` is the same page as `/#/jobs/<id>`, which is the form that goes on without loading the page again. */
const jobPath = /^\/jobs\/[^/]+$/.exec(location.pathname);
if (jobPath !== null) {
  history.replaceState(null, '', `/#${jobPath[0]}`);
}
const hash = signal(location.hash);
addEventListener('hashchange', () => {
  hash.value = location.hash;
});

const order: Record<JobState, number> = { running: 0, paused: 1, queued: 2, failed: 3, completed: 3, cancelled: 3 };

/** Those that still have something to do first; among these the newest first. */
export const jobsInOrder = computed(() =>
  [...jobs.value.values()].sort(
    (a, b) => order[a.state] - order[b.state] || b.createdAt.localeCompare(a.createdAt) || b.id.localeCompare(a.id),
  ),
);

/** The job that the address names, or null. */
export const namedJobId = computed(() => {
  const match = /^#\/jobs\/(.+)$/.exec(hash.value);
  try {
    return match === null ? null : decodeURIComponent(match[1]!);
  } catch (error) {
    console.debug('Not an address of a job:', hash.value, error);
    return null;
  }
});

/** Where the address names none, wide screens show the first, and stay with it when another one becomes the first. */
export const selectedJobId = computed(() => {
  const stay = shownJobId !== null && jobs.value.has(shownJobId) ? shownJobId : jobsInOrder.value[0]?.id;
  shownJobId = namedJobId.value ?? stay ?? null;
  return shownJobId;
});
let shownJobId: string | null = null;
export const selectedJob = computed(() => jobs.value.get(selectedJobId.value ?? '') ?? null);

export const workersInOrder = computed(() =>
  [...workers.value.values()].sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id)),
);

export function addressOf(jobId: string): string {
  return `#/jobs/${encodeURIComponent(jobId)}`;
}

export function takeSnapshot(snapshot: { jobs: readonly JobView[]; workers: readonly WorkerView[] }): void {
  jobs.value = new Map(snapshot.jobs.map((job) => [job.id, job]));
  workers.value = new Map(snapshot.workers.map((worker) => [worker.id, { ...worker, heardAt: Date.now() }]));
  loaded.value = true;
}

/** A job or worker as it is now, or that it is gone. */
export function takeJob(view: JobView | { id: string; gone: true }): void {
  const next = new Map(jobs.value);
  if ('gone' in view) {
    next.delete(view.id);
  } else {
    next.set(view.id, view);
  }
  jobs.value = next;
}

export function takeWorker(view: WorkerView | { id: string; gone: true }): void {
  const next = new Map(workers.value);
  if ('gone' in view) {
    next.delete(view.id);
  } else {
    next.set(view.id, { ...view, heardAt: Date.now() });
  }
  workers.value = next;
}

/** Points that came live; those of other jobs are of no use here. */
export function takePoints(jobId: string, series: SeriesMap): void {
  const known = curves.value;
  if (known !== null && known.jobId === jobId) {
    curves.value = { ...known, series: mergeSeries(known.series, series) };
  }
}
