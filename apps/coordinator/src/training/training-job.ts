// What a trainer needs to know of a job, what it tells of its progress, and how it ends. Types, and the errors that end it.
import type { Dataset } from '#model/datasets/dataset.js';
import type { InitialWeights } from '#model/exchange/initial-weights.js';
import type { JobSpec } from '#model/job-spec.js';
import type { ParameterLayout } from '#model/parameters.js';
import type { SpanRing } from '#proto/span-ring.js';
import type { Logger } from '../log.js';
import type { CheckpointStore } from '../checkpoints/checkpoint-store.js';
import type { MetricsSink } from '../telemetry/job-metrics.js';
import type { WorkerRegistry } from '../workers/worker-registry.js';
import type { ProbeRecord } from './admissions.js';
import type { Ledger } from './ledger.js';
import type { Slices } from './slices/messages.js';
import type { TaskQueue } from './task-queue.js';

export interface TrainingJob {
  readonly id: string;
  readonly spec: JobSpec;
  /** One above that of the run before: what workers still hold of that one is stale. */
  readonly lineage: number;
  readonly layout: ParameterLayout;
  readonly dataset: Dataset;
  readonly checkpointFolder: string;
  /** Weights that it starts from; undefined for random ones. */
  readonly initialWeights?: InitialWeights | undefined;
  /** Of Lockstep, Node and TensorFlow, for the manifest. */
  readonly versions: Readonly<Record<string, string>>;
  /** Class that the job is pinned to; undefined when any worker may contribute. */
  readonly classId: string | undefined;
  /** For people and the manifest. */
  readonly numericsClass: string;
  /** What the ledger has beyond the checkpoint need not repeat itself: it is taken back. */
  readonly rollback: boolean;
}

export interface TrainingServices {
  readonly slices: Slices;
  readonly queue: Pick<TaskQueue, 'put' | 'placeOf' | 'remove'>;
  readonly workers: WorkerRegistry;
  readonly checkpoints: Pick<CheckpointStore, 'write' | 'restore'>;
  readonly ledger: Ledger;
  readonly metrics: MetricsSink;
  /** What was done when, for the timeline. */
  readonly spans: Pick<SpanRing, 'record'>;
  readonly log: Logger;
  /** The probe's checksum, where a worker has computed it before. */
  readonly probe: ProbeRecord;
  /** What contributions may take up in the slices, bytes. */
  readonly stagingBytes: number;
  /** Milliseconds. @default Date.now */
  readonly now?: (() => number) | undefined;
  /** Told once the job is restored and the ledger fits: what `rollback` asked for is done. */
  readonly onOpened: () => void;
  /** Told whenever `progress` changed. */
  readonly onProgress: () => void;
}

export interface EvaluationResult {
  readonly step: number;
  /** Mean over the test images, nats; null where it is not finite. */
  readonly loss: number | null;
  readonly top1: number;
  readonly top5: number;
}

/** What a trainer has reached; rates and hashes are null until there is one. */
export interface TrainingProgress {
  step: number;
  readonly totalSteps: number;
  epoch: number;
  loss: number | null;
  top1: number | null;
  test: EvaluationResult | null;
  imagesPerSecond: number | null;
  etaSeconds: number | null;
  workers: readonly string[];
  checkpoint: {
    readonly step: number;
    readonly path: string;
    readonly parametersSha256: string;
    readonly stateSha256: string;
  } | null;
  /** Set while an evaluation goes on. */
  evaluating: boolean;
}

/** Training cannot go on until a person has looked: the job pauses, with this message as its reason. */
export class TrainingPausedError extends Error {
  override readonly name = 'TrainingPausedError';
}

/** Training cannot go on at all: the job fails, with this message as its error. */
export class TrainingFailedError extends Error {
  override readonly name = 'TrainingFailedError';
}

/** An error's message, ended by a full stop. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.endsWith('.') ? message : `${message}.`;
}
