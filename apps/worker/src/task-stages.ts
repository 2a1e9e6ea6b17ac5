// The stages of a task as they really are: images and parameters, then computing and pushing at once, then the answer.
// Refuses to know slots and order; the pipeline calls, and claims are the session's.
import type { Logger } from 'pino';
import { blockElements } from '#proto/blocks.js';
import { unaryCall } from '#proto/calls.js';
import { Outcome, type ReportEvaluationResponse } from '#proto/generated/lockstep/v1/pool.js';
import { entryId, type TaskEntry, taskName, toWireKey } from '#proto/task-entry.js';
import { hostClockMs } from '#proto/host-clock.js';
import { pageAligned } from '#model/simd/page-aligned.js';
import type { SpanRing } from '#proto/span-ring.js';
import { WireError } from '#proto/wire-error.js';
import { abortableInput } from './abortable-input.js';
import { isLost } from './arrivals.js';
import type { Compute } from './compute-client.js';
import type { ComputeParameters, ComputeTotals } from './compute-protocol.js';
import { computeJobOf, type JobContext, type JobContexts } from './job-contexts.js';
import type { ParameterCache, ParameterLease } from './parameters.js';
import type { Stages } from './pipeline.js';
import type { PoolCaller, Slices } from './pool-caller.js';
import { Probes } from './probe.js';
import { contributionBuffers } from './contribution-buffers.js';
import { GradientPush } from './push.js';
import { SharedBuffers } from './shared-buffers.js';
import { StarvationClock } from './starvation.js';
import type { TaskInput } from './task-input.js';
import { delay, messageOf, type ReleaseReason, TaskFailure, unlessAborted, Withdrawn } from './withdrawal.js';

export interface StageServices {
  readonly workerId: string;
  readonly pool: PoolCaller;
  readonly slices: Slices;
  readonly jobs: JobContexts;
  readonly parameters: ParameterCache;
  readonly compute: Compute;
  readonly spans: SpanRing;
  readonly log: Logger;
  readonly release: (task: TaskEntry, reason: ReleaseReason, detail: string) => void;
}

export interface PreparedTask {
  readonly job: JobContext;
  readonly images: TaskInput;
  readonly parameters: ParameterLease;
}

/** One computing, one being prepared. */
const inputsAtOnce = 2;
/** One being computed, one on its way; what only waits for its answer needs none. */
const gradientsAtOnce = 2;
const reportDeadlineMs = 10_000;
const reportAttempts = 4;

export class TaskStages implements Stages<PreparedTask> {
  readonly #services: StageServices;
  readonly #inputs = new SharedBuffers(inputsAtOnce);
  /** Page by page, as the probe computes with a version that lies there. */
  readonly #gradients = new SharedBuffers(gradientsAtOnce, pageAligned);
  readonly #probes: Probes;
  readonly #starvation = new StarvationClock();
  /** Seconds that the last task of a kind and job took the compute thread. */
  readonly #lastSeconds = new Map<string, number>();
  /** Those that have no answer yet, by queue entry. */
  readonly #pushes = new Map<string, GradientPush>();
  #computing: { readonly kind: string; readonly startedMs: number } | undefined;

  constructor(services: StageServices) {
    this.#services = services;
    this.#probes = new Probes({ ...services, gradients: this.#gradients });
  }

  /** How long the compute thread waited for images, and for nothing else. */
  get starvedSeconds(): number {
    return this.#starvation.seconds;
  }

