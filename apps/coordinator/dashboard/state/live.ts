// Feeds the store from the coordinator: one event stream for everything, and the curves of whichever job is selected.
// Refuses to know how anything looks.
import { effect } from '@preact/signals';
import type { JobView, WorkerView } from '../../src/jobs/ports.js';
import { getJson, request, token } from './api.js';
import { EventStream } from './event-stream.js';
import { isOfLayer, mergeSeries, type SeriesMap } from './series.js';
import type { ServerSentEvent } from './sse-parser.js';
import * as store from './store.js';

/** What the curves show; the heat map has the series per layer, and the others are for the API. */
const SHOWN_SERIES = [
  'train/loss',
  'test/loss',
  'train/top1',
  'test/top1',
  'learning_rate',
  'gradient/norm',
  'throughput/images_per_second',
  'step/seconds',
  'step/wait_seconds',
];
const MAX_POINTS = 2000;
/** Of each layer's series: a column of the heat map shows the mean of its points. */
const MAX_POINTS_PER_LAYER = 300;

const stream = new EventStream({
  open: (headers, signal) => request('/events', { headers, signal }),
  onEvent: take,
  onStatus: (status) => {
    store.streamStatus.value = status;
  },
});

/** Starts everything; it goes on as long as the page lives. */
export function goLive(): void {
  void stream.run(new AbortController().signal);
  setInterval(() => {
    store.now.value = Date.now();
  }, 1000);
  effect(() => {
    const jobId = store.selectedJobId.value;
    if (jobId !== null) {
      void loadCurves(jobId);
    }
  });
  effect(() => {
    const jobId = store.namedJobId.value;
    if (store.loaded.value && jobId !== null && !store.jobs.peek().has(jobId)) {
      void loadJob(jobId);
    }
  });
  let usedToken = token.value;
  effect(() => {
    if (token.value !== usedToken) {
      usedToken = token.value;
      stream.retryNow();
    }
  });
  addEventListener('online', retryNow);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) {
      retryNow();
    }
  });
}

export function retryNow(): void {
  stream.retryNow();
}

function take(event: ServerSentEvent): void {
  const data: unknown = JSON.parse(event.data);
  switch (event.type) {
    case 'snapshot': {
      store.takeSnapshot(data as { jobs: JobView[]; workers: WorkerView[] });
      const known = store.curves.peek();
      if (known !== null && known.state !== 'loading') {
        void loadCurves(known.jobId);
      }
      break;
    }
    case 'job':
      store.takeJob(data as JobView | { id: string; gone: true });
      break;
    case 'worker':
      store.takeWorker(data as WorkerView | { id: string; gone: true });
      break;
    case 'points': {
      const { jobId, series } = data as { jobId: string; series: SeriesMap };
      store.takePoints(jobId, series);
      break;
    }
    default:
      console.debug('An event of an unknown type:', event.type);
  }
}

/** A job that the address names, but the snapshot (the newest jobs) does not hold. */
async function loadJob(jobId: string): Promise<void> {
  try {
    store.takeJob(await getJson<JobView>(`/jobs/${encodeURIComponent(jobId)}`));
  } catch (error) {
    // The page says by itself that there is no such job.
    console.debug('The job could not be fetched:', error);
  }
}

/** Fetches the selected job's curves; points that come live meanwhile are merged on top. */
async function loadCurves(jobId: string): Promise<void> {
  const known = store.curves.peek();
  if (known?.jobId !== jobId) {
    store.curves.value = { jobId, state: 'loading', series: {} };
  }
  const fetchSeries = async (query: Record<string, string>): Promise<SeriesMap> => {
    const path = `/jobs/${encodeURIComponent(jobId)}/metrics?${new URLSearchParams(query).toString()}`;
    return (await getJson<{ series: SeriesMap }>(path)).series;
  };
  try {
    // Which layers there are, only the answer tells: it is asked for everything, thinned.
    const [shown, all] = await Promise.all([
      fetchSeries({ series: SHOWN_SERIES.join(','), maxPoints: String(MAX_POINTS) }),
      fetchSeries({ maxPoints: String(MAX_POINTS_PER_LAYER) }),
    ]);
    const layers = Object.fromEntries(Object.entries(all).filter(([name]) => isOfLayer(name)));
    const meanwhile = store.curves.peek();
    if (meanwhile?.jobId === jobId) {
      const series = mergeSeries(meanwhile.series, { ...shown, ...layers });
      store.curves.value = { jobId, state: 'loaded', series };
    }
  } catch (error) {
    console.debug('Curves could not be fetched:', error);
    const meanwhile = store.curves.peek();
    if (meanwhile?.jobId === jobId && meanwhile.state === 'loading') {
      store.curves.value = { ...meanwhile, state: 'failed' };
    }
  }
}
