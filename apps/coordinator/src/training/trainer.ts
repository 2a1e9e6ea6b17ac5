// Trains one job, step by step: plan, hand out, collect, commit, publish. Owns the order in which things happen;
// refuses to know how tasks travel (task-board.ts), how contributions are judged (step-collector.ts), how sums and
// updates are computed (slices/) and what a commit and a checkpoint consist of (commit.ts, job-checkpoints.ts).
import { evaluationShardSize } from '#model/evaluation-views.js';
import { contributionBytes, estimateCoordinatorMemory } from '#model/memory.js';
import { stepsPerEpoch } from '#model/sampler.js';
import { type ScheduleState, totalStepsOf } from '#model/schedule.js';
import { VectorMemory } from '#model/simd/vector-memory.js';
import { versionChecksum } from '#proto/blocks.js';
import { hostClockMs } from '#proto/host-clock.js';
import type { TaskKey } from '#proto/task-entry.js';
import type { PoolWorker } from '../workers/worker-registry.js';
import { abortable } from './abortable.js';
import { Admissions } from './admissions.js';
import { appendOrPause, type CommittedStep, Committer } from './commit.js';
import { Complaints } from './complaints.js';
import { Evaluation, type EvaluationAnswer } from './evaluation.js';
import { JobCheckpoints } from './job-checkpoints.js';
import { NotFiniteTasks } from './not-finite.js';
import type { OutcomeName } from './outcome.js';
import { inBlockOrder } from './slices/block-order.js';
import { sliceJobOf } from './slices/slice-job.js';
import type { PublishedVersion, PushReport } from './slices/messages.js';
import { StateBuffers } from './state-buffers.js';
import { StepClock } from './step-clock.js';
import { type CollectedStep, StepCollector } from './step-collector.js';
import { stepMetrics } from './step-metrics.js';
import { entryShards, planEvaluation, planStep, type StepPlan, tasksPerStep } from './step-plan.js';
import { StepTasks } from './step-tasks.js';
import { TaskBoard } from './task-board.js';
import type { TrainingJob, TrainingProgress, TrainingServices } from './training-job.js';

/** A step's plan with the states of its tasks. */
interface PlannedStep {
  readonly plan: StepPlan;
  readonly tasks: StepTasks;
}

export class Trainer {
  readonly job: TrainingJob;
  readonly progress: TrainingProgress;
  readonly board: TaskBoard;
  readonly admissions: Admissions;
  readonly complaints = new Complaints();
  readonly #services: TrainingServices;
  /** Holds the versions, and what slices stage and sum. */
  readonly #memory: VectorMemory;
  readonly #buffers: StateBuffers;
  readonly #checkpoints: JobCheckpoints;
  readonly #committer: Committer;
  readonly #clock = new StepClock();
  #version!: PublishedVersion;
  /** What the schedule remembers of the versions before. */
  #scheduleState!: ScheduleState;
  #ahead: PlannedStep | undefined;
  #collector: StepCollector | undefined;
  #evaluation: Evaluation | undefined;

  #opened = false;

