// One job from the moment its turn comes until its training ends: gets the dataset, waits for workers, pins the
// numerics class, trains. Refuses to know other jobs and what becomes of this one's state afterwards.
import type { DatasetAccess } from '#model/datasets/dataset-access.js';
import { DatasetError } from '#model/datasets/dataset-error.js';
import { openDataset, type Dataset } from '#model/datasets/dataset.js';
import { type KernelTable, tableInShort } from '#model/kernel-table.js';
import { layoutOf } from '#model/parameters.js';
import type { SpanRing } from '#proto/span-ring.js';
import type { CheckpointStore } from '../checkpoints/checkpoint-store.js';
import type { Logger } from '../log.js';
import type { EventHub } from '../telemetry/event-hub.js';
import { JobMetrics } from '../telemetry/job-metrics.js';
import { MetricsStore } from '../telemetry/metrics-store.js';
import { Ledger } from '../training/ledger.js';
import type { RunningJobs } from '../training/running-jobs.js';
import type { SlicePool } from '../training/slices/slice-pool.js';
import { abortable } from '../training/abortable.js';
import { probeOf } from '../training/probe.js';
import type { TrainingServices } from '../training/training-job.js';
import { Trainer } from '../training/trainer.js';
import type { KernelTrials } from '../workers/kernel-trials.js';
import type { PoolWorker, WorkerRegistry } from '../workers/worker-registry.js';
import { precisionNoteOf, workerProblem } from './admission.js';
import type { DatasetLocations, ReadyDataset } from './dataset-locations.js';
import { datasetProblem, joined } from './dataset-problem.js';
import { chooseKernels, type KernelChoice } from './kernel-choice.js';
import { weightsOf } from './initial-weights.js';
import type { JobRecord, JobStore } from './job-store.js';

export interface JobRunServices {
  readonly store: JobStore;
  readonly datasets: DatasetLocations;
  readonly datasetAccess: DatasetAccess;
  readonly slices: SlicePool;
  /** The queue of a class; of null: those of all classes that have workers. */
  readonly queueOf: (classId: string | null) => TrainingServices['queue'];
  readonly stagingBytes: number;
  /** Memory that the coordinator may use. */
  readonly memoryBytes: number;
  readonly workers: WorkerRegistry;
  readonly kernelTrials: KernelTrials;
  readonly running: RunningJobs;
  readonly checkpoints: CheckpointStore;
  /** What the coordinator did, over all jobs. */
  readonly spans: SpanRing;
  readonly hub: EventHub;
  readonly log: Logger;
  readonly versions: Readonly<Record<string, string>>;
}

/** A job's numerics class; without an id where any worker may contribute. */
export interface PinnedClass {
  readonly classId: string | null;
  readonly numericsClass: string;
  /** Which kernels serve its 1x1 convolutions, as tried in that class; null: the fixed rule. */
  readonly kernels: KernelTable | null;
  /** What people should know about it. */
  readonly note: string | null;
}

export interface JobRunEvents {
  /** The dataset is open: what it is is to be kept with the job. */
  readonly onDataset: (dataset: Dataset) => void;
  /** The table that the class has found for another job like this one. */
  readonly knownKernels: (classId: string) => KernelTable | undefined;
  /** Pinned, and about to train: to be kept before any task goes out. */
  readonly onPinned: (pinned: PinnedClass) => void;
  /** The first worker's checksum of the probe: to be kept with the job. */
  readonly onProbe: (checksum: number) => void;
  /** The job is restored, and the ledger fits. */
  readonly onOpened: () => void;
  readonly onProgress: () => void;
}

export class JobRun {
  readonly #record: JobRecord;
  readonly #services: JobRunServices;
  readonly #events: JobRunEvents;
  readonly #abort = new AbortController();
  #waitingFor: string | null = null;
  #ledger: Ledger | undefined;
  #metrics: MetricsStore | undefined;
  trainer: Trainer | undefined;

  constructor(record: JobRecord, services: JobRunServices, events: JobRunEvents) {
    this.#record = record;
    this.#services = services;
    this.#events = events;
  }

  /** Ends the run at the next moment that loses nothing. */
  stop(): void {
    this.#abort.abort();
  }

  /** True once it was told to stop. */
  get stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Why the job does not go on right now; null when it does. */
  get reason(): string | null {
    const { trainer } = this;
    if (trainer === undefined) return this.#waitingFor;
    const { classId, numericsClass } = trainer.job;
    const { workers } = this.#services;
    if (workers.connected(classId).length === 0) {
      const others = workers.connected().length;
      const repin =
        others > 0
          ? `; ${others} of other classes are: pause it, then \`npx lockstep resume ${trainer.job.id} --repin\``
          : '';
      return `No worker of its numerics class (${numericsClass}) is connected${repin}. Start one with \`npx lockstep worker\`.`;
    }
    const { refusedNames, agreeing } = trainer.admissions;
    if (agreeing === 0 && refusedNames.length > 0) {
      return (
        `The workers ${refusedNames.join(', ')} compute other bits than the one that this job began with (its probe differs). ` +
        `To go on with theirs: pause it, then \`npx lockstep resume ${trainer.job.id} --repin\`.`
      );
    }
    return trainer.board.trouble ?? trainer.complaints.reason ?? null;
  }

  /** The metrics of the running job. */
  get metrics(): MetricsStore | undefined {
    return this.#metrics;
  }