  /** How long the task that computes now will take from here, milliseconds; undefined when nothing tells. */
  get remainingMs(): number | undefined {
    if (this.#computing === undefined) return 0;
    const seconds = this.#lastSeconds.get(this.#computing.kind);
    return seconds && Math.max(0, seconds * 1000 - (performance.now() - this.#computing.startedMs));
  }

  async prepare(task: TaskEntry, signal: AbortSignal): Promise<PreparedTask> {
    const job = await unlessAborted(this.#services.jobs.of(task.key.jobId), signal);
    const { parameterCount, statisticCount, hash: layoutHash } = job.layout;
    const { jobId, lineage } = task.key;
    const { exactCount } = job;
    const request = { jobId, lineage, version: task.version, layoutHash, parameterCount, statisticCount, exactCount };
    // The pull goes on while images are made; whichever fails ends the other.
    const failed = new AbortController();
    const both = AbortSignal.any([signal, failed.signal]);
    const watch = this.#starvation.preparation();
    const [images, parameters] = await Promise.allSettled(
      [
        this.#noting(task, 'images', 'images', abortableInput(task, job, this.#inputs, both)),
        this.#noting(task, 'parameters', 'wait', this.#services.parameters.acquire(request, both)),
      ].map((part, index) => {
        const came = (): void => (index === 0 ? watch.images() : watch.parameters());
        part.then(came, (error: unknown) => failed.abort(error));
        return part;
      }) as [Promise<TaskInput>, Promise<ParameterLease>],
    );
    if (images.status === 'fulfilled' && parameters.status === 'fulfilled') {
      watch.done();
      // What fails is told to whoever waits for the whole version.
      void this.#noting(task, 'parameters', 'pull', parameters.value.whole).catch(() => undefined);
      return { job, images: images.value, parameters: parameters.value };
    }
    for (const part of [images, parameters]) if (part.status === 'fulfilled') part.value.release();
    throw signal.aborted ? signal.reason : failed.signal.reason;
  }

  /** The coordinator has this task's gradient, and has not decided on it yet. */
  pushHeld(id: string): void {
    this.#pushes.get(id)?.held();
  }

  discard(prepared: PreparedTask): void {
    prepared.images.release();
    prepared.parameters.release();
  }

  async compute(
    task: TaskEntry,
    prepared: PreparedTask,
    signal: AbortSignal,
    onUnwanted: () => void,
  ): Promise<{ delivery: Promise<void> }> {
    const kind = `${task.key.kind} ${task.key.jobId}`;
    this.#computing = { kind, startedMs: performance.now() };
    this.#starvation.computing();
    try {
      const run =
        task.key.kind === 'train'
          ? this.#train(task, prepared, signal, onUnwanted)
          : this.#evaluate(task, prepared, signal);
      const { totals, delivery } = await run;
      if (totals !== undefined) {
        this.#lastSeconds.set(kind, totals.computeSeconds);
        for (const { part, startMs, endMs } of totals.passes) this.#note(task, 'compute', part, startMs, endMs);
      }
      return { delivery };
    } finally {
      this.#computing = undefined;
      this.#starvation.idle();
      this.discard(prepared);
    }
  }

  release(task: TaskEntry, reason: ReleaseReason, detail: string): void {
    const about = { task: taskName(task.key), attempt: task.attempt, reason };
    if (reason === 'failed' || reason === 'no-parameters' || reason === 'undelivered')
      this.#services.log.warn({ ...about, detail }, 'task given back');
    else this.#services.log.debug(about, 'task handed back');
    this.#services.release(task, reason, detail);
  }

  async #train(
    task: TaskEntry,
    prepared: PreparedTask,
    signal: AbortSignal,
    onUnwanted: () => void,
  ): Promise<Computed> {
    const { job, images, parameters } = prepared;
    await this.#probes.pass(job, task.key.lineage, signal);
    const buffers = await contributionBuffers(job, this.#gradients, signal);
    const unwanted = new AbortController();
    const push = new GradientPush(this.#services.slices, {
      contribution: {
        workerId: this.#services.workerId,
        key: toWireKey(task.key),
        attempt: task.attempt,
        version: parameters.name,
        layoutHash: job.layout.hash,
      },
      gradient: buffers.gradient,
      statistics: buffers.statistics,
      task: taskName(task.key),
      signal,
    });
    // Not only with the answer: while others have yet to prove a contribution, this worker goes on.
    void push.sent.then(buffers.loan.release);
    const id = entryId(task.key, task.attempt);
    this.#pushes.set(id, push);
    const delivery = this.#deliver(task, push).finally(() => this.#pushes.delete(id));
    let firstFinalMs: number | undefined;
    void push.sent.then(() => {
      if (firstFinalMs === undefined) return;
      this.#note(task, 'send', 'send', firstFinalMs);
      void this.#noting(task, 'send', 'answer', push.answer).catch(() => undefined);
    });
    let computed = false;
    // Whether it was refused or broke off: computing on is of no use to anybody.
    const stopComputing = (): void => {
      if (computed) return;
      unwanted.abort(new Withdrawn());
      onUnwanted();
    };
    delivery.then(stopComputing, stopComputing);
    try {
      const computing = this.#services.compute.train(
        {
          job: computeJobOf(job),
          parameters: computeParametersOf(parameters),
          input: images.input,
          miniBatchSamples: task.miniBatchSamples,
          gradient: buffers.gradient,
          statistics: buffers.statistics,
          notifyElements: blockElements,
        },
        AbortSignal.any([signal, unwanted.signal]),
        (firstFinalElement) => {
          firstFinalMs ??= hostClockMs();
          push.advance(firstFinalElement);
        },
      );
      const { totals, pullSeconds } = await withWholeVersion(computing, parameters, signal);
      computed = true;
      firstFinalMs ??= hostClockMs();
      const { seconds: imagesSeconds, sampleIdsSha256 } = images;
      push.finish({ ...totals, sampleIdsSha256, imagesSeconds, pullSeconds });
      return { totals, delivery };
    } catch (error) {
      if (unwanted.signal.aborted && !signal.aborted) return { totals: undefined, delivery };
      push.abandon(error);
      await delivery.catch(() => undefined);
      throw error;
    }
  }

  async #deliver(task: TaskEntry, push: GradientPush): Promise<void> {
    try {
      const { outcome, detail } = await push.answer;
      this.#report(task, outcome, detail);
    } catch (error) {
      throw new TaskFailure(brokeOnTheWay(error) ? 'undelivered' : 'failed', messageOf(error), { cause: error });
    }
  }

  async #evaluate(task: TaskEntry, { job, images, parameters }: PreparedTask, signal: AbortSignal): Promise<Computed> {
    await this.#probes.pass(job, task.key.lineage, signal);
    const request = { job: computeJobOf(job), parameters: computeParametersOf(parameters), input: images.input };
    const computing = this.#services.compute.evaluate(request, signal);
    const { totals } = await withWholeVersion(computing, parameters, signal);
    const delivery = this.#noting(task, 'send', 'report', this.#reportEvaluation(task, totals, signal));
    return { totals, delivery };
  }

