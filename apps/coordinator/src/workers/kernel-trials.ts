// Has a worker try which kernels are the quicker ones for a job.
// Refuses to know which worker is to be asked, and what becomes of the table.
import type { JobSpec } from '#model/job-spec.js';
import { type KernelTable, kernelTableSchema } from '#model/kernel-table.js';
import type { KernelTrial } from '#proto/generated/lockstep/v1/pool.js';
import { Questions } from './questions.js';
import type { PoolWorker, WorkerRegistry } from './worker-registry.js';

/** A trial takes seconds, but it waits for the task that its worker computes, which may be another job's. Milliseconds. */
const answerWithinMs = 60_000;

export class KernelTrials {
  readonly #questions: Questions<KernelTrial>;

  constructor(registry: WorkerRegistry) {
    this.#questions = new Questions(registry);
  }

  /** The table, or one sentence that says why there is none. */
  async ask(worker: PoolWorker, spec: JobSpec): Promise<KernelTable | string> {
    const specJson = JSON.stringify(spec);
    const answer = await this.#questions.ask(
      worker,
      (request) => ({ $case: 'kernelTrialRequest', value: { request, specJson } }),
      answerWithinMs,
    );
    if (answer === undefined) return 'no answer came.';
    if (answer.kernelsJson === '') return answer.detail;
    try {
      return kernelTableSchema.parse(JSON.parse(answer.kernelsJson));
    } catch (error) {
      return `the answer is no table (${(error as Error).message}).`;
    }
  }

  answered(worker: PoolWorker, answer: KernelTrial): void {
    this.#questions.answered(worker, answer);
  }
}