  /** Resolves when training has ended, or was stopped. Throws what trainers throw, and DatasetError or SetupError. */
  async run(): Promise<'completed' | 'stopped'> {
    const { signal } = this.#abort;
    const services = this.#services;
    const record = this.#record;
    const ready = await abortable(this.#ready(), signal);
    if (ready === undefined) return 'stopped';
    const dataset = await openDataset(record.spec.dataset, ready.location, { access: services.datasetAccess });
    try {
      const problem = datasetProblem(record, dataset);
      if (problem !== undefined) throw new DatasetError(problem);
      this.#events.onDataset(dataset);
      const pinned = await this.#pin();
      if (pinned === undefined || signal.aborted) return 'stopped';
      this.#waitingFor = null;
      this.#events.onPinned({ ...pinned, note: joined(pinned.note, ready.note) });
      return await this.#train(dataset, ready, pinned);
    } finally {
      services.running.remove(record.id);
      await dataset.close();
      this.#metrics?.close();
      this.#metrics = undefined;
      this.#ledger?.close();
    }
  }

  #ready(): Promise<ReadyDataset> {
    const { signal } = this.#abort;
    return this.#services.datasets.prepare(this.#record.spec, (reason) => this.#wait(reason), signal);
  }

  /** The class that the job is pinned to; a job that has none takes the one with most live workers. */
  async #pin(): Promise<PinnedClass | undefined> {
    const { classId, numericsClass, kernels, note, spec } = this.#record;
    const { workers } = this.#services;
    const relaxed = spec.faults.reproducibility === 'relaxed';
    if (classId !== null && numericsClass !== null && !relaxed) return { classId, numericsClass, kernels, note };
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const worker = workers.largestClass((candidate) => workerProblem(candidate, spec) === undefined);
      if (worker !== undefined) {
        const choice = await abortable(this.#chooseKernels(worker), signal);
        // The class is gone while its kernels were tried: another one's turn.
        if (choice === undefined) continue;
        const about = { kernels: choice.kernels, note: joined(precisionNoteOf(worker, spec), choice.note) };
        if (relaxed) return { classId: null, numericsClass: 'any (relaxed)', ...about };
        return { classId: worker.classId, numericsClass: worker.description, ...about };
      }
      const [reason] = workers.connected().map((candidate) => workerProblem(candidate, spec));
      this.#wait(reason ?? 'It waits for a worker; start one with `npx lockstep worker`.');
      await workers.someoneCame(signal);
    }
    return undefined;
  }

  #chooseKernels({ classId }: PoolWorker): Promise<KernelChoice | undefined> {
    const { spec } = this.#record;
    const { workers, kernelTrials } = this.#services;
    return chooseKernels(spec, {
      trials: kernelTrials,
      workers: () =>
        workers
          .connected(classId)
          .filter((worker) => worker.state !== 'draining' && workerProblem(worker, spec) === undefined),
      known: this.#events.knownKernels(classId),
      onWait: (reason) => this.#wait(reason),
      signal: this.#abort.signal,
    });
  }

  async #train(
    dataset: Dataset,
    { location, indexPath }: ReadyDataset,
    { classId, numericsClass, kernels }: PinnedClass,
  ): Promise<'completed' | 'stopped'> {
    const { store, slices, workers, checkpoints, spans, hub, log, running, versions, queueOf } = this.#services;
    const { id, spec, lineage } = this.#record;
    const layout = layoutOf(spec.model);
    this.#ledger = Ledger.open(store.ledgerOf(id));
    const onProblem = (error: Error): void => log.warn({ job: id }, `Metrics cannot be written: ${error.message}`);
    this.#metrics = MetricsStore.open(store.metricsOf(id), { onProblem });
    const { precision } = spec.training;
    const trainer = new Trainer(
      {
        id,
        spec,
        lineage,
        layout,
        dataset,
        classId: classId ?? undefined,
        numericsClass: [numericsClass, precision, ...(kernels === null ? [] : [tableInShort(kernels)])].join(', '),
        rollback: this.#record.rollback || classId === null,
        checkpointFolder: store.checkpointsOf(id),
        initialWeights: weightsOf(spec, store.dataDir),
        versions,
      },
      {
        slices,
        workers,
        checkpoints,
        spans,
        ledger: this.#ledger,
        log: log.child({ job: id }),
        queue: queueOf(classId),
        probe: { checksum: this.#record.probeChecksum, keep: this.#events.onProbe },
        stagingBytes: this.#services.stagingBytes,
        metrics: new JobMetrics(id, this.#metrics, hub, onProblem),
        onOpened: this.#events.onOpened,
        onProgress: this.#events.onProgress,
      },
    );
    this.trainer = trainer;
    running.add(trainer, {
      specJson: JSON.stringify(spec),
      layoutHash: layout.hash,
      datasetLocation: location,
      datasetIndex: indexPath,
      datasetHash: dataset.indexHash,
      datasetContentsHash: dataset.contentsHash ?? '',
      datasetFiles: [...(dataset.files ?? [])],
      kernelsJson: kernels === null ? '' : JSON.stringify(kernels),
      probeJson: trainer.admissions.wanted ? JSON.stringify(probeOf(id, spec, dataset.trainCount)) : '',
    });
    return trainer.run(this.#abort.signal);
  }

  #wait(reason: string): void {
    this.#waitingFor = reason;
    this.#events.onProgress();
  }
}
