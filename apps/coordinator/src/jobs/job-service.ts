// All jobs: takes them in, lets as many train as may, and keeps their records true. Owns every change of a job's state;
// refuses to know how one job trains (job-run.ts) and who asks (http/).
import { join } from 'node:path';
import { trainCountOf } from '#model/job-spec-defaults.js';
import { datasetWithoutClasses, resolveJobSpec } from '#model/job-spec.js';
import { NotFoundError, StateConflictError, UnavailableError } from '../errors.js';
import { auditOnThread } from '../training/audit-file.js';
import { coordinatorProblem } from './admission.js';
import { recordsBetween, storedMetrics } from './job-files.js';
import { checkpointFilePath, listCheckpointViews } from './checkpoint-views.js';
import { checkWeights, followWeights } from './initial-weights.js';
import { JobRun, type JobRunServices } from './job-run.js';
import { timelineOf } from './job-timeline.js';
import { reachedBy, turnText, viewOf } from './job-views.js';
import { isEnded, mayAct, mayFollow, statesFor } from './job-states.js';
import { newRecord, withDataset } from './new-record.js';
import type { JobRecord } from './job-store.js';
import { tableAmong } from './kernel-choice.js';
import { stateAfter } from './state-after.js';
import type { ChromeTrace } from '../telemetry/chrome-trace.js';
import type { SpanRequests } from '../workers/span-requests.js';
import type { AuditReport, CheckpointView, JobAction, JobsPort, JobState, JobView, SeriesPoints } from './ports.js';

/** What could not be written to a full disk is tried again this often, milliseconds. */
const saveAgainMs = 2000;
/** Views of running jobs go out at most this often, milliseconds. */
const publishEveryMs = 250;

export interface JobServiceOptions {
  readonly maxRunningJobs: number;
  readonly services: JobRunServices;
  /** Workers' parts of timelines. */
  readonly spanRequests: SpanRequests;
  /** Told of what can only be a bug: nothing is certain any more. */
  readonly onDefect: (error: Error) => void;
}

/** The next class is the one with most workers then; what another one committed since the checkpoint is taken back. */
const unpinned = {
  classId: null,
  numericsClass: null,
  note: null,
  kernels: null,
  probeChecksum: null,
  rollback: true,
} satisfies Partial<JobRecord>;

interface Job {
  record: JobRecord;
  run: JobRun | undefined;
  /** What the run is to end as, when it was stopped on purpose. */
  stopAs: JobState | undefined;
  /** Resolves when the run has ended and its state is kept. */
  ended: Promise<void>;
}

