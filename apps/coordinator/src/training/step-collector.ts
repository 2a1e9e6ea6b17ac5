// Takes the contributions of one training step: admits, refuses, picks the winners, and knows when all are in.
// Refuses to know the optimizer and the queue's entries.
import { type TaskKey, taskName, toWireKey } from '#proto/task-entry.js';
import type { PoolWorker, WorkerRegistry } from '../workers/worker-registry.js';
import type { Admissions } from './admissions.js';
import { type Contribution, Contributions } from './contributions.js';
import type { StepRecord } from './ledger-format.js';
import type { OutcomeName } from './outcome.js';
import type { PushReport, Slices } from './slices/messages.js';
import { Proofs } from './proofs.js';
import { StagingRoom } from './staging-room.js';
import { slowestOf } from './step-parts.js';
import type { StepPlan } from './step-plan.js';
import type { StepTasks } from './step-tasks.js';
import type { TaskBoard } from './task-board.js';
import { messageOf, TrainingPausedError } from './training-job.js';

/** A gradient that is not finite is computed again this often before the task is given up. */
const notFiniteRetries = 1;
/** A task whose computation fails is given out again this often before the job pauses. */
const failureRetries = 4;
/** Stands for a push that its slice has answered already; slices number theirs from 1. */
const noPush = 0;
/** Refusals kept per step for the ledger; more are only counted. */
const keptRefusals = 50;
/** Outcomes that are nobody's fault. */
const harmless: ReadonlySet<OutcomeName> = new Set(['duplicate', 'stale', 'no_room']);
/** Workers whose gradients are here and undecided are told so each time that `relieve` was called so often: by seconds. */
const heldEvery = 20;

export interface CollectorServices {
  readonly slices: Slices;
  readonly workers: WorkerRegistry;
  readonly board: Pick<TaskBoard, 'accepted' | 'release' | 'elsewhere'>;
  /** Share of tasks that two workers must agree on. */
  readonly proofShare: number;
  readonly seed: number;
  /** Class of the workers that may be asked for a proof. */
  readonly classId: string | undefined;
  readonly admissions: Pick<Admissions, 'admits'>;
  /** See `RoomOptions`. */
  readonly stagedAtOnce: number;
  readonly contributionsPerSum: number;
  /** A task is done. */
  readonly onAccepted: () => void;
  /** A contribution was refused for what it is, not for coming late; `complaint` says so, for people. */
  readonly onRefused: (complaint: string) => void;
}

/** A task whose gradient is not finite however often it is computed. */
export interface NotFiniteTask {
  readonly task: number;
  /** Name of the last worker that computed it. */
  readonly worker: string;
  /** Names the layer. */
  readonly detail: string;
}

export interface CollectedStep {
  /** Where there are any, the step cannot be committed; the rest of the numbers are those of the other tasks. */
  readonly notFinite: readonly NotFiniteTask[];
  readonly tasks: StepRecord['tasks'];
  readonly refused: StepRecord['refused'];
  /** Mean loss over the mini-batch, nats: the tasks' sums added in task order. */
  readonly loss: number;
  /** Shares in [0, 1]. */
  readonly top1: number;
  readonly top5: number;
  readonly slowest: ReturnType<typeof slowestOf>;
}

export class StepCollector {
  readonly #plan: StepPlan;
  readonly #tasks: StepTasks;
  readonly #services: CollectorServices;
  readonly #contributions: Contributions;
  readonly #winners: (Contribution | undefined)[];
  readonly #room: StagingRoom<Contribution>;
  readonly #proofs: Proofs<Contribution>;
  readonly #provedBy = new Map<number, string>();
  readonly #refused: StepRecord['refused'] = [];
  readonly #notFiniteTimes = new Map<number, number>();
  readonly #notFinite: NotFiniteTask[] = [];
  readonly #failures = new Map<number, number>();
  #relieved = 0;
  #resolve!: (step: CollectedStep) => void;
  #reject!: (error: Error) => void;
  /** Resolves when every task has its contribution or was given up; throws TrainingPausedError when that cannot be. */
  readonly done: Promise<CollectedStep>;

