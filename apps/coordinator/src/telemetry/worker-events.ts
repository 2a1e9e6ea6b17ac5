// Tells those who watch what changes about workers, at most once a second for each. Refuses to know what a change means.
import type { PoolWorker, RegistryListener, WorkerRegistry } from '../workers/worker-registry.js';
import type { EventHub } from './event-hub.js';

const publishEveryMs = 1000;

export class WorkerEvents implements RegistryListener {
  readonly #registry: WorkerRegistry;
  readonly #hub: EventHub;
  readonly #publishedAt = new Map<string, number>();

  constructor(registry: WorkerRegistry, hub: EventHub) {
    this.#registry = registry;
    this.#hub = hub;
    registry.listen(this);
  }

  workerChanged(worker: PoolWorker): void {
    const now = Date.now();
    // Heartbeats follow each other, so what is left out now comes with the next.
    if (now - (this.#publishedAt.get(worker.id) ?? 0) < publishEveryMs) return;
    this.#publishedAt.set(worker.id, now);
    this.#hub.publish('worker', null, this.#registry.view(worker));
  }

  workerGone(worker: PoolWorker): void {
    this.#publishedAt.delete(worker.id);
    this.#hub.publish('worker', null, { id: worker.id, gone: true });
  }
}
