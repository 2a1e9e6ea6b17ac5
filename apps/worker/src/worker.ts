// The worker's life: join the pool, serve until the session ends, join again, until it is told to stop.
// Refuses to know processes and signals (main.ts) and what serving means (membership.ts).
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { RegisterRequest } from '#proto/generated/lockstep/v1/pool.js';
import { SpanRing } from '#proto/span-ring.js';
import { Membership, type MembershipOptions, type OpenQueue } from './membership.js';
import { type Access, openPool, type PoolCaller } from './pool-caller.js';
import { register } from './register.js';
import { messageOf } from './withdrawal.js';

export interface WorkerOptions {
  /** host:port of the coordinator. */
  readonly coordinator: string;
  readonly access: Access;
  readonly openQueue: OpenQueue;
  /** What the worker says of itself. */
  readonly introduction: RegisterRequest;
  readonly compute: MembershipOptions['compute'];
  readonly images: MembershipOptions['images'];
  readonly datasets: MembershipOptions['datasets'];
  readonly log: Logger;
  /** How long the compute thread may hold a task that nobody wants. @default 30,000 ms */
  readonly letGoMs?: number | undefined;
}

/** Memberships that end sooner than this are followed by growing pauses. */
const shortMembershipMs = 5_000;
const firstPauseMs = 100;
/** A drained worker may take as long as its task does, but not for ever. */
const drainLimitMs = 3_600_000;
const longestPauseMs = 5_000;

export class PoolWorker {
  readonly #options: WorkerOptions;
  readonly #pool: PoolCaller;
  readonly #stop = new AbortController();
  readonly #spans = new SpanRing();
  #membership: Membership | undefined;
  #leaving: Promise<void> | undefined;
  #drained = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#pool = openPool(options.coordinator, options.access);
  }

  /** Serves until `stop`, or until the coordinator drains this worker. Rejects only when this process is of no more use. */
  async run(): Promise<'stopped' | 'drained'> {
    let short = 0;
    while (!this.#stop.signal.aborted) {
      const started = performance.now();
      await this.#serveOnce();
      short = performance.now() - started < shortMembershipMs ? short + 1 : 0;
      if (short > 1) await this.#pause(Math.min(longestPauseMs, firstPauseMs * 2 ** short));
    }
    await this.#leaving;
    this.#pool.close();
    return this.#drained ? 'drained' : 'stopped';
  }

  /** Finishes the present task if that fits `graceMs`, hands back the rest, leaves the pool; `run` resolves then. */
  stop(graceMs: number): void {
    if (this.#stop.signal.aborted) return;
    this.#leaving = this.#membership?.leave(graceMs);
    this.#stop.abort(new Error('the worker stops'));
  }

  async #serveOnce(): Promise<void> {
    const { introduction, access, openQueue, compute, images, datasets, log, letGoMs } = this.#options;
    const { signal } = this.#stop;
    const registration = await register(this.#pool, introduction, log, signal).catch(unlessStopped(signal));
    if (registration === undefined) return;
    const { workerId, classId, queueName } = registration;
    log.info({ coordinator: this.#pool.address, workerId, classId, queue: queueName }, 'joined the pool');
    const onDrain = (): void => {
      log.info('The coordinator drains this worker: it finishes its task and stops.');
      this.#drained ||= !this.#stop.signal.aborted;
      this.stop(drainLimitMs);
    };
    this.#membership = new Membership({
      registration,
      pool: this.#pool,
      access,
      openQueue,
      compute,
      spans: this.#spans,
      images,
      datasets,
      log,
      letGoMs,
      onDrain,
    });
    const cause = await this.#membership.over();
    this.#membership = undefined;
    if (!signal.aborted) log.warn({ cause }, 'The session is over; joining the pool again.');
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#stop;
    await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal }).catch(unlessStopped(signal));
  }
}

/** Swallows the end of a wait that `stop` ended; everything else goes on up. */
function unlessStopped(signal: AbortSignal): (error: unknown) => undefined {
  return (error) => {
    if (!signal.aborted) throw new Error(messageOf(error), { cause: error });
  };
}
