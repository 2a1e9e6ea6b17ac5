// When a job's checkpoints are written, and what a restart begins with. Refuses to know their format (libs/model) and
// the thread that writes them (checkpoints/).
import { stepsPerEpoch } from '#model/sampler.js';
import { type ScheduleState, scheduleStateAtStart } from '#model/schedule.js';
import { hostClockMs } from '#proto/host-clock.js';
import type { CheckpointOnDisk } from '../checkpoints/checkpoint-messages.js';
import type { PublishedVersion } from './slices/messages.js';
import type { StateBuffers } from './state-buffers.js';
import {
  messageOf,
  type TrainingJob,
  TrainingPausedError,
  type TrainingProgress,
  type TrainingServices,
} from './training-job.js';

export class JobCheckpoints {
  readonly #job: TrainingJob;
  readonly #services: TrainingServices;
  readonly #buffers: StateBuffers;
  readonly #progress: TrainingProgress;
  /** The write under way; it never rejects. */
  #writing: Promise<void> | undefined;
  /** Why the last write came to nothing. */
  #problem: Error | undefined;
  #wanted = false;

  constructor(job: TrainingJob, services: TrainingServices, buffers: StateBuffers, progress: TrainingProgress) {
    this.#job = job;
    this.#services = services;
    this.#buffers = buffers;
    this.#progress = progress;
  }

  /** Fills a buffer with the newest whole checkpoint, or with the initial state. Returns the version that it holds, and what its schedule remembers. */
  async restore(buffer: number): Promise<{ step: number; scheduleState: ScheduleState }> {
    const { layout, spec, checkpointFolder: folder, initialWeights: weights } = this.#job;
    const { checkpoints, log } = this.#services;
    const into = this.#buffers.get(buffer);
    const start = { model: spec.model, seed: spec.training.seed, weights };
    const { checkpoint, problems } = await checkpoints.restore({ folder, layout, into, start });
    for (const problem of problems) log.warn(problem);
    if (checkpoint !== undefined) {
      this.#note(checkpoint);
      const { step, scheduleState } = checkpoint.manifest;
      return { step, scheduleState };
    }
    return { step: 0, scheduleState: scheduleStateAtStart(spec.training.schedule) };
  }

  /** Asks for a checkpoint after the present step, whether or not one is due. */
  want(): void {
    this.#wanted = true;
  }

  /** Begins to write in the background when one is due. Throws TrainingPausedError when the one before failed. */
  async beginIfDue(version: PublishedVersion, scheduleState: ScheduleState): Promise<void> {
    if (this.#problem !== undefined) throw this.#problem;
    const { everySteps } = this.#job.spec.checkpoint;
    const due = everySteps > 0 && version.version % everySteps === 0;
    if (!due && !this.#wanted) return;
    // At most one buffer is held by a checkpoint.
    await this.#writing;
    this.#wanted = false;
    this.#writing = this.#write(version, scheduleState).catch((error: Error) => {
      this.#problem = error;
    });
  }

  /** Writes a version, unless the newest checkpoint is of it. @throws TrainingPausedError where it cannot */
  async write(version: PublishedVersion, scheduleState: ScheduleState): Promise<void> {
    await this.#writing;
    if (this.#progress.checkpoint?.step !== version.version) await this.#write(version, scheduleState);
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  async #write({ version, buffer }: PublishedVersion, scheduleState: ScheduleState): Promise<void> {
    const { spec, dataset, layout, id, checkpointFolder, versions, numericsClass } = this.#job;
    const { checkpoints, ledger, metrics, log, onProgress } = this.#services;
    const release = this.#buffers.hold(buffer);
    const start = hostClockMs();
    try {
      ledger.sync();
      metrics.flush();
      const { parameters, momentum, statistics } = this.#buffers.get(buffer);
      const written = await checkpoints.write({
        folder: checkpointFolder,
        layout,
        state: { parameters, momentum, statistics, scheduleState },
        facts: {
          jobId: id,
          spec,
          step: version,
          epoch: version / stepsPerEpoch(dataset.trainCount, spec.training.batchSize),
          datasetIndexHash: dataset.indexHash,
          ...(dataset.classNames === undefined ? {} : { classNames: [...dataset.classNames] }),
          metrics: newestMetrics(this.#progress),
          versions,
          numericsClass,
          createdAt: new Date().toISOString(),
        },
        keep: spec.checkpoint.keep,
      });
      this.#services.spans.record({
        ...{ jobId: id, step: version, row: 'checkpoint', name: `checkpoint of step ${version}` },
        ...{ startMs: start, endMs: hostClockMs() },
      });
      this.#note(written);
      ledger.forgetBefore(version);
      log.info({ step: version, path: written.path }, `Checkpoint of step ${version}.`);
      onProgress();
    } catch (error) {
      const message = `The checkpoint of step ${version} cannot be written: ${messageOf(error)} The one before is kept; nothing is lost. Make room, then resume the job.`;
      throw new TrainingPausedError(message, { cause: error });
    } finally {
      release();
    }
  }

  #note({ path, manifest }: CheckpointOnDisk): void {
    const { step, parametersSha256, stateSha256, metrics } = manifest;
    this.#progress.checkpoint = { step, path, parametersSha256, stateSha256 };
    const evaluatedAt = metrics['test/step'];
    if (this.#progress.test !== null || evaluatedAt === undefined) return;
    const share = (name: string) => metrics[name] ?? 0;
    this.#progress.test = {
      step: evaluatedAt,
      loss: metrics['test/loss'] ?? null,
      top1: share('test/top1'),
      top5: share('test/top5'),
    };
  }
}

/** What is finite of the newest figures: JSON knows no other numbers. */
function newestMetrics({ loss, top1, test }: TrainingProgress): Record<string, number> {
  const figures = {
    'train/loss': loss,
    'train/top1': top1,
    'test/loss': test?.loss,
    'test/top1': test?.top1,
    'test/top5': test?.top5,
    'test/step': test?.step,
  };
  const known = Object.entries(figures).filter(
    (entry): entry is [string, number] => typeof entry[1] === 'number' && Number.isFinite(entry[1]),
  );
  return Object.fromEntries(known);
}
