// A worker of the right numerics class that computes true gradients with the real worker's parts, and spoils chosen pushes.
// Lives in the test's process, so that tests decide when it misbehaves. Refuses to know what the coordinator should answer.
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import type { CallOptions, ClientWritableStream, Metadata } from '@grpc/grpc-js';
import { pino } from 'pino';
import { imageLibrary } from '#model/images/image-library.js';
import { imagesOnThisThread } from '#model/images/image-services.js';
import { clientCredentials } from '#proto/channel.js';
import { Outcome, type ReportProbeRequest } from '#proto/generated/lockstep/v1/pool.js';
import type { PushGradientRequest, PushGradientResponse, PushHeader } from '#proto/generated/lockstep/v1/reducer.js';
import { SpanRing } from '#proto/span-ring.js';
import { plainGet } from '#model/datasets/http-file.js';
import { fromWireKey, taskName } from '#proto/task-entry.js';
import { ComputeClient } from '../../apps/worker/src/compute-client.js';
import { kernelFlags, tensorflowEnvironment } from '../../apps/worker/src/config.js';
import { JobContexts } from '../../apps/worker/src/job-contexts.js';
import { numericsClassOf } from '../../apps/worker/src/numerics-class.js';
import { ParameterCache } from '../../apps/worker/src/parameters.js';
import { Pipeline } from '../../apps/worker/src/pipeline.js';
import { openPool, type PoolCaller, Slices } from '../../apps/worker/src/pool-caller.js';
import { TaskQueue } from '../../apps/worker/src/queue.js';
import { register } from '../../apps/worker/src/register.js';
import { Session } from '../../apps/worker/src/session.js';
import { type PreparedTask, TaskStages } from '../../apps/worker/src/task-stages.js';
import { type Misdeed, spoilerFor } from './misdeeds.js';

export interface RogueOptions {
  /** host:port of the coordinator's control port. */
  readonly coordinator: string;
  readonly redisUrl: string;
  readonly compute: RogueCompute;
  readonly name: string;
  /** Reports another checksum of the probe than it came to. @default false */
  readonly wrongProbe?: boolean;
}

/** What became of one push. */
export interface RogueAnswer {
  readonly misdeed: Misdeed;
  readonly task: string;
  /** Such as `DUPLICATE`, or the error that ended the call. */
  readonly outcome: string;
  readonly detail: string;
}

type Done = (error: Error | null, response?: PushGradientResponse) => void;
type Push = ClientWritableStream<PushGradientRequest>;

/** A compute thread with TensorFlow loaded, for one rogue after the other: they join at once, while there is something to spoil. */
export type RogueCompute = Awaited<ReturnType<typeof ComputeClient.start>>;

/** @param distribution the compiled tree, for the thread's script */
export function startRogueCompute(distribution: string): Promise<RogueCompute> {
  Object.assign(process.env, tensorflowEnvironment(1));
  return ComputeClient.start(pathToFileURL(join(distribution, 'apps/worker/src/compute-thread.js')), []);
}

export class RogueWorker {
  readonly answers: RogueAnswer[] = [];
  readonly #pool: PoolCaller;
  readonly #slices: Slices;
  readonly #session: Session;
  readonly #queue: TaskQueue;
  readonly #pipeline: Pipeline<PreparedTask>;
  readonly #parameters: ParameterCache;
  readonly #jobs: JobContexts;
  readonly #wakers = new Set<() => void>();
  readonly #misdeeds: Misdeed[] = [];
  readonly #late: { readonly step: number; readonly deliver: () => void }[] = [];
  #lateAllowed = false;

