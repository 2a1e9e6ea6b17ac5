// Tells those who watch what changes about workers, at most once a second for each. Refuses to know what a change means.
import type { PoolWorker, RegistryListener, WorkerRegistry } from '../workers/worker-registry.js';
import type { EventHub } from './event-hub.js';

const publishEveryMs = 1000;

export class WorkerEvents implements RegistryListener {
  readonly #registry: WorkerRegistry;
  readonly #hub: Pick<EventHub, 'publish'>;
  readonly #publishedAt = new Map<string, number>();
  /** What was left out: it is told when a second is over, as one that hangs gives no further occasion. */
  readonly #late = new Map<string, NodeJS.Timeout>();

  constructor(registry: WorkerRegistry, hub: Pick<EventHub, 'publish'>) {
    this.#registry = registry;
    this.#hub = hub;
  }

  workerChanged(worker: PoolWorker): void {
    if (this.#late.has(worker.id)) return;
    const wait = (this.#publishedAt.get(worker.id) ?? 0) + publishEveryMs - Date.now();
    if (wait <= 0) return this.#publish(worker);
    const timer = setTimeout(() => {
      this.#late.delete(worker.id);
      this.#publish(worker);
    }, wait);
    this.#late.set(worker.id, timer.unref());
  }

  workerGone(worker: PoolWorker): void {
    clearTimeout(this.#late.get(worker.id));
    this.#late.delete(worker.id);
    this.#publishedAt.delete(worker.id);
    this.#hub.publish('worker', null, { id: worker.id, gone: true });
  }

  #publish(worker: PoolWorker): void {
    this.#publishedAt.set(worker.id, Date.now());
    this.#hub.publish('worker', null, this.#registry.view(worker));
  }
}
