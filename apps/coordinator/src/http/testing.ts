// In-memory ports and a started application, for the specs of this folder.
// Refuses to be part of the running system.
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveJobSpec } from '#model/job-spec.js';
import { pino } from 'pino';
import { loadConfig } from '../config.js';
import type { CoordinatorConfig } from '../config.js';
import { NotFoundError, StateConflictError } from '../errors.js';
import type { JobAction, JobsPort, JobState, JobView, SeriesPoints, WorkersPort, WorkerView } from '../jobs/ports.js';
import { type ChromeTrace, chromeTrace } from '../telemetry/chrome-trace.js';
import { EventHub } from '../telemetry/event-hub.js';
import { closeHttp, createHttpApplication, listenHttp } from './application.js';
import type { HttpPorts } from './application.js';

const time = '2026-01-02T03:04:05.000Z';
export const smallSpec = {
  model: { architecture: 'resnet8', classes: 10 },
  dataset: { kind: 'synthetic', classes: 10, imageSize: 32, size: 256 },
};

export function jobView(id: string, changes: Partial<JobView> = {}): JobView {
  return {
    id,
    name: `job ${id}`,
    state: 'running',
    step: 3,
    totalSteps: 10,
    epoch: 0,
    version: 3,
    loss: 2.25,
    top1: 0.125,
    test: { step: 2, loss: 2.3, top1: 0.1, top5: 0.5 },
    imagesPerSecond: 100.5,
    etaSeconds: 12,
    workers: ['one'],
    parametersSha256: 'a'.repeat(64),
    stateSha256: 'b'.repeat(64),
    checkpoint: { step: 0, path: 'jobs/x/checkpoints/step-00000000' },
    numericsClass: 'tensorflow 2.21.0',
    kernels: null,
    usefulWorkers: 4,
    parameterCount: 75_000,
    note: null,
    reason: null,
    error: null,
    spec: resolveJobSpec(smallSpec),
    createdAt: time,
    startedAt: time,
    endedAt: null,
    ...changes,
  };
}

export function workerView(id: string, changes: Partial<WorkerView> = {}): WorkerView {
  return {
    id,
    name: `worker-${id}`,
    device: 'cpu',
    classId: 'c1',
    numericsClass: 'tensorflow 2.21.0',
    state: 'active',
    currentTask: null,
    imagesPerSecond: 50,
    stepSecondsP50: 0.2,
    stepSecondsP95: 0.3,
    accepted: 7,
    refused: { duplicate: 2 },
    heartbeatAgeSeconds: 0.5,
    residentBytes: 1_000_000,
    images: { images: 640, seconds: 2.5, cacheHits: 12, starvedSeconds: 0.25 },
    tensors: 12,
    connectedAt: time,
    ...changes,
  };
}

/** Jobs in a map. `act` takes what a running job allows; everything else is a conflict. */
export class FakeJobs implements JobsPort {
  readonly jobs = new Map<string, JobView>();
  readonly keys = new Map<string, string>();
  readonly ledgerEntries: object[] = [];
  /** How many ledger entries were asked for, and whether the reader ended the iteration. */
  ledgerRead = 0;
  ledgerClosed = false;
  ledgerFailsAfter = Infinity;
  lastMetrics: { series: readonly string[] | undefined; maxPoints: number } | undefined;
  checkpointDir = '';

  submit(spec: unknown, key: string | undefined): Promise<{ job: JobView; created: boolean }> {
    const known = key === undefined ? undefined : this.jobs.get(this.keys.get(key) ?? '');
    if (known !== undefined) return Promise.resolve({ job: known, created: false });
    const id = `job-${this.jobs.size + 1}`;
    return Promise.resolve().then(() => {
      const job = jobView(id, { spec: resolveJobSpec(spec), state: 'queued' });
      this.jobs.set(id, job);
      if (key !== undefined) this.keys.set(key, id);
      return { job, created: true };
    });
  }

  list(query: { state?: JobState; limit: number; cursor?: string }): { jobs: JobView[]; nextCursor: string | null } {
    const all = [...this.jobs.values()].filter((job) => query.state === undefined || job.state === query.state);
    const from = Number(query.cursor ?? 0);
    const to = from + query.limit;
    return { jobs: all.slice(from, to), nextCursor: to < all.length ? String(to) : null };
  }

  get(id: string): JobView {
    const job = this.jobs.get(id);
    if (job === undefined) throw new NotFoundError(`There is no job ${id}.`);
    return job;
  }

  async act(id: string, action: JobAction): Promise<JobView> {
    const job = this.get(id);
    if (job.state !== 'running') throw new StateConflictError(`Job ${id} is ${job.state}: it cannot ${action}.`);
    const changed = { ...job, state: action === 'pause' ? ('paused' as const) : job.state };
    this.jobs.set(id, changed);
    return changed;
  }

  async remove(id: string): Promise<void> {
    if (this.get(id).state === 'running') throw new StateConflictError(`Job ${id} is running: cancel it first.`);
    this.jobs.delete(id);
  }