  constructor(plan: StepPlan, tasks: StepTasks, services: CollectorServices) {
    this.#plan = plan;
    this.#tasks = tasks;
    this.#services = services;
    this.#contributions = new Contributions(services.slices.count);
    this.#winners = Array.from({ length: tasks.count }, () => undefined);
    this.#room = new StagingRoom({
      tasks: tasks.count,
      stagedAtOnce: services.stagedAtOnce,
      contributionsPerSum: services.contributionsPerSum,
      lowest: () => tasks.lowestUnaccepted(),
      onAdmitted: ({ parts }) => {
        for (const { slice, pushId } of parts) services.slices.send(slice, { type: 'admit', pushId });
      },
    });
    this.#proofs = new Proofs(services.proofShare, services.seed, plan.step);
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
        // What one slice refuses will never be whole, also where the other parts are still to come; and should it be a
        // present task, another is to have it.
        const { worker, key, attempt, outcome } = report;
        const contribution = this.#contributions.begin(slice, noPush, worker, key, attempt);
        if (contribution.verdict === undefined) {
          this.#tell(contribution, outcome, `Slice ${slice} refused its part of ${taskName(key)}.`);
        }
        this.#services.board.release(report.key, report.worker, report.attempt);
    }
  }

  /** A worker says that it cannot compute a task. One that is prepared ahead of its step has its chances then. */
  failed({ step, round, task }: TaskKey, worker: string, detail: string): void {
    if (step !== this.#tasks.id.step || round !== this.#tasks.id.round) return;
    const times = (this.#failures.get(task) ?? 0) + 1;
    this.#failures.set(task, times);
    if (times <= failureRetries) return;
    this.#reject(
      new TrainingPausedError(
        `Task ${task} of step ${this.#plan.step} failed ${times} times, last on worker ${worker}: ${messageOf(detail)} Put that right, then resume the job.`,
      ),
    );
  }

  /** A worker's session ended: what it has not delivered whole it never will. */
  workerGone(worker: string): void {
    for (const contribution of this.#contributions.undecided()) {
      if (contribution.worker !== worker || this.#proofs.holds(contribution)) continue;
      this.#refuse(
        contribution,
        'incomplete',
        `The worker was lost before ${taskName(contribution.key)} was delivered.`,
      );
    }
  }

  /**
   * Called now and then: where no room is left and the task that must come first is in nobody's hands, or in those of a
   * worker that only waits, a waiting contribution gives way. Its task is queued again.
   */
  relieve(): void {
    this.#relieved += 1;
    if (this.#relieved % heldEvery === 0) this.#tellHeld();
    this.#giveUpProofs();
    const { workers, classId } = this.#services;
    const active = workers.active(classId);
    this.#tasks.readmit(
      active.map(({ id }) => id),
      this.#proofs.tasks(),
    );
    const lowest = this.#tasks.lowestUnaccepted();
    const { waiting } = this.#room;
    if (waiting.length === 0 || lowest === undefined) return;
    // On its way, rather than waiting for another that proves it.
    if (this.#contributions.undecided(lowest).some((contribution) => !this.#proofs.holds(contribution))) return;
    const holders = this.#tasks.claimsOf(lowest).map((claim) => claim.worker);
    const computing = holders.some((holder) => typeof this.#worker(holder)?.heartbeat.computing === 'string');
    if (computing) return;
    const candidates = waiting.filter(({ worker }) => holders.length === 0 || holders.includes(worker));
    const [last] = candidates.toSorted((a, b) => b.key.task - a.key.task);
    if (last !== undefined)
      this.#refuse(last, 'no_room', `There is no room for ${taskName(last.key)} before task ${lowest} is done.`);
  }

  /** Whether a contribution of this worker to this task has begun to arrive and is not decided. */
  hasFrom(worker: string, task: number): boolean {
    return this.#contributions.undecided(task).some((contribution) => contribution.worker === worker);
  }

  /** Who waits for an answer gives up in the end, unless it hears that waiting is right. */
  #tellHeld(): void {
    for (const { worker, key, attempt } of this.#contributions.undecided()) {
      this.#worker(worker)?.send?.({ $case: 'pushHeld', value: { key: toWireKey(key), attempt } });
    }
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
    } else if (!this.#services.admissions.admits(worker)) {
      this.#refuse(contribution, 'not_admitted', `The worker has not shown that it computes the same bits (probe).`);
    } else if (this.#room.has(contribution)) {
      this.#services.slices.send(slice, { type: 'admit', pushId });
    } else {
      this.#room.enter(contribution);
    }
  }

  /** Whole in all slices: it wins unless another did, or it computed with other samples. */
  #judge(contribution: Contribution): void {
    const { key, totals } = contribution;
    const planned = this.#plan.tasks[key.task]!;
    if (!Number.isFinite(totals.lossSum)) {
      return this.#refuse(contribution, 'not_finite', `The loss of ${taskName(key)} is not finite.`);
    }
    if (totals.samples !== planned.samples || totals.sampleIdsSha256 !== planned.sampleIdsSha256) {
      return this.#refuse(
        contribution,
        'wrong_samples',
        `${taskName(key)} was computed with other samples than its own.`,
      );
    }
    if (this.#proofs.wants(key.task) && this.#tasks.stateOf(key.task) !== 'accepted') this.#prove(contribution);
    else this.#accept(contribution);
  }

  /** It counts once another worker came to the same bits; who comes to others than two that agree is sent away. */
  #prove(contribution: Contribution): void {
    const { key, worker, attempt } = contribution;
    if (this.#proofs.waiting(key.task).some((other) => other.worker === worker)) {
      return this.#refuse(contribution, 'duplicate', `${taskName(key)} has this worker's contribution already.`);
    }
    const proof = this.#proofs.offer(contribution);
    if (proof === undefined) return this.#services.board.elsewhere(key, worker, attempt);
    for (const differing of proof.differing) {
      const name = this.#services.workers.nameOf(differing.worker);
      this.#refuse(
        differing,
        'not_admitted',
        `Worker ${name} computed other bits for ${taskName(key)} than two others.`,
      );
      if (this.#worker(differing.worker) !== undefined) this.#services.workers.drain(differing.worker);
    }
    this.#provedBy.set(key.task, this.#services.workers.nameOf(proof.provedBy));
    this.#accept(proof.accepted);
  }

  /** Where nobody else is there to prove a task, one contribution must do; of two that differ none can. */
  #giveUpProofs(): void {
    const { workers, classId } = this.#services;
    for (const task of this.#proofs.tasks()) {
      const waiting = this.#proofs.waiting(task);
      const others = workers.active(classId).some(({ id }) => !this.#tasks.excludes(task, id));
      const [only, second] = waiting;
      if (others || only === undefined) continue;
      if (second === undefined) {
        this.#proofs.take(task);
        this.#accept(only);
        continue;
      }
      const names = waiting.map(({ worker }) => workers.nameOf(worker)).join(' and ');
      this.#reject(
        new TrainingPausedError(
          `The workers ${names} computed different bits for ${taskName(only.key)}, and there is no third to say which is right. ` +
            'Stop the one that you do not trust, start another, then resume the job.',
        ),
      );
    }
  }

  #accept(contribution: Contribution): void {
    const { key, worker, attempt, totals } = contribution;
    this.#services.board.accepted(key, worker, attempt);
    if (!this.#tasks.accept(key.task, worker)) {
      return this.#refuse(contribution, 'duplicate', `${taskName(key)} has its contribution already.`);
    }
    this.#winners[key.task] = contribution;
    this.#room.sum(contribution);
    for (const { slice, pushId } of this.#contributions.decide(contribution, 'accepted', '')) {
      this.#services.slices.send(slice, { type: 'accept', pushId });
    }
    const from = this.#worker(worker);
    from?.noteTask(totals.computeSeconds, totals.samples);
    this.#services.onAccepted();
    for (const other of this.#contributions.undecided(key.task)) {
      this.#refuse(other, 'duplicate', `${taskName(key)} has its contribution already.`);
    }
    if (this.#tasks.complete) this.#resolve(this.#collected());
    else this.#room.admit();
  }

  #refuse(contribution: Contribution, outcome: OutcomeName, detail: string): void {
    const { key, worker, attempt } = contribution;
    this.#tell(contribution, outcome, detail);
    this.#note(worker, key.task, attempt, outcome);
    if (outcome === 'not_finite') {
      this.#countNotFinite(contribution, detail);
      // Another is to try: a worker that computes wrongly must not decide alone.
      return this.#services.board.elsewhere(key, worker, attempt);
    }
    this.#services.board.release(key, worker, attempt);
  }

  /** Computed again, maybe elsewhere; when that is of no use, the task is given up. */
  #countNotFinite(contribution: Contribution, detail: string): void {
    const { task } = contribution.key;
    const times = (this.#notFiniteTimes.get(task) ?? 0) + 1;
    this.#notFiniteTimes.set(task, times);
    if (times <= notFiniteRetries || this.#tasks.stateOf(task) === 'accepted') return;
    const worker = this.#services.workers.nameOf(contribution.worker);
    this.#notFinite.push({ task, worker, detail });
    // Who holds a copy computes for nothing. Told while it is known who that is: nobody has a claim to a task that is over.
    this.#services.board.accepted(contribution.key, contribution.worker, contribution.attempt);
    this.#tasks.accept(task, contribution.worker);
    if (this.#tasks.complete) this.#resolve(this.#collected());
    else this.#room.admit();
  }

  #tell(contribution: Contribution, outcome: OutcomeName, detail: string): void {
    for (const { slice, pushId } of this.#contributions.decide(contribution, outcome, detail)) {
      this.#services.slices.send(slice, { type: 'refuse', pushId, outcome, detail });
    }
    this.#room.leave(contribution);
  }

  #note(workerId: string, task: number, attempt: number, reason: OutcomeName): void {
    const worker = this.#worker(workerId);
    worker?.noteRefusal(reason);
    if (worker !== undefined) this.#services.workers.changed(worker);
    const name = this.#services.workers.nameOf(workerId);
    if (this.#refused.length < keptRefusals) this.#refused.push({ task, worker: name, attempt, reason });
    if (harmless.has(reason)) return;
    const key = { ...this.#tasks.id, task };
    this.#services.onRefused(`What worker ${name} computed for ${taskName(key)} was refused (${reason}).`);
  }

  #collected(): CollectedStep {
    const winners = this.#winners.filter((winner) => winner !== undefined);
    const sum = (of: (contribution: Contribution) => number) => winners.reduce((total, each) => total + of(each), 0);
    const samples = sum(({ totals }) => totals.samples);
    return {
      notFinite: this.#notFinite,
      tasks: winners.map(({ key, attempt, worker, totals, checksum }) => ({
        task: key.task,
        samples: totals.samples,
        worker: this.#services.workers.nameOf(worker),
        attempt,
        seconds: totals.computeSeconds,
        checksum,
        provedBy: this.#provedBy.get(key.task) ?? null,
      })),
      refused: this.#refused,
      loss: sum(({ totals }) => totals.lossSum) / samples,
      top1: sum(({ totals }) => totals.top1Hits) / samples,
      top5: sum(({ totals }) => totals.top5Hits) / samples,
      slowest: slowestOf(winners),
    };
  }

  #worker(id: string): PoolWorker | undefined {
    return this.#services.workers.get(id);
  }
}
