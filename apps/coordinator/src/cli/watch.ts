// Follows one job to its end: its views as they change, shown as progress.
// Refuses to know who asked and what becomes of the job afterwards.
import type { JobView } from '../jobs/ports.js';
import { type Api, CoordinatorUnreachable } from './api.js';
import { serverEvents } from './events.js';
import { evaluationText, hasEnded, progressLine } from './progress.js';
import type { StatusLine } from './status-line.js';

/**
 * The job as it is now, then each time that it changes, ending after the view in which it has ended or when `signal` aborts.
 * Streams that break are opened again; throws what the coordinator refuses, and after two minutes without it.
 */
export async function* jobViews(
  api: Api,
  id: string,
  signal: AbortSignal,
  onLost?: () => void,
): AsyncGenerator<JobView, void, undefined> {
  const path = `/jobs/${encodeURIComponent(id)}/events`;
  const source = {
    open: (lastEventId: string | undefined, opened: AbortSignal) => api.openEvents(path, lastEventId, opened),
  };
  for await (const event of serverEvents(source, { signal, onLost: () => onLost?.() })) {
    const view = event.type === 'job' ? (JSON.parse(event.data) as JobView) : undefined;
    // A fresh connection or snapshot: what happened in between is in the job itself.
    const looksAfresh = event.type === 'connected' || event.type === 'snapshot';
    if (view === undefined ? !looksAfresh : view.id !== id) {
      continue;
    }
    const job = view ?? (await presentJob(api, id));
    if (job === undefined) {
      continue;
    }
    yield job;
    if (hasEnded(job)) {
      return;
    }
  }
}

/** Undefined when the coordinator went away meanwhile: the stream notices too, and connects again. */
async function presentJob(api: Api, id: string): Promise<JobView | undefined> {
  try {
    return await api.job(id);
  } catch (error) {
    if (error instanceof CoordinatorUnreachable) {
      return undefined;
    }
    throw error;
  }
}

/** Shows the job on `line` until it has ended; undefined when `signal` aborted before. */
export async function watchJob(
  api: Api,
  id: string,
  line: StatusLine,
  signal: AbortSignal,
): Promise<JobView | undefined> {
  let evaluatedAt: number | undefined;
  let first = true;
  let explained: JobView['state'] | undefined;
  const lost = (): void => line.note('The coordinator does not answer; waiting for it to come back.');
  for await (const job of jobViews(api, id, signal, lost)) {
    if (first) {
      // An evaluation from before we looked is no news.
      evaluatedAt = hasEnded(job) ? undefined : job.test?.step;
      first = false;
    }
    line.update(() => progressLine(job, line.width));
    // The bar has no room for a whole reason: it stands above, once for each time that the job does not go on.
    if (line.isTerminal && job.reason !== null && explained !== job.state) {
      line.note(`${job.state}: ${job.reason}`);
    }
    explained = job.reason === null ? undefined : job.state;
    const evaluation = evaluationText(job);
    if (evaluation !== undefined && job.test?.step !== evaluatedAt) {
      evaluatedAt = job.test?.step;
      line.note(evaluation);
    }
    if (hasEnded(job)) {
      line.end();
      return job;
    }
  }
  line.end();
  return undefined;
}