  constructor(job: TrainingJob, services: TrainingServices) {
    this.job = job;
    this.#services = services;
    const { spec, layout, dataset, classId } = job;
    const counts = { parameters: layout.parameterCount, statistics: layout.statisticCount };
    const tasks = tasksPerStep(spec.training, dataset.trainCount);
    this.#memory = VectorMemory.ofBytes(estimateCoordinatorMemory(spec, tasks, services.stagingBytes));
    this.#buffers = new StateBuffers(counts, this.#memory, (buffer, state) =>
      services.slices.broadcast({ type: 'add-buffer', jobId: job.id, buffer, state }),
    );
    const { queue, workers, log, now } = services;
    const { speculation, reproducibility } = spec.faults;
    this.board = new TaskBoard({
      jobId: job.id,
      priority: spec.priority,
      classId,
      speculation,
      queue,
      workers,
      log,
      now,
      takes: ({ id }) => !this.admissions.refuses(id),
      onPass: () => {
        this.#collector?.relieve();
        this.#evaluation?.relieve(workers.active(classId).map(({ id }) => id));
      },
      delivers: (key, worker) => this.#collector?.hasFrom(worker, key.task) === true,
      onUnbegun: (key, worker, complaint) => this.taskFailed(key, worker.name, complaint),
      onTrouble: services.onProgress,
    });
    this.admissions = new Admissions(reproducibility === 'strict', services.probe);
    const totalSteps = totalStepsOf(spec.training, dataset.trainCount);
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
    this.#checkpoints = new JobCheckpoints(job, services, this.#buffers, this.progress);
    this.#committer = new Committer(job, services, this.#buffers, totalSteps);
  }

  /**
   * Trains from the newest good checkpoint to the end, or until `signal` is aborted: then the open step is abandoned
   * (determinism makes that free) and a checkpoint is written.
   * @throws TrainingPausedError or TrainingFailedError, and whatever is a bug
   */
  async run(signal: AbortSignal): Promise<'completed' | 'stopped'> {
    try {
      await this.#open();
      while (this.#version.version < this.progress.totalSteps) {
        if (!(await this.#evaluateIfDue(signal)) || !(await this.#runStep(signal))) break;
        // The last one is written after its evaluation, whose figures it carries.
        if (this.#version.version === this.progress.totalSteps) break;
        await this.#checkpoints.beginIfDue(this.#version, this.#scheduleState);
      }
      const completed = this.#version.version === this.progress.totalSteps && (await this.#evaluateIfDue(signal));
      await this.#checkpoints.write(this.#version, this.#scheduleState);
      return completed ? 'completed' : 'stopped';
    } finally {
      await this.#close();
    }
  }

  /** One synchronous update. False when the signal ended it before its commit. */
  async #runStep(signal: AbortSignal): Promise<boolean> {
    let excluded = this.#services.ledger.recordOf(this.#version.version)?.excludedShards ?? [];
    const culprits = new NotFiniteTasks(this.job);
    for (let round = 0; ; round += 1) {
      const planned = this.#takeStep(round, excluded);
      const outcome = await this.#round(planned, signal, (collected) => this.#commit(planned, collected));
      if (typeof outcome === 'string') return outcome === 'committed';
      // Some tasks are not finite, however often they are computed: find the shards, then do as the job says.
      const singly = culprits.planSingly(planned.plan, outcome.notFinite);
      round += 1;
      const tasks = this.#tasksOf(singly, round);
      const found = await this.#round({ plan: singly, tasks }, signal, async () => undefined);
      if (found === 'stopped') return false;
      excluded = culprits.exclude(planned.plan, singly, found === 'committed' ? [] : found.notFinite);
    }
  }

  /** Hands out a step's tasks and collects what comes back; `whenWhole` runs while the slices hold the sums. */
  async #round(
    { plan, tasks }: PlannedStep,
    signal: AbortSignal,
    whenWhole: (collected: CollectedStep) => Promise<void>,
  ): Promise<'stopped' | 'committed' | CollectedStep> {
    if (signal.aborted) return 'stopped';
    const start = hostClockMs();
    const collector = this.#openStep(plan, tasks);
    try {
      await this.#handOut(plan, tasks);
      const collected = await abortable(collector.done, signal);
      if (collected === undefined) return 'stopped';
      if (collected.notFinite.length > 0) return collected;
      await whenWhole(collected);
      this.#services.spans.record({
        ...{ jobId: this.job.id, step: plan.step, row: 'trainer', name: `step ${plan.step}` },
        ...{ startMs: start, endMs: hostClockMs() },
      });
      return 'committed';
    } finally {
      collector.close();
      this.#collector = undefined;
      this.board.close(tasks.id);
      this.#services.slices.broadcast({ type: 'close-step', jobId: this.job.id });
    }
  }

  /** The step that the workers prepare already, or a new round of it. */
  #takeStep(round: number, excluded: readonly number[]): PlannedStep {
    const step = this.#version.version;
    const ahead = this.#ahead;
    if (ahead?.plan.step !== step) return this.#plan(step, round, excluded);
    this.#ahead = undefined;
    return ahead;
  }

  #plan(step: number, round: number, excluded: readonly number[]): PlannedStep {
    const plan = planStep(this.job.spec.training, this.job.dataset.trainCount, step, excluded);
    return { plan, tasks: this.#tasksOf(plan, round) };
  }

  #tasksOf(plan: StepPlan, round: number): StepTasks {
    const { id: jobId, lineage } = this.job;
    return new StepTasks({ jobId, lineage, step: plan.step, round, kind: 'train' }, plan.tasks.length);
  }

  #openStep(plan: StepPlan, tasks: StepTasks): StepCollector {
    const { slices, workers, stagingBytes } = this.#services;
    const { admissions, board } = this;
    const { layout, spec } = this.job;
    const stagedAtOnce = Math.max(1, Math.floor(stagingBytes / contributionBytes(layout, spec.training)));
    const collector = new StepCollector(plan, tasks, {
      slices,
      workers,
      board,
      admissions,
      stagedAtOnce,
      contributionsPerSum: spec.training.wire === 'bfloat16' ? 2 : 1,
      proofShare: spec.faults.proofShare,
      seed: spec.training.seed,
      classId: this.job.classId,
      onAccepted: () => this.complaints.clear(),
      onRefused: (complaint) => this.complained(complaint),
    });
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
    if (next >= this.progress.totalSteps || this.#evaluationDueAt(next) || this.#ahead !== undefined) return;
    this.#ahead = this.#plan(next, 0, this.#services.ledger.recordOf(next)?.excludedShards ?? []);
    await this.#queue(this.#ahead.plan, this.#ahead.tasks, true);
  }

  async #queue(plan: StepPlan, tasks: StepTasks, lookAhead: boolean): Promise<void> {
    await this.board.open({
      tasks,
      lookAhead,
      entryOf: ({ task, attempt }) => ({
        key: { ...tasks.id, task },
        attempt,
        version: plan.step,
        epoch: plan.epoch,
        shards: entryShards(plan.tasks[task]!.shards),
        miniBatchSamples: plan.samplesLeft,
      }),
    });
  }

  async #commit({ plan, tasks }: PlannedStep, collected: CollectedStep): Promise<void> {
    const { test } = this.progress;
    const base = {
      version: this.#version,
      scheduleState: this.#scheduleState,
      evaluation: test?.step === plan.step ? { ...test, loss: test.loss ?? Number.NaN } : undefined,
    };
    const committed = await this.#committer.commit(base, plan, tasks.id.round, collected);
    this.#version = committed.version;
    this.#scheduleState = committed.scheduleState;
    this.#note(plan, collected, committed);
  }

  /** Progress and metrics of a committed step. */
  #note(plan: StepPlan, collected: CollectedStep, committed: CommittedStep): void {
    const times = this.#clock.committed(plan.samplesLeft);
    Object.assign(this.progress, {
      step: plan.step + 1,
      epoch: plan.epoch,
      loss: collected.loss,
      top1: collected.top1,
      imagesPerSecond: times.imagesPerSecond,
      etaSeconds: times.secondsPerStep && times.secondsPerStep * (this.progress.totalSteps - plan.step - 1),
      workers: [...new Set(collected.tasks.map(({ worker }) => worker))],
    });
    this.#services.metrics.append(plan.step + 1, stepMetrics(plan.samplesLeft, collected, committed, times));
    this.#services.onProgress();
  }

  #evaluationDueAt(version: number): boolean {
    const { everyEpochs } = this.job.spec.evaluation;
    const perEpoch = stepsPerEpoch(this.job.dataset.trainCount, this.job.spec.training.batchSize);
    if (everyEpochs === 0) return false;
    if (version === 0) return this.progress.totalSteps === 0;
    return version % (everyEpochs * perEpoch) === 0 || version === this.progress.totalSteps;
  }

  /** Evaluates the present version if that is due and not done. False when the signal ended it. */
  async #evaluateIfDue(signal: AbortSignal): Promise<boolean> {
    const { version } = this.#version;
    if (!this.#evaluationDueAt(version) || this.progress.test?.step === version) return true;
    const { id: jobId, lineage, spec, dataset } = this.job;
    const shardSize = evaluationShardSize(spec.model, spec.evaluation, spec.training.shardSize);
    const plan = planEvaluation(shardSize, dataset.testCount);
    const evaluation = new Evaluation({ jobId, lineage, version }, plan, this.board);
    this.#evaluation = evaluation;
    this.progress.evaluating = true;
    const start = hostClockMs();
    try {
      this.#services.slices.broadcast({ type: 'publish', version: this.#version });
      await evaluation.start();
      const result = await abortable(evaluation.done, signal);
      if (result === undefined) return false;
      this.progress.test = result;
      const { loss, top1, top5 } = result;
      this.#services.metrics.append(version, {
        'test/loss': loss ?? Number.NaN,
        'test/top1': top1,
        'test/top5': top5,
      });
      this.#clock.paused();
      this.#services.spans.record({
        ...{ jobId, step: version, row: 'evaluation', name: `evaluation of version ${version}` },
        ...{ startMs: start, endMs: hostClockMs() },
      });
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
    if (!this.admissions.admits(worker)) return 'not_admitted';
    const outcome = this.#evaluation?.take(key, worker, answer) ?? 'stale';
    if (outcome === 'accepted') this.complaints.clear();
    return outcome;
  }

  workerGone(worker: string): void {
    this.admissions.forget(worker);
    this.#collector?.workerGone(worker);
    this.board.workerGone(worker);
    // Without any worker nothing else would tell people why the job stands still.
    this.#services.onProgress();
  }

  /** Whether `progress` tells where the training is; before, its checkpoint is still being read. */
  get opened(): boolean {
    return this.#opened;
  }

  /** A worker's checksum of the probe. True: its contributions count from now on. */
  takeProbe(worker: PoolWorker, checksum: number): boolean {
    return this.admissions.judge(worker.id, worker.name, checksum);
  }

  /** A worker did not do a task, and says why: people hear of it where that goes on. */
  complained(complaint: string): void {
    this.complaints.add(complaint);
    this.#services.onProgress();
  }

  /** A worker could not compute a task: it goes to another, a few times. */
  taskFailed(key: TaskKey, worker: string, detail: string): void {
    if (key.kind === 'evaluate') this.#evaluation?.failed(key.task, worker, detail);
    else if (this.board.find(key) !== undefined) this.#collector?.failed(key, worker, detail);
  }

  /** Asks for a checkpoint after the present step. */
  wantCheckpoint(): void {
    this.#checkpoints.want();
  }

  // ---- Beginning and end ----

  async #open(): Promise<void> {
    const { job } = this;
    const { slices, ledger, metrics, onOpened, onProgress } = this.#services;
    slices.broadcast({ type: 'open-job', job: sliceJobOf(job), memory: this.#memory.memory });
    const buffer = await this.#buffers.spare(undefined);
    const { step, scheduleState } = await this.#checkpoints.restore(buffer);
    this.#scheduleState = scheduleState;
    const sums = await slices.request({ type: 'checksum', jobId: job.id, buffer });
    const checksum = versionChecksum(inBlockOrder(sums.values));
    this.#version = { jobId: job.id, lineage: job.lineage, version: step, checksum, buffer };
    // Bits that need not repeat cannot be compared: what was committed since is taken back.
    if (job.rollback && ledger.lastStep() >= step) {
      const reason = 'The steps since the checkpoint are run again under another numerics class.';
      appendOrPause(ledger, { kind: 'rollback', toVersion: step, reason, committedAt: new Date().toISOString() });
    }
    ledger.forgetBefore(step);
    onOpened();
    this.#opened = true;
    metrics.truncateFrom(step + 1);
    this.progress.step = step;
    this.progress.epoch = planStep(job.spec.training, job.dataset.trainCount, Math.max(0, step - 1)).epoch;
    this.board.start();
    await this.#checkpoints.write(this.#version, this.#scheduleState);
    this.#clock.paused();
    onProgress();
  }

  async #close(): Promise<void> {
    this.board.stop();
    await this.#checkpoints.settled();
    this.#services.slices.broadcast({ type: 'close-job', jobId: this.job.id });
    this.#services.workers.endJob(this.job.id);
  }
}
