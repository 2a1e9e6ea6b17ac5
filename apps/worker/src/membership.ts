// One registration's worth of everything: session, queue, slices and pipeline, from joining to the session's end.
// Refuses to know how one comes to be registered and what happens afterwards.
import type { Logger } from 'pino';
import type { ImageServices } from '#model/images/image-services.js';
import { resolveJobSpec } from '#model/job-spec.js';
import type { RegisterResponse } from '#proto/generated/lockstep/v1/pool.js';
import type { SpanRing } from '#proto/span-ring.js';
import type { TaskEntry } from '#proto/task-entry.js';
import type { Compute } from './compute-client.js';
import type { DatasetSources } from './dataset-files.js';
import type { ImageCounts } from './image-pool.js';
import { JobContexts } from './job-contexts.js';
import { ParameterCache } from './parameters.js';
import { Pipeline } from './pipeline.js';
import { type Access, type PoolCaller, Slices } from './pool-caller.js';
import { Session } from './session.js';
import { SharedMemory } from './shared-memory.js';
import { type PreparedTask, TaskStages } from './task-stages.js';
import { settlesWithin } from './withdrawal.js';

/** Where tasks come from; queue.ts has the real one. */
export interface TaskSource {
  pause(): void;
  stop(deadlineMs: number): Promise<void>;
}

export type OpenQueue = (queue: {
  readonly name: string;
  readonly prefix: string;
  readonly handle: (task: TaskEntry) => Promise<void>;
}) => TaskSource;

export interface MembershipOptions {
  readonly registration: RegisterResponse;
  readonly pool: PoolCaller;
  readonly access: Access;
  readonly openQueue: OpenQueue;
  readonly compute: Compute & { readonly progress: number; readonly tensors: number };
  /** What this process did; outlives the membership. */
  readonly spans: SpanRing;
  /** Whoever prepares images; outlives the membership. */
  readonly images: ImageServices & { readonly counts: ImageCounts };
  readonly datasets: DatasetSources;
  readonly log: Logger;
  /** See `PipelineOptions`. */
  readonly letGoMs?: number | undefined;
  /** The coordinator wants this worker to finish. */
  readonly onDrain: () => void;
}

const queueStopMs = 2_000;
/** Parts of a farewell: it has to fit what the grace period leaves. */
const hastyQueueStopMs = 200;
const sessionCloseMs = 200;

export class Membership {
  readonly #slices: Slices;
  readonly #jobs: JobContexts;
  readonly #parameters: ParameterCache;
  readonly #stages: TaskStages;
  readonly #pipeline: Pipeline<PreparedTask>;
  readonly #session: Session;
  readonly #queue: TaskSource;
  #leaving = false;

  constructor({
    registration,
    pool,
    access,
    openQueue,
    compute,
    spans,
    images,
    datasets,
    log,
    letGoMs,
    onDrain,
  }: MembershipOptions) {
    const sharedMemory = SharedMemory.find(registration, () =>
      log.warn(
        'Gradients arrive broken through shared memory again and again; tensors go over the network from here on.',
      ),
    );
    log.info(
      `tensors go ${sharedMemory === undefined ? 'over the network' : 'through memory shared with the coordinator'}`,
    );
    this.#slices = new Slices(registration.reducerAddresses, access, sharedMemory);
    this.#jobs = new JobContexts(pool, images, datasets);
    this.#parameters = new ParameterCache(this.#slices, log);
    this.#stages = new TaskStages({
      workerId: registration.workerId,
      pool,
      slices: this.#slices,
      jobs: this.#jobs,
      parameters: this.#parameters,
      compute,
      spans,
      log,
      release: (task, reason, detail) => this.#session.release(task, reason, detail),
    });
    this.#pipeline = new Pipeline(this.#stages, { letGoMs });
    this.#session = new Session(pool, registration.workerId, registration.heartbeatIntervalMs, {
      vitals: () => ({
        progress: compute.progress,
        computing: this.#pipeline.computing?.key,
        residentBytes: process.memoryUsage.rss(),
        tensors: compute.tensors,
        images: { ...images.counts, starvedSeconds: this.#stages.starvedSeconds },
      }),
      onCancel: (id) => this.#pipeline.cancel(id),
      onYield: (id) => this.#pipeline.yield(id),
      onPushHeld: (id) => this.#stages.pushHeld(id),
      onDrain,
      spansOf: (jobId, from, to) => spans.of(jobId, from, to),
      tryKernels: async (specJson) => {
        const { model, training } = resolveJobSpec(JSON.parse(specJson));
        const { shardSize, precision } = training;
        return JSON.stringify(await compute.tryKernels({ model, shardSize, precision }));
      },
      onEndJob: (jobId) => {
        this.#parameters.endJob(jobId);
        this.#jobs.endJob(jobId);
        compute.endJob(jobId);
        this.#slices.sharedMemory?.trim();
        const { counts } = images;
        if (counts.images > 0) log.info({ ...counts, starvedSeconds: this.#stages.starvedSeconds }, 'images so far');
      },
    });
    this.#queue = openQueue({
      name: registration.queueName,
      prefix: registration.queuePrefix,
      handle: (task) => this.#take(task),
    });
  }

  /** Resolves with the cause when the session is over and what hung on it is stopped. Rejects with `ComputeHangs`, at any time. */
  async over(): Promise<string> {
    const cause = await Promise.race([this.#session.ended, this.#pipeline.hung]);
    // The coordinator has opened all claims again.
    this.#queue.pause();
    this.#pipeline.withdrawAll(undefined);
    this.#parameters.close();
    await this.#queue.stop(this.#leaving ? hastyQueueStopMs : queueStopMs);
    // Who leaves for good need not wait for a kernel that computes what nobody wants.
    if (!this.#leaving) await Promise.race([this.#pipeline.settled(), this.#pipeline.hung]);
    this.#jobs.close();
    this.#slices.close();
    return cause;
  }

  /** Takes nothing new, finishes what computes if that fits `graceMs`, hands everything else back, ends the session. */
  async leave(graceMs: number): Promise<void> {
    this.#leaving = true;
    this.#queue.pause();
    this.#pipeline.drain();
    const remainingMs = this.#stages.remainingMs ?? 0;
    const fits = remainingMs <= graceMs && (await settlesWithin(this.#pipeline.settled(), graceMs));
    if (!fits) this.#pipeline.withdrawAll('draining');
    await this.#session.close(sessionCloseMs);
  }

  async #take(task: TaskEntry): Promise<void> {
    if (await this.#session.claim(task)) await this.#pipeline.run(task);
    // The queue brings the next entry when this returns, and a claim that is refused uses an entry up as well.
    await this.#pipeline.ready();
  }
}
