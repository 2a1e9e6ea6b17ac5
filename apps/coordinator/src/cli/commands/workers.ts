// `workers` and `drain`: who is in the pool.
// Refuses to know how workers come and go.
import type { WorkerView } from '../../jobs/ports.js';
import type { Api } from '../api.js';
import type { ClientOptions } from '../client-verbs.js';
import { exitCodes } from '../exit.js';
import { formatCount, formatDuration, formatRate } from '../format.js';
import { outputWidth, printJson, printLines, tell } from '../output.js';
import { type Column, renderTable } from '../table.js';

const columns: readonly Column[] = [
  { title: 'ID' },
  { title: 'NAME', shrinkTo: 8 },
  { title: 'STATE' },
  { title: 'TASK', shrinkTo: 10 },
  { title: 'IMAGES/S', align: 'right' },
  { title: 'P50', align: 'right' },
  { title: 'P95', align: 'right' },
  { title: 'ACCEPTED', align: 'right' },
  { title: 'REFUSED', align: 'right' },
  { title: 'SEEN', align: 'right' },
  { title: 'CLASS' },
  { title: 'DEVICE', shrinkTo: 10 },
];

export async function listWorkers(api: Api, options: ClientOptions): Promise<number> {
  const workers = await api.workers();
  if (options.json === true) {
    printJson({ workers });
    return exitCodes.good;
  }
  printLines(renderTable(columns, workers.map(rowOf), outputWidth()));
  if (workers.length === 0) {
    tell('No workers. Start one with: npx lockstep worker');
  }
  return exitCodes.good;
}

function rowOf(worker: WorkerView): string[] {
  return [
    worker.id,
    worker.name,
    worker.state,
    worker.currentTask ?? 'idle',
    formatRate(worker.imagesPerSecond),
    formatDuration(worker.stepSecondsP50),
    formatDuration(worker.stepSecondsP95),
    formatCount(worker.accepted),
    formatCount(Object.values(worker.refused).reduce((sum, count) => sum + count, 0)),
    `${formatDuration(worker.heartbeatAgeSeconds)} ago`,
    worker.classId,
    worker.device,
  ];
}

export async function drainWorker(api: Api, worker: string, options: ClientOptions): Promise<number> {
  const answer = await api.drain(worker);
  if (options.json === true) {
    printJson(answer ?? { id: worker, state: 'draining' });
  } else {
    tell(`Worker ${worker} finishes its task and leaves.`);
  }
  return exitCodes.good;
}