  async #reportEvaluation(task: TaskEntry, totals: ComputeTotals, signal: AbortSignal): Promise<void> {
    const { pool, workerId } = this.#services;
    const { samples, lossSum, top1Hits, top5Hits, computeSeconds } = totals;
    const found = { samples, lossSum, top1Hits, top5Hits, computeSeconds };
    const report = { workerId, key: toWireKey(task.key), attempt: task.attempt, ...found };
    const site = { call: 'Pool.ReportEvaluation', peer: pool.address, task: taskName(task.key) };
    for (let attempt = 1; ; attempt++) {
      try {
        const limits = { deadlineMs: reportDeadlineMs, signal };
        const answer = await unaryCall<ReportEvaluationResponse>(site, limits, (options, done) =>
          pool.client.reportEvaluation(report, pool.metadata, options, done),
        );
        return this.#report(task, answer.outcome, answer.detail);
      } catch (error) {
        signal.throwIfAborted();
        const passing = error instanceof WireError && (error.fault === 'unreachable' || error.fault === 'closed');
        if (!passing || attempt === reportAttempts) throw new TaskFailure('failed', messageOf(error), { cause: error });
      }
      await delay(100 * 2 ** attempt, signal);
    }
  }

  /** Records how long the work takes; what fails has not been done, and is left out. */
  async #noting<T>(task: TaskEntry, row: string, name: string, work: Promise<T>): Promise<T> {
    const startMs = hostClockMs();
    const result = await work;
    this.#note(task, row, name, startMs);
    return result;
  }

  #note({ key }: TaskEntry, row: string, name: string, startMs: number, endMs = hostClockMs()): void {
    this.#services.spans.record({ jobId: key.jobId, step: key.step, task: key.task, row, name, startMs, endMs });
  }

  #report(task: TaskEntry, outcome: Outcome, detail: string): void {
    const about = { task: taskName(task.key), attempt: task.attempt, outcome: Outcome[outcome] };
    if (outcome === Outcome.ACCEPTED) return this.#services.log.debug(about, 'accepted');
    if (outcome === Outcome.NOT_ADMITTED) this.#probes.again(task.key.jobId);
    // Copies and late answers are how faults are survived; anything else deserves a look.
    const usual = [Outcome.DUPLICATE, Outcome.STALE, Outcome.NO_ROOM].includes(outcome);
    this.#services.log[usual ? 'debug' : 'warn']({ ...about, detail }, 'refused');
  }
}

/** The connection's fault, not the task's: whatever would be computed now, it would not arrive. */
function brokeOnTheWay(error: unknown): boolean {
  return error instanceof WireError && error.fault !== 'failed' && error.fault !== 'unauthenticated';
}

interface Computed {
  /** Undefined when computing was given up because the contribution was refused meanwhile. */
  readonly totals: ComputeTotals | undefined;
  readonly delivery: Promise<void>;
}

function computeParametersOf({ key, parameters, exact, statistics, arrived }: ParameterLease): ComputeParameters {
  return { key, parameters, exact, statistics, arrived };
}

/**
 * What was computed while the version still arrived counts once the last of it is there and right. A pull that fails ends the
 * computing, as the compute thread sees, and is then the cause.
 */
async function withWholeVersion(
  computing: Promise<ComputeTotals>,
  { whole, arrived }: ParameterLease,
  signal: AbortSignal,
): Promise<{ totals: ComputeTotals; pullSeconds: number }> {
  try {
    const totals = await computing;
    return { totals, pullSeconds: await unlessAborted(whole, signal) };
  } catch (error) {
    if (isLost(arrived)) await whole;
    throw error;
  }
}