  async metrics(
    id: string,
    series: readonly string[] | undefined,
    maxPoints: number,
  ): Promise<Record<string, SeriesPoints>> {
    this.get(id);
    this.lastMetrics = { series, maxPoints };
    return {
      'train/loss': [
        [0, 2.5],
        [1, 2.25],
      ] as const,
    };
  }

  async *ledger(id: string, from = 0, to = Infinity): AsyncGenerator<object> {
    this.get(id);
    try {
      for (const [index, entry] of this.ledgerEntries.entries()) {
        if (index >= this.ledgerFailsAfter) throw new Error('the disk said no');
        this.ledgerRead += 1;
        if (index >= from && index <= to) yield entry;
      }
    } finally {
      this.ledgerClosed = true;
    }
  }

  async audit(id: string) {
    this.get(id);
    const counts = { expected: 256, committed: 256, excluded: 0, duplicated: 0, missing: 0 };
    return { clean: true, version: 3, ...counts, epochs: [{ epoch: 0, ...counts }], problems: [] };
  }

  async timeline(id: string, fromStep: number, toStep: number): Promise<ChromeTrace> {
    this.get(id);
    const spans = [{ jobId: id, step: fromStep, row: 'trainer', name: 'step', startMs: 5, endMs: 7 }];
    return chromeTrace([{ name: 'coordinator', spans }], { jobId: id, fromStep, toStep, notes: [] });
  }

  async checkpoints(id: string) {
    this.get(id);
    const hashes = { parametersSha256: 'a'.repeat(64), stateSha256: 'b'.repeat(64) };
    const files = [{ name: 'model.safetensors', bytes: 10 }];
    return [{ step: 0, epoch: 0, path: 'step-00000000', ...hashes, createdAt: time, files }];
  }

  async checkpointFile(id: string, step: number, name: string): Promise<string> {
    this.get(id);
    if (step !== 0) throw new NotFoundError(`Job ${id} has no checkpoint of step ${step}.`);
    return join(this.checkpointDir, name);
  }
}

export class FakeWorkers implements WorkersPort {
  readonly workers = new Map<string, WorkerView>([['w1', workerView('w1')]]);

  list(): WorkerView[] {
    return [...this.workers.values()];
  }

  drain(id: string): WorkerView {
    const worker = this.workers.get(id);
    if (worker === undefined) throw new NotFoundError(`There is no worker ${id}.`);
    return { ...worker, state: 'draining' };
  }
}

export interface TestApplication {
  readonly url: string;
  readonly config: CoordinatorConfig;
  readonly jobs: FakeJobs;
  readonly workers: FakeWorkers;
  readonly events: EventHub;
  /** What was logged, JSON lines. */
  readonly log: string[];
  /** Data folder with datasets/, dashboard/, checkpoint/ and the cache inside. */
  readonly directory: string;
  request(path: string, init?: RequestInit): Promise<Response>;
  stop(): Promise<void>;
}

/** A real application on a free port, with a made-up dashboard, dataset file and checkpoint. */
export async function startTestApplication(
  environment: NodeJS.ProcessEnv = {},
  changes: Partial<HttpPorts> = {},
): Promise<TestApplication> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-http-'));
  await writeTestFiles(directory);
  const config = loadConfig({
    LOCKSTEP_DATA_DIR: directory,
    LOCKSTEP_CACHE_DIR: join(directory, 'cache'),
    LOCKSTEP_HTTP_PORT: '0',
    ...environment,
  });
  const jobs = new FakeJobs();
  jobs.checkpointDir = join(directory, 'checkpoint');
  const workers = new FakeWorkers();
  const events = new EventHub();
  const log: string[] = [];
  const app = await createHttpApplication(config, {
    jobs,
    workers,
    events,
    readiness: { problems: async () => [] },
    logger: pino({ level: 'debug' }, { write: (line: string) => void log.push(line) }),
    version: '1.2.3',
    dashboardDir: join(directory, 'dashboard'),
    ...changes,
  });
  const url = await listenHttp(app, config);
  return {
    url,
    config,
    jobs,
    workers,
    events,
    log,
    directory,
    request: (path, init) => fetch(url + path, init),
    stop: async () => {
      await closeHttp(app, 1_000);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function writeTestFiles(directory: string): Promise<void> {
  const folders = ['dashboard/assets', 'datasets/flowers/train', 'checkpoint'].map((path) => join(directory, path));
  await Promise.all(folders.map((path) => mkdir(path, { recursive: true })));
  const files: Record<string, string> = {
    'dashboard/index.html': '<!doctype html><title>Lockstep</title>',
    'dashboard/favicon.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
    'dashboard/assets/app-1a2b.js': 'console.log(1)',
    'datasets/flowers/train/one.txt': '0123456789',
    'checkpoint/model.safetensors': 'abcdefghij',
    'secret.txt': 'secret',
  };
  await Promise.all(Object.entries(files).map(([path, text]) => writeFile(join(directory, path), text)));
}
