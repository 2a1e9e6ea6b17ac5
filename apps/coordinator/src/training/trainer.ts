// Trains one job, step by step: plan, hand out, collect, commit, publish. Owns the order in which things happen;
// refuses to know how tasks travel (task-board.ts), how contributions are judged (step-collector.ts) and how sums
// and updates are computed (slices/).
import { clipFactor, decayRanges } from '#model/optimizer.js';
import { initialState } from '#model/parameters.js';
import { sumTree } from '#model/reduction.js';
import { stepsPerEpoch } from '#model/sampler.js';
import { initialScheduleState, learningRateAt, totalStepsOf } from '#model/schedule.js';
import { versionChecksum } from '#proto/blocks.js';
import type { TaskKey } from '#proto/task-entry.js';
import type { CheckpointOnDisk } from '../checkpoints/checkpoint-messages.js';
import { Evaluation, type EvaluationAnswer } from './evaluation.js';
import { differencesOnReplay, type StepRecord } from './ledger-format.js';
import type { OutcomeName } from './outcome.js';
import { inBlockOrder } from './slices/block-order.js';
import type { PublishedVersion, PushReport } from './slices/messages.js';
import { StateBuffers } from './state-buffers.js';
import { type CollectedStep, StepCollector } from './step-collector.js';
import { planEvaluation, planStep, type StepPlan } from './step-plan.js';
import { StepTasks } from './step-tasks.js';
import { TaskBoard } from './task-board.js';
import {
  TrainingFailedError,
  type TrainingJob,
  TrainingPausedError,
  type TrainingProgress,
  type TrainingServices,
} from './training-job.js';
import { StepClock } from './step-clock.js';

export class Trainer {
  readonly job: TrainingJob;
  readonly progress: TrainingProgress;
  readonly board: TaskBoard;
  readonly #services: TrainingServices;
  readonly #buffers: StateBuffers;
  readonly #clock: StepClock;
  #version!: PublishedVersion;
  #ahead: { plan: StepPlan; tasks: StepTasks } | undefined;
  #collector: StepCollector | undefined;
  #evaluation: Evaluation | undefined;
  #checkpointing: Promise<void> | undefined;
  #checkpointProblem: Error | undefined;
  #checkpointWanted = false;

