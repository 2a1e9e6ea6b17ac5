// Takes the contributions of one training step: admits, refuses, picks the winners, and knows when all are in.
// Refuses to know the optimizer and the queue's entries.
import { taskName } from '#proto/task-entry.js';
import type { PoolWorker, WorkerRegistry } from '../workers/worker-registry.js';
import { type Contribution, Contributions } from './contributions.js';
import type { StepRecord } from './ledger-format.js';
import type { OutcomeName } from './outcome.js';
import type { PushReport, Slices } from './slices/messages.js';
import type { StepPlan } from './step-plan.js';
import type { StepTasks } from './step-tasks.js';
import type { TaskBoard } from './task-board.js';
import { TrainingPausedError } from './training-job.js';

/** A gradient that is not finite is computed again this often before the job pauses. */
const notFiniteRetries = 1;
/** A task whose computation fails is given out again this often before the job pauses. */
const failureRetries = 4;
/** Refusals kept per step for the ledger; more are only counted. */
const keptRefusals = 50;

export interface CollectorServices {
  readonly slices: Slices;
  readonly workers: WorkerRegistry;
  readonly board: TaskBoard;
}

export interface CollectedStep {
  readonly tasks: StepRecord['tasks'];
  readonly refused: StepRecord['refused'];
  /** Mean loss over the mini-batch, nats: the tasks' sums added in task order. */
  readonly loss: number;
  /** Shares in [0, 1]. */
  readonly top1: number;
  readonly top5: number;
  readonly slowestComputeSeconds: number;
}

export class StepCollector {
  readonly #plan: StepPlan;
  readonly #tasks: StepTasks;
  readonly #services: CollectorServices;
  readonly #contributions: Contributions;
  readonly #winners: (Contribution | undefined)[];
  readonly #refused: StepRecord['refused'] = [];
  readonly #notFinite = new Map<number, number>();
  readonly #failures = new Map<number, number>();
  #resolve!: (step: CollectedStep) => void;
  #reject!: (error: Error) => void;
  /** Resolves when every task has its contribution; throws TrainingPausedError when that cannot be. */
  readonly done: Promise<CollectedStep>;

  constructor(plan: StepPlan, tasks: StepTasks, services: CollectorServices) {
    this.#plan = plan;
    this.#tasks = tasks;
    this.#services = services;
    this.#contributions = new Contributions(services.slices.count);
    this.#winners = Array.from({ length: tasks.count }, () => undefined);
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // It may be abandoned before anybody waits for it.
    this.done.catch(() => undefined);
  }

  /** A slice reports on a push of this step's job. */
  take(slice: number, report: PushReport): void {
    switch (report.type) {
      case 'push-begun':
        return this.#begun(slice, report);
      case 'push-whole': {
        const { pushId, totals, blockChecksums } = report;
        const contribution = this.#contributions.whole(slice, pushId, totals, blockChecksums);
        if (contribution !== undefined) this.#judge(contribution);
        return;
      }
      case 'push-failed': {
        const contribution = this.#contributions.of(slice, report.pushId);
        if (contribution !== undefined && contribution.verdict === undefined) {
          this.#refuse(contribution, report.outcome, report.detail);
        }
        return;
      }
      case 'push-refused':
        this.#note(report.worker, report.key.task, report.attempt, report.outcome);
        // Should it be the present task that it got wrong, another is to have it.
        this.#services.board.release(report.key, report.worker);
    }
  }

  /** A worker says that it cannot compute a task. */
  failed(task: number, worker: string, detail: string): void {
    const times = (this.#failures.get(task) ?? 0) + 1;
    this.#failures.set(task, times);
    if (times <= failureRetries) return;
    this.#reject(
      new TrainingPausedError(
        `Task ${task} of step ${this.#plan.step} failed ${times} times, last on worker ${worker}: ${detail}`,
      ),
    );
  }

  /** The step is abandoned, or over: what is still on its way is stale. */
  close(): void {
    for (const contribution of this.#contributions.undecided()) {
      this.#tell(contribution, 'stale', `Step ${this.#plan.step} is over.`);
    }
    this.#contributions.clear();
  }

