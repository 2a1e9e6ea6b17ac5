// Asks the workers what they did for some steps and waits for the answers, each within a deadline.
// Refuses to know what is made of them, and how a session carries them.
import type { Spans } from '#proto/generated/lockstep/v1/pool.js';
import type { Span } from '#proto/span-ring.js';
import type { PoolWorker, WorkerRegistry } from './worker-registry.js';

/** A worker answers from memory; one that does not within this is stuck, milliseconds. */
const answerWithinMs = 5_000;

export interface WorkerSpans {
  readonly worker: PoolWorker;
  /** Undefined where it did not answer in time. */
  readonly answer:
    | {
        /** Times of the coordinator's clock. */
        readonly spans: readonly Span[];
        readonly firstWholeStep: number;
        /** How exact the times are, milliseconds; undefined where the worker does not know its clock's offset. */
        readonly clockErrorMs: number | undefined;
      }
    | undefined;
}

interface Pending {
  readonly worker: PoolWorker;
  readonly settle: (answer: Spans | undefined) => void;
}

export class SpanRequests {
  readonly #registry: WorkerRegistry;
  readonly #pending = new Map<number, Pending>();
  #requests = 0;

  constructor(registry: WorkerRegistry) {
    this.#registry = registry;
    registry.listen({
      workerChanged: () => undefined,
      workerGone: (worker) => {
        for (const pending of this.#pending.values()) if (pending.worker === worker) pending.settle(undefined);
      },
    });
  }

  /** Of all workers with a session, by name; resolves when all have answered, are gone or have had their time. */
  ask(jobId: string, fromStep: number, toStep: number): Promise<WorkerSpans[]> {
    const workers = this.#registry
      .connected()
      .toSorted((one, other) => one.name.localeCompare(other.name, 'en', { numeric: true }));
    return Promise.all(workers.map((worker) => this.#askOne(worker, { jobId, fromStep, toStep })));
  }

  /** A worker's answer; one to nothing that was asked, or too late, is dropped. */
  answered(worker: PoolWorker, answer: Spans): void {
    const pending = this.#pending.get(answer.request);
    if (pending?.worker === worker) pending.settle(answer);
  }

  async #askOne(
    worker: PoolWorker,
    question: { readonly jobId: string; readonly fromStep: number; readonly toStep: number },
  ): Promise<WorkerSpans> {
    const request = (this.#requests = (this.#requests + 1) % 0xffff_ffff);
    const answer = await new Promise<Spans | undefined>((resolve) => {
      const timer = setTimeout(() => settle(undefined), answerWithinMs);
      const settle = (given: Spans | undefined): void => {
        clearTimeout(timer);
        this.#pending.delete(request);
        resolve(given);
      };
      this.#pending.set(request, { worker, settle });
      worker.send?.({ $case: 'spansRequest', value: { request, ...question } });
    });
    if (answer === undefined) return { worker, answer: undefined };
    const { clockOffsetMs: offset = 0, clockErrorMs, firstWholeStep } = answer;
    const spans = answer.spans.map((span) => ({
      ...span,
      jobId: question.jobId,
      startMs: span.startMs + offset,
      endMs: span.endMs + offset,
    }));
    const known = answer.clockOffsetMs !== undefined;
    return { worker, answer: { spans, firstWholeStep, clockErrorMs: known ? clockErrorMs : undefined } };
  }
}
