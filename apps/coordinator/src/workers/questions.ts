// Questions to single workers over their sessions: each is answered once, or the worker is gone, or its time is up.
// Refuses to know what is asked.
import type { SessionResponse } from '#proto/generated/lockstep/v1/pool.js';
import type { PoolWorker, WorkerRegistry } from './worker-registry.js';

interface Pending<Answer> {
  readonly worker: PoolWorker;
  readonly settle: (answer: Answer | undefined) => void;
}

export class Questions<Answer extends { readonly request: number }> {
  readonly #pending = new Map<number, Pending<Answer>>();
  #requests = 0;

  constructor(registry: WorkerRegistry) {
    registry.listen({
      workerChanged: () => undefined,
      workerGone: (worker) => {
        for (const pending of this.#pending.values()) if (pending.worker === worker) pending.settle(undefined);
      },
    });
  }

  /**
   * Undefined where no answer came.
   * @param question says it, with a number that the answer names
   * @param withinMs milliseconds
   */
  ask(
    worker: PoolWorker,
    question: (request: number) => NonNullable<SessionResponse['message']>,
    withinMs: number,
  ): Promise<Answer | undefined> {
    if (worker.send === undefined) return Promise.resolve(undefined);
    const request = (this.#requests = (this.#requests + 1) % 0xffff_ffff);
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(undefined), withinMs);
      const settle = (answer: Answer | undefined): void => {
        clearTimeout(timer);
        this.#pending.delete(request);
        resolve(answer);
      };
      this.#pending.set(request, { worker, settle });
      worker.send?.(question(request));
    });
  }

  /** A worker's answer; one to nothing that was asked, or too late, is dropped. */
  answered(worker: PoolWorker, answer: Answer): void {
    const pending = this.#pending.get(answer.request);
    if (pending?.worker === worker) pending.settle(answer);
  }
}