  constructor(job: TrainingJob, services: TrainingServices) {
    this.job = job;
    this.#services = services;
    const { training } = job.spec;
    const counts = { parameters: job.layout.parameterCount, statistics: job.layout.statisticCount };
    this.#buffers = new StateBuffers(counts, (buffer, state) =>
      services.slices.broadcast({ type: 'add-buffer', jobId: job.id, buffer, state }),
    );
    this.board = new TaskBoard({
      jobId: job.id,
      priority: job.spec.priority,
      classId: job.classId,
      speculation: job.spec.faults.speculation,
      queue: services.queue,
      workers: services.workers,
      log: services.log,
      now: services.now,
    });
    const totalSteps = totalStepsOf(training, job.dataset.trainCount);
    this.#clock = new StepClock();
    this.progress = {
      step: 0,
      totalSteps,
      epoch: 0,
      loss: null,
      top1: null,
      test: null,
      imagesPerSecond: null,
      etaSeconds: null,
      workers: [],
      checkpoint: null,
      evaluating: false,
    };
  }

  /**
   * Trains from the newest good checkpoint to the end, or until `signal` is aborted: then the open step is abandoned
   * (determinism makes that free) and a checkpoint is written.
   * @throws TrainingPausedError or TrainingFailedError, and whatever is a bug
   */
  async run(signal: AbortSignal): Promise<'completed' | 'stopped'> {
    await this.#open();
    try {
      while (this.#version.version < this.progress.totalSteps) {
        if (signal.aborted || !(await this.#runStep(signal))) break;
      }
      const completed = this.#version.version === this.progress.totalSteps && (await this.#evaluateIfDue(signal));
      await this.#checkpoint();
      return completed ? 'completed' : 'stopped';
    } finally {
      await this.#close();
    }
  }

  /** One synchronous update. False when the signal ended it before its commit. */
  async #runStep(signal: AbortSignal): Promise<boolean> {
    if (!(await this.#evaluateIfDue(signal))) return false;
    const { plan, tasks } = this.#takeStep();
    const collector = this.#openStep(plan, tasks);
    try {
      await this.#handOut(plan, tasks);
      const collected = await abortable(collector.done, signal);
      if (collected === undefined) return false;
      await this.#commit(plan, collected);
    } finally {
      collector.close();
      this.#collector = undefined;
      this.board.close(tasks.id);
      this.#services.slices.broadcast({ type: 'close-step', jobId: this.job.id });
    }
    await this.#checkpointIfDue();
    return true;
  }

  /** The step that the workers prepare already, or a new one. */
  #takeStep(): { plan: StepPlan; tasks: StepTasks } {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead ?? this.#plan(this.#version.version);
  }

  #plan(step: number): { plan: StepPlan; tasks: StepTasks } {
    const { id: jobId, lineage, spec, dataset } = this.job;
    const plan = planStep(spec.training, dataset.trainCount, step);
    return { plan, tasks: new StepTasks({ jobId, lineage, step, round: 0, kind: 'train' }, plan.tasks.length) };
  }

  #openStep(plan: StepPlan, tasks: StepTasks): StepCollector {
    const { slices, workers } = this.#services;
    const collector = new StepCollector(plan, tasks, { slices, workers, board: this.board });
    this.#collector = collector;
    const { jobId, lineage, step, round } = tasks.id;
    slices.broadcast({
      type: 'open-step',
      step: { jobId, lineage, step, round, tasks: tasks.count, version: this.#version },
    });
    // Only now may the version be pulled: contributions to it find the step open.
    slices.broadcast({ type: 'publish', version: this.#version });
    return collector;
  }

  /** Queues the step's tasks and, where nothing comes between, those of the next, so that workers prepare its images. */
  async #handOut(plan: StepPlan, tasks: StepTasks): Promise<void> {
    await this.#queue(plan, tasks, false);
    const next = plan.step + 1;
    if (next >= this.progress.totalSteps || this.#evaluationDueAt(next)) return;
    this.#ahead = this.#plan(next);
    await this.#queue(this.#ahead.plan, this.#ahead.tasks, true);
  }

  async #queue(plan: StepPlan, tasks: StepTasks, lookAhead: boolean): Promise<void> {
    await this.board.open({
      tasks,
      lookAhead,
      entryOf: ({ task, attempt }) => {
        const { first, samples, firstShard } = plan.tasks[task]!;
        return {
          key: { ...tasks.id, task },
          attempt,
          version: plan.step,
          epoch: plan.epoch,
          first,
          samples,
          miniBatchSamples: plan.samples,
          firstShard,
        };
      },
    });
  }

  /** All is in and finite: update into another buffer, ledger, flip. A failure before the ledger has changed nothing. */
  async #commit(plan: StepPlan, collected: CollectedStep): Promise<void> {
    const { slices } = this.#services;
    const { id: jobId, spec, lineage } = this.job;
    const { optimizer, schedule, batchSize } = spec.training;
    const sums = await slices.request({ type: 'summarise', jobId });
    if (!sums.finite) throw new TrainingPausedError(`The summed gradient of step ${plan.step} is not finite; ${remedy}`);
    const squaredNorm = sumTree(inBlockOrder(sums.values));
    const perEpoch = stepsPerEpoch(this.job.dataset.trainCount, batchSize);
    const learningRate = learningRateAt(schedule, plan.step, perEpoch, this.progress.totalSteps);
    const buffer = await this.#buffers.spare(this.#version.buffer);
    const update = {
      jobId,
      fromBuffer: this.#version.buffer,
      toBuffer: buffer,
      learningRate,
      gradientScale: clipFactor(squaredNorm, optimizer.clipNorm),
    };
    const applied = await slices.request({ type: 'apply', update });
    if (!applied.finite) throw new TrainingPausedError(`The update of step ${plan.step} is not finite; ${remedy}`);
    const checksum = versionChecksum(inBlockOrder(applied.values));
    this.#record({
      kind: 'step',
      step: plan.step,
      version: plan.step + 1,
      lineage,
      round: 0,
      epoch: plan.epoch,
      first: plan.first,
      samples: plan.samples,
      sampleIdsSha256: plan.sampleIdsSha256,
      excluded: [],
      tasks: collected.tasks,
      refused: collected.refused,
      loss: collected.loss,
      learningRate,
      parametersChecksum: checksum,
      committedAt: new Date().toISOString(),
    });
    this.#version = { jobId, lineage, version: plan.step + 1, checksum, buffer };
    this.#note(plan, collected, learningRate, Math.sqrt(squaredNorm));
  }

  /** Appends to the ledger; where the step was committed before, a run since the checkpoint repeats it, to the bit. */
  #record(record: StepRecord): void {
    const recorded = this.#services.ledger.recordOf(record.step);
    if (recorded === undefined) return this.#append(record);
    const differing = differencesOnReplay(recorded, record);
    if (differing.length === 0) return;
    throw new TrainingFailedError(
      `Step ${record.step}, run again after a restart, came to something else than the ledger says (${differing.join(', ')}). ` +
        'Something that determines the bits has changed, such as the data or the device.',
    );
  }

  #append(record: StepRecord): void {
    try {
      this.#services.ledger.append(record);
    } catch (error) {
      throw new TrainingPausedError(`The ledger cannot be written to: ${messageOf(error)} Nothing is lost; make room, then resume.`, {
        cause: error,
      });
    }
  }

  /** Progress and metrics of a committed step. */
  #note(plan: StepPlan, collected: CollectedStep, learningRate: number, gradientNorm: number): void {
    const { metrics, onProgress } = this.#services;
    const times = this.#clock.committed(plan.samples);
    Object.assign(this.progress, {
      step: plan.step + 1,
      epoch: plan.epoch,
      loss: collected.loss,
      top1: collected.top1,
      imagesPerSecond: times.imagesPerSecond,
      etaSeconds: times.secondsPerStep * (this.progress.totalSteps - plan.step - 1),
      workers: [...new Set(collected.tasks.map(({ worker }) => worker))],
    });
    metrics.append(plan.step + 1, {
      'train/loss': collected.loss,
      'train/top1': collected.top1,
      'train/top5': collected.top5,
      learning_rate: learningRate,
      'gradient/norm': gradientNorm,
      'throughput/images_per_second': plan.samples / times.stepSeconds,
      'step/seconds': times.stepSeconds,
      'step/compute_seconds': collected.slowestComputeSeconds,
      'step/wait_seconds': Math.max(0, times.stepSeconds - collected.slowestComputeSeconds),
    });
    onProgress();
  }

  #evaluationDueAt(version: number): boolean {
    const { everyEpochs } = this.job.spec.evaluation;
    const perEpoch = stepsPerEpoch(this.job.dataset.trainCount, this.job.spec.training.batchSize);
    if (everyEpochs === 0 || version === 0) return false;
    return version % (everyEpochs * perEpoch) === 0 || version === this.progress.totalSteps;
  }

  /** Evaluates the present version if that is due and not done. False when the signal ended it. */
  async #evaluateIfDue(signal: AbortSignal): Promise<boolean> {
    const { version } = this.#version;
    if (!this.#evaluationDueAt(version) || this.progress.test?.step === version) return true;
    const { id: jobId, lineage, spec, dataset } = this.job;
    const plan = planEvaluation(spec.training.shardSize, dataset.testCount);
    const evaluation = new Evaluation({ jobId, lineage, version }, plan, this.board);
    this.#evaluation = evaluation;
    this.progress.evaluating = true;
    try {
      this.#services.slices.broadcast({ type: 'publish', version: this.#version });
      await evaluation.start();
      const result = await abortable(evaluation.done, signal);
      if (result === undefined) return false;
      this.progress.test = result;
      const { loss, top1, top5 } = result;
      this.#services.metrics.append(version, { 'test/loss': loss, 'test/top1': top1, 'test/top5': top5 });
      this.#clock.paused();
      return true;
    } finally {
      evaluation.close();
      this.#evaluation = undefined;
      this.progress.evaluating = false;
      this.#services.onProgress();
    }
  }

  // ---- What reaches the trainer from outside, all on the main thread ----

  /** False when no step is open that could take it. */
  takePush(slice: number, report: PushReport): boolean {
    this.#collector?.take(slice, report);
    return this.#collector !== undefined;
  }

  takeEvaluation(key: TaskKey, worker: string, answer: EvaluationAnswer): OutcomeName {
    return this.#evaluation?.take(key, worker, answer) ?? 'stale';
  }

  /** A worker could not compute a task: it goes to another, a few times. */
  taskFailed(key: TaskKey, worker: string, detail: string): void {
    if (key.kind === 'evaluate') this.#evaluation?.failed(key.task, worker, detail);
    else if (this.board.find(key) !== undefined) this.#collector?.failed(key.task, worker, detail);
  }

  /** Asks for a checkpoint after the present step. */
  wantCheckpoint(): void {
    this.#checkpointWanted = true;
  }

  // ---- Beginning, checkpoints, end ----

  async #open(): Promise<void> {
    const { job } = this;
    const { slices, log } = this.#services;
    const { optimizer, wire } = job.spec.training;
    slices.broadcast({
      type: 'open-job',
      job: {
        jobId: job.id,
        layoutHash: job.layout.hash,
        parameterCount: job.layout.parameterCount,
        statisticCount: job.layout.statisticCount,
        wire,
        momentum: optimizer.momentum,
        nesterov: optimizer.nesterov,
        decayRanges: decayRanges(job.layout, optimizer),
        tensors: job.layout.parameters.map(({ name, offset, size }) => ({ name, offset, size })),
      },
    });
    const buffer = await this.#buffers.spare(undefined);
    const into = this.#buffers.get(buffer);
    const restored = await this.#services.checkpoints.restore({ folder: job.checkpointFolder, layout: job.layout, into });
    for (const problem of restored.problems) log.warn(problem);
    const step = restored.checkpoint?.manifest.step ?? 0;
    if (restored.checkpoint === undefined) {
      const initial = initialState(job.spec.model, job.layout, job.spec.training.seed);
      into.parameters.set(initial.parameters);
      into.momentum.fill(0);
      into.statistics.set(initial.statistics);
    } else this.#noteCheckpoint(restored.checkpoint);
    const sums = await slices.request({ type: 'checksum', jobId: job.id, buffer });
    const checksum = versionChecksum(inBlockOrder(sums.values));
    this.#version = { jobId: job.id, lineage: job.lineage, version: step, checksum, buffer };
    this.#services.metrics.truncateFrom(step + 1);
    this.progress.step = step;
    this.progress.epoch = planStep(job.spec.training, job.dataset.trainCount, Math.max(0, step - 1)).epoch;
    this.board.start();
    if (restored.checkpoint === undefined) await this.#checkpoint();
    this.#services.onProgress();
  }

  async #checkpointIfDue(): Promise<void> {
    if (this.#checkpointProblem !== undefined) throw this.#checkpointProblem;
    const { everySteps } = this.job.spec.checkpoint;
    const due = everySteps > 0 && this.#version.version % everySteps === 0;
    if (!due && !this.#checkpointWanted) return;
    // The one before must be done: at most one buffer is held by a checkpoint.
    await this.#checkpointing;
    this.#checkpointWanted = false;
    this.#checkpointing = this.#checkpoint().catch((error: Error) => {
      this.#checkpointProblem = error;
    });
  }

  /** Writes the present version, unless the newest checkpoint is of it. */
  async #checkpoint(): Promise<void> {
    await this.#checkpointing;
    this.#checkpointing = undefined;
    const { version, buffer } = this.#version;
    if (this.progress.checkpoint?.step === version) return;
    const { job } = this;
    const release = this.#buffers.hold(buffer);
    try {
      this.#services.ledger.sync();
      const { parameters, momentum, statistics } = this.#buffers.get(buffer);
      const perEpoch = stepsPerEpoch(job.dataset.trainCount, job.spec.training.batchSize);
      const written = await this.#services.checkpoints.write({
        folder: job.checkpointFolder,
        layout: job.layout,
        state: { parameters, momentum, statistics, scheduleState: initialScheduleState },
        facts: {
          jobId: job.id,
          spec: job.spec,
          step: version,
          epoch: version / perEpoch,
          datasetIndexHash: job.dataset.indexHash,
          metrics: this.#newestMetrics(),
          versions: job.versions,
          numericsClass: job.numericsClass,
          createdAt: new Date().toISOString(),
        },
        keep: job.spec.checkpoint.keep,
      });
      this.#noteCheckpoint(written);
      this.#services.ledger.forgetBefore(version);
      this.#services.onProgress();
    } catch (error) {
      throw new TrainingPausedError(`The checkpoint of step ${version} cannot be written: ${messageOf(error)} Nothing is lost.`, {
        cause: error,
      });
    } finally {
      release();
    }
  }

  #newestMetrics(): Record<string, number> {
    const { loss, top1, test } = this.progress;
    return {
      ...(loss === null ? {} : { 'train/loss': loss }),
      ...(top1 === null ? {} : { 'train/top1': top1 }),
      ...(test === null ? {} : { 'test/loss': test.loss, 'test/top1': test.top1, 'test/top5': test.top5, 'test/step': test.step }),
    };
  }

  #noteCheckpoint({ path, manifest }: CheckpointOnDisk): void {
    const { step, parametersSha256, stateSha256, metrics } = manifest;
    this.progress.checkpoint = { step, path, parametersSha256, stateSha256 };
    const testStep = metrics['test/step'];
    if (this.progress.test !== null || testStep === undefined) return;
    this.progress.test = {
      step: testStep,
      loss: metrics['test/loss'] ?? Number.NaN,
      top1: metrics['test/top1'] ?? Number.NaN,
      top5: metrics['test/top5'] ?? Number.NaN,
    };
  }

  async #close(): Promise<void> {
    this.board.stop();
    await this.#checkpointing;
    this.#services.slices.broadcast({ type: 'close-job', jobId: this.job.id });
    this.#services.workers.endJob(this.job.id);
    this.#services.metrics.flush();
  }
}

const remedy = 'lower the learning rate, or clip the gradient (optimizer.clipNorm).';

/** The promise's value, or undefined when the signal was aborted before. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  let stop!: () => void;
  const aborted = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.endsWith('.') ? message : `${message}.`;
}
