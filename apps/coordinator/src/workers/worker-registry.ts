// The live workers: who they are, their sessions, what they did. Knows no gRPC (a session is a function that sends)
// and no tasks: what a worker holds is the training's to know.
import { randomBytes } from 'node:crypto';
import type { ImageCounts, NumericsClass, SessionResponse } from '#proto/generated/lockstep/v1/pool.js';
import { NotFoundError } from '../errors.js';
import type { WorkerView } from '../jobs/ports.js';
import { classIdOf, describeClass } from './numerics-class.js';

type Message = NonNullable<SessionResponse['message']>;

/** Task times kept per worker, for its percentiles. */
const keptTimes = 200;
/** Names of gone workers that are remembered. */
const keptNames = 10_000;
/** A worker that registered must open its session within this, milliseconds. */
const sessionWithinMs = 10_000;

export interface NewWorker {
  readonly name: string;
  readonly numericsClass: NumericsClass;
  readonly memoryBytes: number;
  readonly pid: number;
}

export interface HeartbeatReport {
  readonly progress: number;
  /** Such as "train task 1 of step 12 of job J"; null when the compute thread waits. */
  readonly computing: string | null;
  readonly residentBytes: number;
  readonly tensors: number;
  /** Undefined from a worker that does not tell. */
  readonly images?: ImageCounts | undefined;
}

const noImages = { images: 0, seconds: 0, cacheHits: 0, starvedSeconds: 0 } as const;

/** A worker from its registration to the end of its session. */
export class PoolWorker {
  readonly id: string;
  readonly name: string;
  readonly classId: string;
  readonly description: string;
  readonly device: string;
  readonly memoryBytes: number;
  /** Of a CPU, as Linux names them; none for other devices. */
  readonly instructionSets: readonly string[];
  readonly connectedAt = new Date();
  state: 'active' | 'hung' | 'draining' = 'active';
  send: ((message: Message) => void) | undefined;
  heartbeat: HeartbeatReport = { progress: 0, computing: null, residentBytes: 0, tensors: 0 };
  heartbeatAt: number;
  /** When the progress counter last moved, or computing began, milliseconds. */
  progressAt: number;
  /** When the compute thread was last heard to be at work, milliseconds. */
  computedAt: number;
  accepted = 0;
  readonly refused = new Map<string, number>();
  readonly taskTimes: { seconds: number; samples: number }[] = [];

  constructor(worker: NewWorker, now: number) {
    this.id = `w-${randomBytes(5).toString('hex')}`;
    this.name = worker.name;
    this.classId = classIdOf(worker.numericsClass);
    this.description = describeClass(worker.numericsClass);
    const { deviceKind, deviceModel, threads } = worker.numericsClass;
    this.device = `${deviceKind} ${deviceModel} (${threads} ${threads === 1 ? 'thread' : 'threads'})`;
    this.memoryBytes = worker.memoryBytes;
    this.instructionSets = deviceKind === 'cpu' ? worker.numericsClass.instructionSet.split(',') : [];
    this.heartbeatAt = now;
    this.progressAt = now;
    this.computedAt = now;
  }

  noteTask(seconds: number, samples: number): void {
    this.accepted += 1;
    this.taskTimes.push({ seconds, samples });
    if (this.taskTimes.length > keptTimes) this.taskTimes.shift();
  }

  noteRefusal(reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }
}

export interface RegistryListener {
  /** A worker's session began, or something about it changed. */
  workerChanged(worker: PoolWorker): void;
  /** Its session ended: whatever it held is free. */
  workerGone(worker: PoolWorker): void;
}

