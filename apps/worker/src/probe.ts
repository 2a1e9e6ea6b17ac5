// Shows the coordinator that this worker computes the bits that its numerics class promises: before its first answer
// to a task of a job it computes the job's probe (task 0 of step 0 with the initial parameters) and reports the checksum.
// Refuses to know what a right checksum is.
import { blockMessage, blockTable, versionChecksum } from '#proto/blocks.js';
import { unaryCall } from '#proto/calls.js';
import { Outcome, type ReportProbeResponse } from '#proto/generated/lockstep/v1/pool.js';
import type { TaskEntry } from '#proto/task-entry.js';
import { abortableInput } from './abortable-input.js';
import { contributionBuffers } from './contribution-buffers.js';
import type { Compute } from './compute-client.js';
import { computeJobOf, type JobContext } from './job-contexts.js';
import type { PoolCaller } from './pool-caller.js';
import { SharedBuffers } from './shared-buffers.js';
import { versionBytes, versionIn } from './version-memory.js';
import { TaskFailure } from './withdrawal.js';

const reportDeadlineMs = 10_000;

export interface ProbeServices {
  readonly workerId: string;
  readonly pool: PoolCaller;
  readonly compute: Compute;
  /** Those of contributions, of which none is computed at the same time. */
  readonly gradients: SharedBuffers;
}

export class Probes {
  readonly #services: ProbeServices;
  /** Lineage of each job in which the coordinator admitted this worker. */
  readonly #passed = new Map<string, number>();
  readonly #inputs = new SharedBuffers(1);
  /** Made so far: names of versions are not used twice. */
  #versions = 0;

  constructor(services: ProbeServices) {
    this.#services = services;
  }

  /**
   * Resolves once this worker may contribute to the job; computes at most once per lineage, since a job that goes on after a
   * pause asks anew. To be called while the compute slot is free. Rejects with TaskFailure when the coordinator does not
   * admit it.
   */
  async pass(job: JobContext, lineage: number, signal: AbortSignal): Promise<void> {
    if (job.probe === undefined || this.#passed.get(job.jobId) === lineage) return;
    const checksum = await this.#compute(job, job.probe, signal);
    const { pool, workerId } = this.#services;
    const site = { call: 'Pool.ReportProbe', peer: pool.address, task: `job ${job.jobId}` };
    const limits = { deadlineMs: reportDeadlineMs, signal };
    const answer = await unaryCall<ReportProbeResponse>(site, limits, (options, done) =>
      pool.client.reportProbe({ workerId, jobId: job.jobId, checksum }, pool.metadata, options, done),
    );
    if (answer.outcome !== Outcome.ACCEPTED) throw new TaskFailure('failed', answer.detail);
    this.#passed.set(job.jobId, lineage);
  }

  /** The coordinator says that this worker is not admitted: it shows itself again before its next contribution. */
  again(jobId: string): void {
    this.#passed.delete(jobId);
  }

  async #compute(job: JobContext, probe: TaskEntry, signal: AbortSignal): Promise<number> {
    const { spec, layout } = job;
    const { seed } = spec.training;
    const { parameterCount, statisticCount } = layout;
    const { gradients, compute } = this.#services;
    const loans: { release(): void }[] = [];
    try {
      const images = await abortableInput(probe, job, this.#inputs, signal);
      loans.push(images);
      const { loan, gradient, statistics } = await contributionBuffers(job, gradients, signal);
      loans.push(loan);
      const sizes = { parameterCount, statisticCount, exactCount: job.exactCount };
      // In the place of a second contribution: the pulled version has memory of its own already.
      const version = await gradients.acquire(versionBytes(sizes), signal);
      loans.push(version);
      this.#versions += 1;
      const key = `${job.jobId}, probe ${this.#versions}`;
      await compute.train(
        {
          job: computeJobOf(job),
          parameters: { key, ...versionIn(version.buffer, sizes), initial: seed },
          input: images.input,
          miniBatchSamples: probe.miniBatchSamples,
          gradient,
          statistics,
          notifyElements: parameterCount + 1,
        },
        signal,
        () => undefined,
      );
      const regions = { parameters: gradient, statistics };
      const table = blockTable(parameterCount, statisticCount);
      return versionChecksum(table.map((range) => blockMessage(regions[range.region], range).checksum));
    } finally {
      for (const loan of loans) loan.release();
    }
  }
}
