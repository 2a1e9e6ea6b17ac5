// The jobs that train now, by id: the one place where sessions, slices and REST find a job's trainer.
// Refuses to know how any of them speaks.
import type { DataFile } from '#model/datasets/cifar10-files.js';
import type { TaskKey } from '#proto/task-entry.js';
import type { PoolWorker, RegistryListener, WorkerRegistry } from '../workers/worker-registry.js';
import type { EvaluationAnswer } from './evaluation.js';
import type { OutcomeName } from './outcome.js';
import type { PushReport, Slices } from './slices/messages.js';
import type { Trainer } from './trainer.js';

/** What a worker must know of a job to compute its tasks. */
export interface JobDescription {
  readonly specJson: string;
  readonly layoutHash: string;
  readonly datasetLocation: string;
  /** Path of the dataset's index below `datasetsUrl`; empty where it has none. */
  readonly datasetIndex: string;
  readonly datasetHash: string;
  /** Of the images' contents; empty where they were not read. */
  readonly datasetContentsHash: string;
  /** Those of a dataset without an index. */
  readonly datasetFiles: DataFile[];
  /** The probe's queue entry, JSON; empty where none is asked for. */
  readonly probeJson: string;
  /** Which kernels serve its 1x1 convolutions, JSON; empty: the fixed rule. */
  readonly kernelsJson: string;
}

interface RunningJob {
  readonly trainer: Trainer;
  readonly description: JobDescription;
}

export class RunningJobs implements RegistryListener {
  readonly #jobs = new Map<string, RunningJob>();
  readonly #workers: WorkerRegistry;

  constructor(workers: WorkerRegistry, slices: Slices & { onPush: (slice: number, report: PushReport) => void }) {
    this.#workers = workers;
    workers.listen(this);
    slices.onPush = (slice, report) => this.#takePush(slice, report, slices);
  }

  add(trainer: Trainer, description: JobDescription): void {
    this.#jobs.set(trainer.job.id, { trainer, description });
  }

  remove(jobId: string): void {
    this.#jobs.delete(jobId);
  }

  describe(jobId: string): JobDescription | undefined {
    return this.#jobs.get(jobId)?.description;
  }

  /** True: the worker may work on the task. */
  claim(key: TaskKey, attempt: number, worker: PoolWorker): boolean {
    const board = this.#jobs.get(key.jobId)?.trainer.board;
    if (worker.state === 'active') return board?.claim(key, attempt, worker) ?? false;
    // Neither one that leaves nor one whose compute thread hangs.
    board?.turnedAway(key, attempt);
    return false;
  }

  release(key: TaskKey, attempt: number, worker: PoolWorker): void {
    this.#jobs.get(key.jobId)?.trainer.board.release(key, worker.id, attempt);
  }

  /** A worker gives a task back that it could not do; `complaint` says why, for people. */
  undone(key: TaskKey, attempt: number, worker: PoolWorker, complaint: string): void {
    this.#jobs.get(key.jobId)?.trainer.complained(complaint);
    this.release(key, attempt, worker);
  }

  /** Another try may end alike: such tasks are counted. */
  failed(key: TaskKey, worker: PoolWorker, detail: string): void {
    this.#jobs.get(key.jobId)?.trainer.taskFailed(key, worker.name, detail);
  }

  evaluated(key: TaskKey, worker: PoolWorker, answer: EvaluationAnswer): OutcomeName {
    const outcome = this.#jobs.get(key.jobId)?.trainer.takeEvaluation(key, worker.id, answer) ?? 'unknown_job';
    if (outcome !== 'accepted' && outcome !== 'duplicate')
      this.#jobs.get(key.jobId)?.trainer.board.release(key, worker.id, answer.attempt);
    if (outcome !== 'accepted') worker.noteRefusal(outcome);
    else worker.accepted += 1;
    return outcome;
  }

  /** A worker's checksum of a job's probe. One that differs is named, and gets no tasks of the job. */
  probed(jobId: string, worker: PoolWorker, checksum: number): OutcomeName {
    const trainer = this.#jobs.get(jobId)?.trainer;
    if (trainer === undefined) return 'unknown_job';
    if (trainer.takeProbe(worker, checksum)) return 'accepted';
    worker.noteRefusal('not_admitted');
    // Against two that agree its numbers are not to be trusted in any job; against one it is this job's affair.
    if (trainer.admissions.agreeing >= 2) this.#workers.drain(worker.id);
    return 'not_admitted';
  }

  workerGone(worker: PoolWorker): void {
    for (const { trainer } of this.#jobs.values()) {
      trainer.workerGone(worker.id);
    }
  }

  workerChanged(): void {
    // Tasks wait in the queue; a worker that comes takes them by itself.
  }

  #takePush(slice: number, report: PushReport, slices: Slices): void {
    const trainer = this.#jobs.get(report.jobId)?.trainer;
    if (trainer?.takePush(slice, report) === true) return;
    if (report.type === 'push-refused') this.#workers.get(report.worker)?.noteRefusal(report.outcome);
    if (report.type !== 'push-begun') return;
    const detail = `Job ${report.jobId} has no open step.`;
    slices.send(slice, { type: 'refuse', pushId: report.pushId, outcome: 'stale', detail });
  }
}