export class JobService implements JobsPort {
  readonly #options: JobServiceOptions;
  readonly #jobs = new Map<string, Job>();
  readonly #publishTimers = new Map<string, NodeJS.Timeout>();
  readonly #unsaved = new Set<Job>();
  #saveTimer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(options: JobServiceOptions) {
    this.#options = options;
  }

  /** Reads the jobs on disk; what was running goes on by itself. */
  start(): void {
    const { store, workers, log } = this.#options.services;
    const { records, problems } = store.load();
    for (const problem of problems) log.error(problem);
    // Whether a job has workers is part of what is shown of it.
    workers.listen({
      workerGone: () => this.#publishRunning(),
      workerChanged: () => undefined,
    });
    for (const record of records) {
      const job: Job = { record, run: undefined, stopAs: undefined, ended: Promise.resolve() };
      this.#jobs.set(record.id, job);
      // On the disk it stays what it is: both mean that it goes on by itself.
      if (record.state === 'running') job.record = { ...record, state: 'queued' };
    }
    this.#schedule();
  }

  /** Stops all training where it loses nothing; the jobs go on at the next start. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const running = [...this.#jobs.values()].filter(({ run }) => run !== undefined);
    for (const { run } of running) run?.stop();
    await Promise.all(running.map(({ ended }) => ended));
    for (const timer of this.#publishTimers.values()) clearTimeout(timer);
    clearTimeout(this.#saveTimer);
  }

  async submit(input: unknown, idempotencyKey: string | undefined): Promise<{ job: JobView; created: boolean }> {
    if (this.#stopping)
      throw new UnavailableError('The coordinator is stopping; submit the job again when it is back.');
    const known = this.#withKey(idempotencyKey);
    if (known !== undefined) return { job: this.#view(known), created: false };
    const { datasets, store } = this.#options.services;
    const given = followWeights(input, store.dataDir);
    const untold = datasetWithoutClasses(given);
    const spec = resolveJobSpec(given, untold && (await datasets.classesOf(untold)));
    datasets.check(spec);
    checkWeights(spec, store.dataDir);
    const trainCount = trainCountOf(spec.dataset) ?? (await datasets.trainCountOf(spec)) ?? 0;
    // The one with this key that came first while this one was looked at.
    const meanwhile = this.#withKey(idempotencyKey);
    if (meanwhile !== undefined) return { job: this.#view(meanwhile), created: false };
    const record = newRecord(store.newId(), spec, trainCount, idempotencyKey);
    this.#save(record);
    const job: Job = { record, run: undefined, stopAs: undefined, ended: Promise.resolve() };
    this.#jobs.set(record.id, job);
    this.#schedule();
    this.#publish(job);
    return { job: this.#view(job), created: true };
  }

  list({ state, limit, cursor }: { state?: JobState; limit: number; cursor?: string }): {
    jobs: JobView[];
    nextCursor: string | null;
  } {
    const newestFirst = [...this.#jobs.values()]
      .filter(
        ({ record }) => (state === undefined || record.state === state) && (cursor === undefined || record.id < cursor),
      )
      .toSorted((a, b) => (a.record.id < b.record.id ? 1 : -1));
    const page = newestFirst.slice(0, limit);
    const more = newestFirst.length > page.length;
    return { jobs: page.map((job) => this.#view(job)), nextCursor: more ? page.at(-1)!.record.id : null };
  }

  get(id: string): JobView {
    return this.#view(this.#job(id));
  }

  async act(id: string, action: JobAction, { repin = false } = {}): Promise<JobView> {
    const job = this.#job(id);
    const { state } = job.record;
    if (!mayAct(state, action)) {
      throw new StateConflictError(
        `Job ${id} is ${state}; only one that is ${statesFor(action)} can do that (${action}).`,
      );
    }
    switch (action) {
      case 'pause':
        this.#stopAs(job, 'paused', 'It was paused.');
        break;
      case 'cancel':
        this.#stopAs(job, 'cancelled', null);
        break;
      case 'resume':
        this.#change(job, { state: 'queued', reason: null, ...(repin ? unpinned : {}) });
        // The run that was told to stop may still be at it: its end is now a new beginning.
        job.stopAs = undefined;
        this.#schedule();
        break;
      case 'checkpoint':
        job.run?.trainer?.wantCheckpoint();
    }
    return this.#view(job);
  }

  async remove(id: string): Promise<void> {
    const job = this.#job(id);
    if (!isEnded(job.record.state)) throw new StateConflictError(`Job ${id} is ${job.record.state}; cancel it first.`);
    await job.ended;
    this.#jobs.delete(id);
    this.#unsaved.delete(job);
    clearTimeout(this.#publishTimers.get(id));
    this.#publishTimers.delete(id);
    this.#options.services.store.remove(id);
    this.#options.services.hub.publish('job', id, { id, gone: true });
  }

  async metrics(
    id: string,
    series: readonly string[] | undefined,
    maxPoints: number,
  ): Promise<Record<string, SeriesPoints>> {
    const live = this.#job(id).run?.metrics;
    return (
      live?.read(series, maxPoints) ?? storedMetrics(this.#options.services.store.metricsOf(id), series, maxPoints)
    );
  }

  ledger(id: string, from = 0, to = Number.POSITIVE_INFINITY): AsyncIterable<object> {
    this.#job(id);
    return recordsBetween(this.#options.services.store.ledgerOf(id), from, to);
  }

  async audit(id: string): Promise<AuditReport> {
    const job = this.#job(id);
    const { spec, trainCount } = job.record;
    const path = this.#options.services.store.ledgerOf(id);
    return auditOnThread({ path, version: this.#view(job).step, training: spec.training, trainCount });
  }

  async timeline(id: string, from: number, to: number): Promise<ChromeTrace> {
    this.#job(id);
    const { services, spanRequests } = this.#options;
    return timelineOf({ own: services.spans, workers: spanRequests }, id, from, to);
  }

  async checkpoints(id: string): Promise<CheckpointView[]> {
    this.#job(id);
    return listCheckpointViews(this.#options.services.store.checkpointsOf(id));
  }

  async checkpointFile(id: string, step: number, name: string): Promise<string> {
    this.#job(id);
    return checkpointFilePath(this.#options.services.store.checkpointsOf(id), step, name);
  }

  // ---- States ----

  /** Starts queued jobs while there is room: higher priority first, then the older. */
  #schedule(): void {
    if (this.#stopping) return;
    let room = this.#options.maxRunningJobs - this.#runCount();
    const queued = [...this.#jobs.values()]
      .filter((job) => job.record.state === 'queued' && job.run === undefined && this.#unfit(job) === undefined)
      .toSorted((a, b) => b.record.spec.priority - a.record.spec.priority || (a.record.id < b.record.id ? -1 : 1));
    for (const job of queued) {
      if (room <= 0) return;
      room -= 1;
      this.#launch(job);
    }
  }

  #runCount(): number {
    return [...this.#jobs.values()].filter(({ run }) => run !== undefined).length;
  }

  #launch(job: Job): void {
    const begun = { ...job.record, lineage: job.record.lineage + 1 };
    try {
      this.#save(begun);
    } catch (error) {
      // Without its number on the disk, the tasks of this run could not be told from those of a later one.
      const reason = `${(error as Error).message}. Make room, then resume the job.`;
      return this.#change(job, { state: 'paused', reason }, 'when it can be');
    }
    job.record = begun;
    // A run that was told to stop may still be at it when the next one has begun: it changes nothing any more.
    const present = (): boolean => job.run === run && !run.stopped;
    const run = new JobRun(job.record, this.#options.services, {
      knownKernels: (classId) =>
        tableAmong(
          [...this.#jobs.values()].toReversed().map(({ record }) => record),
          classId,
          job.record.spec,
        ),
      onPinned: (pinned) => {
        if (!present()) return;
        const startedAt = job.record.startedAt ?? new Date().toISOString();
        this.#change(job, { state: 'running', ...pinned, startedAt });
      },
      onDataset: (dataset) => {
        if (present()) this.#change(job, withDataset(job.record, dataset));
      },
      onOpened: () => {
        if (present() && job.record.rollback) this.#change(job, { rollback: false });
      },
      onProbe: (probeChecksum) => {
        if (present()) this.#change(job, { probeChecksum }, 'when it can be');
      },
      onProgress: () => this.#publishSoon(job),
    });
    job.run = run;
    job.stopAs = undefined;
    job.ended = run
      .run()
      .then(
        (outcome) => this.#ended(job, outcome === 'completed' ? 'completed' : (job.stopAs ?? 'queued'), undefined),
        (error: Error) => this.#ended(job, undefined, error),
      )
      .catch((error: Error) => this.#options.onDefect(error));
  }

  /** The run is over: what it reached is kept with the state that follows. */
  #ended(job: Job, state: JobState | undefined, error: Error | undefined): void {
    const reached = reachedBy(job.record, job.run);
    job.run = undefined;
    const change: Partial<JobRecord> = { reached };
    if (error === undefined) change.state = state!;
    else Object.assign(change, this.#stateAfter(job, error));
    if (change.state !== undefined && isEnded(change.state)) change.endedAt = new Date().toISOString();
    this.#change(job, change, 'when it can be');
    this.#schedule();
  }

  #stateAfter(job: Job, error: Error): Partial<JobRecord> {
    const { log } = this.#options.services;
    const { id } = job.record;
    if (job.stopAs === 'cancelled') return { state: 'cancelled' };
    const after = stateAfter(error);
    if (after.state === 'paused') {
      if (after.refusedBySystem) log.warn({ job: id, err: error }, 'A job pauses, as the system refused something.');
      else log.warn({ job: id }, error.message);
      return { state: after.state, reason: after.reason };
    }
    if (after.defect) log.error({ job: id, err: error }, 'A job failed by a defect of Lockstep.');
    else log.error({ job: id }, error.message);
    return { state: after.state, error: after.error };
  }

  #stopAs(job: Job, state: 'paused' | 'cancelled', reason: string | null): void {
    const endedAt = state === 'cancelled' ? new Date().toISOString() : null;
    this.#change(job, { state, reason, endedAt });
    job.stopAs = state;
    job.run?.stop();
    this.#schedule();
  }

  /** @param saved `now`: throws where it cannot be kept; `when it can be`: what has happened is so, whatever the disk says */
  #change(job: Job, change: Partial<JobRecord>, saved: 'now' | 'when it can be' = 'now'): void {
    const before = job.record.state;
    const after = change.state ?? before;
    // The request came first (a pause, say); what the run then ends as is known already.
    if (after !== before && !mayFollow(before, after)) {
      if (!isEnded(before) && before !== 'paused') throw new Error(`A job that is ${before} cannot become ${after}.`);
      change = { reached: change.reached ?? job.record.reached };
    }
    const record = { ...job.record, ...change };
    if (saved === 'now') this.#save(record);
    job.record = record;
    if (saved !== 'now') this.#saveSoon(job);
    this.#publish(job);
  }

  /** Saves the job's record now or, where the disk refuses, again and again until it does not. */
  #saveSoon(job: Job): void {
    try {
      this.#save(job.record);
      this.#unsaved.delete(job);
    } catch (error) {
      if (!this.#unsaved.has(job)) this.#options.services.log.error({ job: job.record.id }, (error as Error).message);
      this.#unsaved.add(job);
      this.#saveTimer ??= setTimeout(() => {
        this.#saveTimer = undefined;
        for (const waiting of [...this.#unsaved]) this.#saveSoon(waiting);
      }, saveAgainMs).unref();
    }
  }

  #save(record: JobRecord): void {
    const { store } = this.#options.services;
    try {
      store.save(record);
    } catch (error) {
      throw new UnavailableError(
        `The job cannot be kept in ${join(store.folderOf(record.id), 'job.json')}: ${(error as Error).message}`,
        {
          cause: error,
        },
      );
    }
  }

  // ---- Views ----

  #view({ record, run }: Job): JobView {
    return viewOf(record, run, this.#unfit({ record }) ?? this.#turn());
  }

  /** Why a job cannot be trained here, whatever else runs. */
  #unfit({ record }: Pick<Job, 'record'>): string | undefined {
    return coordinatorProblem(record.spec, record.trainCount || record.spec.training.batchSize, this.#options.services);
  }

  #turn(): string {
    return turnText({ stopping: this.#stopping, running: this.#runCount() });
  }

  #publish(job: Job): void {
    clearTimeout(this.#publishTimers.get(job.record.id));
    this.#publishTimers.delete(job.record.id);
    this.#options.services.hub.publish('job', job.record.id, this.#view(job));
  }

  #publishRunning(): void {
    for (const job of this.#jobs.values()) if (job.run !== undefined) this.#publishSoon(job);
  }

  #publishSoon(job: Job): void {
    const { id } = job.record;
    if (this.#publishTimers.has(id)) return;
    this.#publishTimers.set(id, setTimeout(() => this.#publish(job), publishEveryMs).unref());
  }

  #job(id: string): Job {
    const job = this.#jobs.get(id);
    if (job === undefined) throw new NotFoundError(`There is no job ${id}; \`npx lockstep jobs\` lists them.`);
    return job;
  }

  #withKey(key: string | undefined): Job | undefined {
    return key === undefined ? undefined : [...this.#jobs.values()].find(({ record }) => record.idempotencyKey === key);
  }
}