  /** Joins the pool; takes tasks at once, and is honest until told otherwise. */
  static async join(options: RogueOptions): Promise<RogueWorker> {
    const { client, facts } = options.compute;
    const pool = openPool(options.coordinator, { credentials: clientCredentials(), token: undefined });
    const introduction = {
      protocolVersion: 2,
      lockstepVersion: 'test',
      name: options.name,
      numericsClass: numericsClassOf(facts, kernelFlags, 1, imageLibrary()),
      memoryBytes: 2 ** 32,
      pid: process.pid,
    };
    const log = pino({ level: 'silent' });
    const registration = await register(pool, introduction, log, new AbortController().signal);
    if (options.wrongProbe === true) misreportProbes(pool);
    return new RogueWorker(options, pool, client, registration);
  }

  private constructor(
    options: RogueOptions,
    pool: PoolCaller,
    compute: ComputeClient,
    registration: Awaited<ReturnType<typeof register>>,
  ) {
    const log = pino({ level: 'silent' });
    const access = { credentials: clientCredentials(), token: undefined };
    this.#pool = pool;
    this.#slices = new Slices(registration.reducerAddresses, access);
    this.#parameters = new ParameterCache(this.#slices, log);
    this.#jobs = new JobContexts(pool, imagesOnThisThread(), { access: {}, get: plainGet });
    const stages = new TaskStages({
      workerId: registration.workerId,
      pool,
      slices: this.#spoiling(this.#slices),
      jobs: this.#jobs,
      parameters: this.#parameters,
      compute,
      spans: new SpanRing(),
      log,
      release: (task, reason, detail) => this.#session.release(task, reason, detail),
    });
    this.#pipeline = new Pipeline(stages);
    this.#session = new Session(pool, registration.workerId, registration.heartbeatIntervalMs, {
      vitals: () => ({
        progress: compute.progress,
        computing: this.#pipeline.computing?.key,
        residentBytes: 0,
        images: { images: 0, seconds: 0, cacheHits: 0, starvedSeconds: 0 },
        tensors: compute.tensors,
      }),
      // Who holds something back does not listen.
      onCancel: (id) => (this.#late.length > 0 ? undefined : this.#pipeline.cancel(id)),
      onYield: (id) => this.#pipeline.yield(id),
      onPushHeld: (id) => stages.pushHeld(id),
      onDrain: () => this.#queue.pause(),
      tryKernels: () => Promise.reject(new Error('a rogue tries none')),
      spansOf: () => ({ spans: [], firstWholeStep: 0 }),
      onEndJob: (jobId) => {
        this.#parameters.endJob(jobId);
        this.#jobs.endJob(jobId);
        compute.endJob(jobId);
      },
    });
    this.#queue = new TaskQueue({
      redisUrl: options.redisUrl,
      name: registration.queueName,
      prefix: registration.queuePrefix,
      log,
      handle: async (task) => {
        if (await this.#session.claim(task)) await this.#pipeline.run(task);
      },
    });
  }

  /** Spoils its next pushes in this way, one after the other, after those that were ordered before. */
  commit(misdeed: Misdeed, times = 1): void {
    for (let time = 0; time < times; time += 1) this.#misdeeds.push(misdeed);
  }

  /** Lets go of the ends that `late` holds back, and of those that still come. */
  deliverLate(): void {
    this.#lateAllowed = true;
    for (const { deliver } of this.#late.splice(0)) deliver();
  }

  /** The task whose end `late` holds back; waits for one. */
  async heldBack(withinMs = 90_000): Promise<{ readonly step: number }> {
    await this.#until('push to hold back', () => this.#late.length > 0, withinMs);
    return { step: this.#late[0]!.step };
  }

  /** Resolves with the answers to pushes of this kind when there are `count` of them. */
  async answersTo(misdeed: Misdeed, count = 1, withinMs = 90_000): Promise<readonly RogueAnswer[]> {
    const given = () => this.answers.filter((answer) => answer.misdeed === misdeed);
    await this.#until(`${count} answers to "${misdeed}"`, () => given().length >= count, withinMs);
    return given();
  }

  async #until(what: string, holds: () => boolean, withinMs: number): Promise<void> {
    const deadline = AbortSignal.timeout(withinMs);
    while (!holds()) {
      if (deadline.aborted) throw new Error(`no ${what} within ${withinMs} ms: ${JSON.stringify(this.answers)}`);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wakers.delete(wake);
          deadline.removeEventListener('abort', wake);
          resolve();
        };
        this.#wakers.add(wake);
        deadline.addEventListener('abort', wake);
      });
    }
  }

  /** Leaves the pool at once, whatever it holds. */
  async leave(): Promise<void> {
    this.#queue.pause();
    this.deliverLate();
    this.#pipeline.withdrawAll(undefined);
    await this.#session.close(200);
    this.#parameters.close();
    await this.#queue.stop(500);
    await this.#pipeline.settled();
    this.#jobs.close();
    this.#slices.close();
    this.#pool.close();
  }

  /** The slices with a client that spoils. */
  #spoiling(slices: Slices): Slices {
    // Each slice must hear of the same misdeed: the first that opens a push of a task decides for all.
    const chosen = new Map<string, Misdeed>();
    const callers = slices.callers.map((caller) => ({
      ...caller,
      client: {
        pushGradient: (metadata: Metadata, options: CallOptions, done: Done) =>
          this.#spoiledPush(chosen, (answer) => caller.client.pushGradient(metadata, options, answer), done),
        pullParameters: caller.client.pullParameters.bind(caller.client),
      },
    }));
    return { callers, count: slices.count, close: () => slices.close() } as unknown as Slices;
  }

  #spoiledPush(chosen: Map<string, Misdeed>, open: (done: Done) => Push, done: Done): Push {
    let misdeed: Misdeed = 'honest';
    let task = '';
    let step = 0;
    const note: Done = (error, response) => {
      const outcome = error === null ? (Outcome[response!.outcome] ?? '') : error.message;
      this.answers.push({ misdeed, task, outcome, detail: response?.detail ?? '' });
      for (const wake of this.#wakers) wake();
    };
    const first = open((error, response) => {
      note(error, response);
      done(error, response);
    });
    let second: Push | undefined;
    let spoil = spoilerFor('honest');
    const begin = (header: PushHeader): void => {
      const key = fromWireKey(header.key)!;
      task = taskName(key);
      ({ step } = key);
      const name = `${task} ${header.attempt}`;
      misdeed = chosen.get(name) ?? this.#misdeeds.shift() ?? 'honest';
      chosen.set(name, misdeed);
      spoil = spoilerFor(misdeed);
      if (misdeed === 'twice') second = open(note);
    };
    const send = (request: PushGradientRequest, sent: () => void): void => {
      const messages = spoil(request);
      if (messages.length === 0) return void setImmediate(sent);
      for (const message of messages) {
        second?.write(message);
        first.write(message, sent);
      }
    };
    const spoiled = {
      write: (request: PushGradientRequest, sent: () => void): boolean => {
        const { message } = request;
        if (message?.$case === 'header') begin(message.value);
        if (message?.$case === 'end' && misdeed === 'late' && !this.#lateAllowed) {
          this.#late.push({ step, deliver: () => send(request, sent) });
          for (const wake of this.#wakers) wake();
        } else send(request, sent);
        return true;
      },
      end: () => {
        second?.end();
        first.end();
      },
      cancel: () => {
        second?.cancel();
        first.cancel();
      },
      on: first.on.bind(first),
      off: first.off.bind(first),
    };
    return spoiled as unknown as Push;
  }
}

/** From now on every checksum of a probe that leaves by this caller is another one. */
function misreportProbes({ client }: PoolCaller): void {
  const report = client.reportProbe.bind(client) as (request: ReportProbeRequest, ...rest: unknown[]) => unknown;
  Object.assign(client, {
    reportProbe: (request: ReportProbeRequest, ...rest: unknown[]) =>
      report({ ...request, checksum: (request.checksum ^ 1) >>> 0 }, ...rest),
  });
}
