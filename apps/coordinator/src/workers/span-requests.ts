// Asks the workers what they did for some steps and waits for the answers, each within a deadline.
// Refuses to know what is made of them, and how a session carries them.
import type { Spans } from '#proto/generated/lockstep/v1/pool.js';
import type { Span } from '#proto/span-ring.js';
import { Questions } from './questions.js';
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

export class SpanRequests {
  readonly #registry: WorkerRegistry;
  readonly #questions: Questions<Spans>;

  constructor(registry: WorkerRegistry) {
    this.#registry = registry;
    this.#questions = new Questions(registry);
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
    this.#questions.answered(worker, answer);
  }

  async #askOne(
    worker: PoolWorker,
    question: { readonly jobId: string; readonly fromStep: number; readonly toStep: number },
  ): Promise<WorkerSpans> {
    const answer = await this.#questions.ask(
      worker,
      (request) => ({ $case: 'spansRequest', value: { request, ...question } }),
      answerWithinMs,
    );
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
