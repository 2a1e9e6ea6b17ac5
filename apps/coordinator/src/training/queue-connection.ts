// The connection to Redis and the task queues over it, one per numerics class. Every command has a limit, so that a
// Redis that is paused or away hangs nobody. Refuses to know what the queues carry.
import { Redis } from 'ioredis';
import type { Queue } from 'bullmq';
import type { Logger } from '../log.js';
import { queueNameOf } from '../workers/numerics-class.js';
import { TaskQueue } from './task-queue.js';

const commandTimeoutMs = 2000;
const connectTimeoutMs = 5000;
const longestReconnectMs = 1000;

export class QueueConnection {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #log: Logger;
  readonly #queues = new Map<string, TaskQueue>();
  #trouble: string | undefined;
  /** Told of every queue when it is first used. */
  onQueue: (queue: Queue) => void = () => undefined;

  constructor(url: string, prefix: string, log: Logger) {
    this.#prefix = prefix;
    this.#log = log;
    this.#redis = new Redis(url, {
      commandTimeout: commandTimeoutMs,
      connectTimeout: connectTimeoutMs,
      maxRetriesPerRequest: 1,
      // Commands while it is away fail at once: tasks stay open, and the next reconcile pass queues them.
      enableOfflineQueue: false,
      retryStrategy: (attempt) => Math.min(longestReconnectMs, 50 * attempt),
    });
    this.#redis.on('error', (error) => this.#note(error));
    this.#redis.on('ready', () => {
      if (this.#trouble !== undefined) this.#log.info('Redis is back.');
      this.#trouble = undefined;
    });
  }

  /** Resolves when Redis answered for the first time, or with the problem when it does not within `withinMs`. */
  async ready(withinMs: number): Promise<string | undefined> {
    if (this.#redis.status === 'ready') return undefined;
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => resolve(this.#trouble ?? `Redis does not answer within ${withinMs} ms (REDIS_URL).`),
        withinMs,
      );
      this.#redis.once('ready', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    });
  }

  /** A sentence when Redis cannot be used now. */
  async problem(): Promise<string | undefined> {
    try {
      await this.#redis.ping();
      return undefined;
    } catch (error) {
      return `Redis cannot be used: ${(error as Error).message}`;
    }
  }

  queueOf(classId: string): TaskQueue {
    let queue = this.#queues.get(classId);
    if (queue === undefined) {
      queue = new TaskQueue(queueNameOf(classId), this.#prefix, this.#redis, (error) => this.#note(error));
      this.#queues.set(classId, queue);
      this.onQueue(queue.bullQueue);
    }
    return queue;
  }

  /** The queues of several classes as one: an entry goes into each, and the first worker that claims it has it. */
  queueOfAll(classIds: () => readonly string[]): Pick<TaskQueue, 'put' | 'placeOf' | 'remove'> {
    const queues = () => classIds().map((classId) => this.queueOf(classId));
    return {
      put: async (entries) => {
        const into = queues();
        if (into.length === 0) throw new Error('no worker is connected');
        await Promise.all(into.map((queue) => queue.put(entries)));
      },
      placeOf: async (id) => {
        const places = await Promise.all(queues().map((queue) => queue.placeOf(id)));
        return places.find((place) => place === 'waiting') ?? places.find((place) => place === 'active') ?? 'nowhere';
      },
      remove: async (ids) => {
        await Promise.all(queues().map((queue) => queue.remove(ids)));
      },
    };
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
    this.#redis.disconnect();
  }

  #note(error: Error): void {
    const trouble = `Redis has trouble (REDIS_URL): ${error.message || (error as NodeJS.ErrnoException).code}`;
    if (trouble !== this.#trouble) this.#log.warn(trouble);
    this.#trouble = trouble;
  }
}
