// Evaluates one version on the test images through the same queue: tasks out, hits and losses back.
// Refuses to know gradients; sums in task order, so that who computed what does not show.
import type { TaskKey } from '#proto/task-entry.js';
import type { OutcomeName } from './outcome.js';
import { entryShards, type TaskPlan } from './step-plan.js';
import { StepTasks } from './step-tasks.js';
import type { TaskBoard } from './task-board.js';
import { type EvaluationResult, messageOf, TrainingPausedError } from './training-job.js';

export interface EvaluationAnswer {
  readonly attempt: number;
  readonly samples: number;
  readonly lossSum: number;
  readonly top1Hits: number;
  readonly top5Hits: number;
}

const failureRetries = 4;

export class Evaluation {
  readonly #jobId: string;
  readonly #lineage: number;
  readonly #version: number;
  readonly #plan: readonly TaskPlan[];
  readonly #board: TaskBoard;
  readonly #tasks: StepTasks;
  readonly #answers: EvaluationAnswer[] = [];
  #failures = 0;
  #resolve!: (result: EvaluationResult) => void;
  #reject!: (error: Error) => void;
  readonly done: Promise<EvaluationResult>;

  constructor(name: { jobId: string; lineage: number; version: number }, plan: readonly TaskPlan[], board: TaskBoard) {
    this.#jobId = name.jobId;
    this.#lineage = name.lineage;
    this.#version = name.version;
    this.#plan = plan;
    this.#board = board;
    const { jobId, lineage, version: step } = name;
    this.#tasks = new StepTasks({ jobId, lineage, step, round: 0, kind: 'evaluate' }, plan.length);
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => undefined);
  }

  async start(): Promise<void> {
    const { id } = this.#tasks;
    await this.#board.open({
      tasks: this.#tasks,
      lookAhead: false,
      entryOf: ({ task, attempt }) => {
        const { shards, samples } = this.#plan[task]!;
        return {
          key: { ...id, task },
          attempt,
          version: this.#version,
          epoch: 0,
          shards: entryShards(shards),
          miniBatchSamples: samples,
        };
      },
    });
  }

  /** A worker's answer; the first for a task counts. */
  take(key: TaskKey, worker: string, answer: EvaluationAnswer): OutcomeName {
    const ours =
      key.kind === 'evaluate' &&
      key.jobId === this.#jobId &&
      key.lineage === this.#lineage &&
      key.step === this.#version;
    const planned = ours ? this.#plan[key.task] : undefined;
    if (planned === undefined) return 'stale';
    if (answer.samples !== planned.samples) return 'wrong_samples';
    this.#board.accepted(key, worker, answer.attempt);
    if (!this.#tasks.accept(key.task, worker)) return 'duplicate';
    this.#answers[key.task] = answer;
    if (this.#tasks.complete) this.#resolve(this.#result());
    return 'accepted';
  }

  failed(task: number, worker: string, detail: string): void {
    this.#failures += 1;
    if (this.#failures <= failureRetries * this.#plan.length) return;
    this.#reject(
      new TrainingPausedError(
        `Evaluation tasks of version ${this.#version} failed ${this.#failures} times, last task ${task} on worker ${worker}: ${messageOf(detail)} ` +
          'Put that right, then resume the job.',
      ),
    );
  }

  /** Called now and then: what each worker that may have it has lost is for all of them again. */
  relieve(active: readonly string[]): void {
    this.#tasks.readmit(active, []);
  }

  close(): void {
    this.#board.close(this.#tasks.id);
  }

  #result(): EvaluationResult {
    const sum = (of: (answer: EvaluationAnswer) => number) =>
      this.#answers.reduce((total, each) => total + of(each), 0);
    const samples = sum((answer) => answer.samples);
    const loss = sum((answer) => answer.lossSum) / samples;
    return {
      step: this.#version,
      // Running statistics may overflow long before training notices; the accuracy is still worth showing.
      loss: Number.isFinite(loss) ? loss : null,
      top1: sum((answer) => answer.top1Hits) / samples,
      top5: sum((answer) => answer.top5Hits) / samples,
    };
  }
}
