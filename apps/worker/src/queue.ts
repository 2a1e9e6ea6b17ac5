// Takes entries from the class's BullMQ queue, one at a time, and holds each until its handler is done with it.
// Refuses to know what a task is worth: the coordinator owns every task's state, BullMQ only delivers.
import { type Job, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { taskEntrySchema, type TaskEntry } from '#proto/task-entry.js';
import { messageOf, settlesWithin } from './withdrawal.js';

export interface QueueOptions {
  readonly redisUrl: string;
  readonly name: string;
  readonly prefix: string;
  readonly log: Logger;
  /** Resolves when the entry may leave the queue; must not reject. */
  readonly handle: (task: TaskEntry) => Promise<void>;
}

/** Longer than BullMQ's own longest blocking command, so that only a Redis that hangs is cut off. */
const commandTimeoutMs = 15_000;
const longestReconnectMs = 1_000;
/** A coordinator that restarts must not find entries failed because workers came and went: it decides, not BullMQ. */
const maxStalledCount = 1_000_000;

export class TaskQueue {
  readonly #worker: Worker;
  readonly #connection: Redis;
  readonly #log: Logger;
  #trouble: string | undefined;

  constructor(options: QueueOptions) {
    this.#log = options.log;
    this.#connection = new Redis(options.redisUrl, {
      maxRetriesPerRequest: null,
      commandTimeout: commandTimeoutMs,
      connectTimeout: 5_000,
      retryStrategy: (attempt: number) => Math.min(longestReconnectMs, 50 * attempt),
    });
    this.#connection.on('error', (error) => this.#onError(error));
    this.#connection.on('ready', () => this.#onReady());
    this.#worker = new Worker(options.name, (job: Job) => this.#process(job, options.handle), {
      connection: this.#connection,
      prefix: options.prefix,
      concurrency: 1,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
      maxStalledCount,
      // Seconds. Entries are announced to one waiting worker; where that one is frozen, the others look after this.
      drainDelay: 1,
      // After a Redis that was away the queue goes on at once rather than after BullMQ's 15 s.
      runRetryDelay: 500,
    });
    this.#worker.on('error', (error) => this.#onError(error));
  }

  /** Takes no further entry; entries already taken stay with their handler. */
  pause(): void {
    void this.#worker.pause(true);
  }

  /** Closes the connections; waits for the entry in hand (its handler must be ending) and for Redis up to `deadlineMs` in all. */
  async stop(deadlineMs: number): Promise<void> {
    // BullMQ reports what goes wrong while closing as 'error' events.
    await settlesWithin(this.#worker.close(), deadlineMs);
    this.#connection.disconnect();
  }

  async #process(job: Job, handle: (task: TaskEntry) => Promise<void>): Promise<void> {
    const entry = taskEntrySchema.safeParse(job.data);
    if (entry.success) return handle(entry.data);
    // Done with, not failed: the coordinator finds that nobody claimed it, and no retry would help.
    const problems = entry.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    this.#log.error({ entry: job.id, problems }, 'An entry of the queue is not a task; it is skipped.');
  }

  #onError(error: unknown): void {
    const message = messageOf(error);
    // The coordinator put the task out of the queue, or Redis lost it: the claim counts, not the lock.
    if (/lock/i.test(message)) return this.#log.debug({ cause: message }, 'A queue entry is no longer ours.');
    const trouble = (error as { code?: string }).code ?? message;
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#log.warn({ cause: message }, 'Redis has trouble; tasks come again when it is back (REDIS_URL).');
  }

  #onReady(): void {
    if (this.#trouble !== undefined) this.#log.info('Redis is back.');
    this.#trouble = undefined;
  }
}