export class WorkerRegistry {
  readonly #workers = new Map<string, PoolWorker>();
  readonly #listeners: RegistryListener[] = [];
  readonly #arrivals = new Set<() => void>();
  /** By id, gone workers' too: what they did is often written down after their end. */
  readonly #names = new Map<string, string>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  listen(listener: RegistryListener): void {
    this.#listeners.push(listener);
  }

  register(worker: NewWorker): PoolWorker {
    const added = new PoolWorker(worker, this.#now());
    this.#workers.set(added.id, added);
    this.#names.set(added.id, added.name);
    const [oldest] = this.#names.keys();
    if (this.#names.size > keptNames && oldest !== undefined) this.#names.delete(oldest);
    setTimeout(() => {
      if (added.send === undefined) this.#workers.delete(added.id);
    }, sessionWithinMs).unref();
    return added;
  }

  /** A registered worker opened its session. Undefined when its id is unknown. */
  connect(id: string, send: (message: Message) => void): PoolWorker | undefined {
    const worker = this.#workers.get(id);
    if (worker === undefined) return undefined;
    worker.send = send;
    this.#changed(worker);
    for (const arrived of [...this.#arrivals]) arrived();
    return worker;
  }

  disconnect(worker: PoolWorker): void {
    if (!this.#workers.delete(worker.id)) return;
    worker.send = undefined;
    for (const listener of this.#listeners) listener.workerGone(worker);
  }

  heartbeat(worker: PoolWorker, report: HeartbeatReport): void {
    const now = this.#now();
    const moved = report.progress !== worker.heartbeat.progress || report.computing !== worker.heartbeat.computing;
    if (moved || report.computing === null) {
      worker.progressAt = now;
      if (worker.state === 'hung') worker.state = 'active';
    }
    if (report.computing !== null) worker.computedAt = now;
    worker.heartbeat = report;
    worker.heartbeatAt = now;
    this.#changed(worker);
  }

  /** For people, of workers that are gone too; the id itself where it is not known. */
  nameOf(id: string): string {
    return this.#names.get(id) ?? id;
  }

  get(id: string): PoolWorker | undefined {
    return this.#workers.get(id);
  }

  /** Resolves when a worker's session begins, or the signal is aborted. */
  someoneCame(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#arrivals.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#arrivals.add(done);
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }

  /** Workers with an open session, optionally of one class. */
  connected(classId?: string): PoolWorker[] {
    return [...this.#workers.values()].filter(
      (worker) => worker.send !== undefined && (classId === undefined || worker.classId === classId),
    );
  }

  /** Those of a class that take tasks. */
  active(classId?: string): PoolWorker[] {
    return this.connected(classId).filter(({ state }) => state === 'active');
  }

  /** The class with most connected workers that fit, by one of them; ties go to the one that came first. */
  largestClass(fits: (worker: PoolWorker) => boolean): PoolWorker | undefined {
    const counts = new Map<string, { count: number; first: PoolWorker }>();
    for (const worker of this.connected()) {
      if (worker.state === 'draining' || !fits(worker)) continue;
      const known = counts.get(worker.classId);
      if (known === undefined) counts.set(worker.classId, { count: 1, first: worker });
      else known.count += 1;
    }
    const [largest] = [...counts.values()].toSorted((one, other) => other.count - one.count);
    return largest?.first;
  }

  drain(id: string): WorkerView {
    const worker = this.#workers.get(id);
    if (worker?.send === undefined)
      throw new NotFoundError(`There is no worker ${id}; \`npx lockstep workers\` lists them.`);
    worker.state = 'draining';
    worker.send({ $case: 'drain', value: {} });
    this.#changed(worker);
    return this.view(worker);
  }

  /** Tells every worker of a job's end. */
  endJob(jobId: string): void {
    for (const worker of this.connected()) worker.send?.({ $case: 'endJob', value: { jobId } });
  }

  /** By name, so that a table keeps its order whoever joins again first. */
  list(): WorkerView[] {
    const byName = this.connected().toSorted((one, other) =>
      one.name.localeCompare(other.name, 'en', { numeric: true }),
    );
    return byName.map((worker) => this.view(worker));
  }

  view(worker: PoolWorker): WorkerView {
    const times = worker.taskTimes.map(({ seconds }) => seconds).toSorted((a, b) => a - b);
    const seconds = times.reduce((sum, time) => sum + time, 0);
    const samples = worker.taskTimes.reduce((sum, task) => sum + task.samples, 0);
    return {
      id: worker.id,
      name: worker.name,
      device: worker.device,
      classId: worker.classId,
      numericsClass: worker.description,
      state: worker.state,
      currentTask: worker.heartbeat.computing,
      imagesPerSecond: seconds > 0 ? samples / seconds : null,
      stepSecondsP50: percentile(times, 0.5),
      stepSecondsP95: percentile(times, 0.95),
      accepted: worker.accepted,
      refused: Object.fromEntries(worker.refused),
      heartbeatAgeSeconds: Math.max(0, (this.#now() - worker.heartbeatAt) / 1000),
      residentBytes: worker.heartbeat.residentBytes,
      images: worker.heartbeat.images ?? noImages,
      tensors: worker.heartbeat.tensors,
      connectedAt: worker.connectedAt.toISOString(),
    };
  }

  /** Says that a worker's counters or state moved. */
  changed(worker: PoolWorker): void {
    this.#changed(worker);
  }

  #changed(worker: PoolWorker): void {
    for (const listener of this.#listeners) listener.workerChanged(worker);
  }
}

function percentile(sorted: readonly number[], share: number): number | null {
  if (sorted.length === 0) return null;
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
}