  #begun(slice: number, report: Extract<PushReport, { type: 'push-begun' }>): void {
    const { pushId, worker, key, attempt } = report;
    const contribution = this.#contributions.begin(slice, pushId, worker, key, attempt);
    const { verdict } = contribution;
    const { step, lineage, round } = this.#tasks.id;
    if (key.step !== step || key.lineage !== lineage || key.round !== round) {
      // The slice let it in just before it heard that the step was over.
      this.#refuse(contribution, 'stale', `${taskName(key)} came after its step was over.`);
    } else if (verdict !== undefined) {
      this.#services.slices.send(slice, { type: 'refuse', pushId, ...verdict });
    } else if (this.#tasks.stateOf(key.task) === 'accepted') {
      this.#refuse(contribution, 'duplicate', `${taskName(key)} has its contribution already.`);
    } else {
      this.#services.slices.send(slice, { type: 'admit', pushId });
    }
  }

  /** Whole in all slices: it wins unless another did, or it computed with other samples. */
  #judge(contribution: Contribution): void {
    const { key, worker, totals } = contribution;
    const planned = this.#plan.tasks[key.task]!;
    if (totals.samples !== planned.samples || totals.sampleIdsSha256 !== planned.sampleIdsSha256) {
      return this.#refuse(contribution, 'wrong_samples', `${taskName(key)} was computed with other samples than its own.`);
    }
    const { board } = this.#services;
    board.accepted(key, worker);
    if (!this.#tasks.accept(key.task, worker)) {
      return this.#refuse(contribution, 'duplicate', `${taskName(key)} has its contribution already.`);
    }
    this.#winners[key.task] = contribution;
    for (const { slice, pushId } of this.#contributions.decide(contribution, 'accepted', '')) {
      this.#services.slices.send(slice, { type: 'accept', pushId });
    }
    const from = this.#worker(worker);
    from?.noteTask(totals.computeSeconds, totals.samples);
    for (const other of this.#contributions.undecided(key.task)) {
      this.#refuse(other, 'duplicate', `${taskName(key)} has its contribution already.`);
    }
    if (this.#tasks.complete) this.#resolve(this.#collected());
  }

  #refuse(contribution: Contribution, outcome: OutcomeName, detail: string): void {
    const { key, worker, attempt } = contribution;
    this.#tell(contribution, outcome, detail);
    this.#note(worker, key.task, attempt, outcome);
    if (outcome === 'not_finite') this.#countNotFinite(contribution, detail);
    this.#services.board.release(key, worker);
  }

  #countNotFinite(contribution: Contribution, detail: string): void {
    const { task } = contribution.key;
    const times = (this.#notFinite.get(task) ?? 0) + 1;
    this.#notFinite.set(task, times);
    if (times <= notFiniteRetries) return;
    const { first, samples } = this.#plan.tasks[task]!;
    const name = this.#worker(contribution.worker)?.name ?? contribution.worker;
    this.#reject(
      new TrainingPausedError(
        `The gradient is not finite, also when computed again (last by worker ${name}): ${detail} ` +
          `The task's samples are at positions ${first} to ${first + samples - 1} of epoch ${this.#plan.epoch}. ` +
          'Lower the learning rate, clip the gradient (optimizer.clipNorm), or train in float32.',
      ),
    );
  }

  #tell(contribution: Contribution, outcome: OutcomeName, detail: string): void {
    for (const { slice, pushId } of this.#contributions.decide(contribution, outcome, detail)) {
      this.#services.slices.send(slice, { type: 'refuse', pushId, outcome, detail });
    }
  }

  #note(workerId: string, task: number, attempt: number, reason: OutcomeName): void {
    const worker = this.#worker(workerId);
    worker?.noteRefusal(reason);
    if (worker !== undefined) this.#services.workers.changed(worker);
    if (this.#refused.length < keptRefusals) this.#refused.push({ task, worker: worker?.name ?? workerId, attempt, reason });
  }

  #collected(): CollectedStep {
    const winners = this.#winners.map((winner) => winner!);
    const sum = (of: (contribution: Contribution) => number) => winners.reduce((total, each) => total + of(each), 0);
    const samples = sum(({ totals }) => totals.samples);
    return {
      tasks: winners.map(({ key, attempt, worker, totals, checksum }) => ({
        task: key.task,
        samples: totals.samples,
        worker: this.#worker(worker)?.name ?? worker,
        attempt,
        seconds: totals.computeSeconds,
        checksum,
      })),
      refused: this.#refused,
      loss: sum(({ totals }) => totals.lossSum) / samples,
      top1: sum(({ totals }) => totals.top1Hits) / samples,
      top5: sum(({ totals }) => totals.top5Hits) / samples,
      slowestComputeSeconds: Math.max(...winners.map(({ totals }) => totals.computeSeconds)),
    };
  }

  #worker(id: string): PoolWorker | undefined {
    return this.#services.workers.get(id);
  }
}
