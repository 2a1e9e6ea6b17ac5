// What the outside (REST, event streams) may ask of the coordinator, and the shapes of the answers.
// Refuses to know who asks and how: no Nest, no HTTP.
import type { JobSpec } from '#model/job-spec.js';
import type { ChromeTrace, TraceFacts } from '../telemetry/chrome-trace.js';

export const jobStates = ['queued', 'running', 'paused', 'completed', 'failed', 'cancelled'] as const;
export type JobState = (typeof jobStates)[number];

/** A job as people see it. Times are ISO 8601 strings, rates per second, durations seconds. */
export interface JobView {
  readonly id: string;
  readonly name: string;
  readonly state: JobState;
  /** Committed steps. */
  readonly step: number;
  readonly totalSteps: number;
  readonly epoch: number;
  /** Number of the newest parameters; equals `step`. */
  readonly version: number;
  /** Mean training loss of the last committed step, nats. */
  readonly loss: number | null;
  readonly top1: number | null;
  /** Newest evaluation, shares in [0, 1]. */
  readonly test: {
    readonly step: number;
    readonly loss: number | null;
    readonly top1: number;
    readonly top5: number;
  } | null;
  readonly imagesPerSecond: number | null;
  readonly etaSeconds: number | null;
  /** Names of workers that hold or delivered a task of the present step. */
  readonly workers: readonly string[];
  /** Both hashes are those of the newest checkpoint's manifest. */
  readonly parametersSha256: string | null;
  readonly stateSha256: string | null;
  readonly checkpoint: { readonly step: number; readonly path: string } | null;
  readonly numericsClass: string | null;
  /** Which kernels were the quicker ones when it was pinned to that class, in short; null where the fixed rule serves. */
  readonly kernels: string | null;
  /** How many workers can help at once: tasks per step. */
  readonly usefulWorkers: number;
  readonly parameterCount: number;
  /** What people should know although the job goes on, such as a precision that is slow on its workers. */
  readonly note: string | null;
  /** Why the job is not going on, where it is not. */
  readonly reason: string | null;
  /** What made a failed job fail. */
  readonly error: string | null;
  readonly spec: JobSpec;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}

export interface WorkerView {
  readonly id: string;
  readonly name: string;
  readonly device: string;
  /** Short id and the text it stands for. */
  readonly classId: string;
  readonly numericsClass: string;
  readonly state: 'active' | 'hung' | 'draining';
  /** Such as "train job 01J… step 12 task 1", or null when idle. */
  readonly currentTask: string | null;
  readonly imagesPerSecond: number | null;
  readonly stepSecondsP50: number | null;
  readonly stepSecondsP95: number | null;
  readonly accepted: number;
  /** Counts by reason, the enum names of the wire in lower case, such as `duplicate`. */
  readonly refused: Readonly<Record<string, number>>;
  readonly heartbeatAgeSeconds: number;
  readonly residentBytes: number;
  readonly tensors: number;
  /** Image files since the worker started. */
  readonly images: {
    readonly images: number;
    /** Summed over images, of which several are prepared at once. */
    readonly seconds: number;
    readonly cacheHits: number;
    /** How long the compute thread waited for images and for nothing else. */
    readonly starvedSeconds: number;
  };
  readonly connectedAt: string;
}

export interface AuditReport {
  readonly clean: boolean;
  readonly version: number;
  /** Samples that the job's steps up to `version` must have consumed, and what the ledger says. */
  readonly expected: number;
  readonly committed: number;
  readonly duplicated: number;
  readonly missing: number;
  /** Left out because they are not finite (`faults.onNotFinite`); with `committed` and `missing` they make `expected`. */
  readonly excluded: number;
  readonly epochs: readonly {
    readonly epoch: number;
    readonly expected: number;
    readonly committed: number;
    readonly excluded: number;
    readonly duplicated: number;
    readonly missing: number;
  }[];
  /** One sentence each; empty when clean. */
  readonly problems: readonly string[];
}

export interface CheckpointView {
  readonly step: number;
  readonly epoch: number;
  readonly path: string;
  readonly parametersSha256: string;
  readonly stateSha256: string;
  readonly createdAt: string;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/** Points of one series: [step, value] pairs in order of steps. */
export type SeriesPoints = readonly (readonly [step: number, value: number])[];

/** What a timeline is of, and what is missing in it. */
export type TimelineFacts = TraceFacts;

export type JobAction = 'pause' | 'resume' | 'cancel' | 'checkpoint';

/** Jobs. Throws `SpecError` (bad spec), `NotFoundError`, `StateConflictError` (see errors.ts). */
export interface JobsPort {
  submit(spec: unknown, idempotencyKey: string | undefined): Promise<{ job: JobView; created: boolean }>;
  list(query: { state?: JobState; limit: number; cursor?: string }): { jobs: JobView[]; nextCursor: string | null };
  get(id: string): JobView;
  /** `repin`: a resumed job is pinned anew, to the numerics class with most workers. */
  act(id: string, action: JobAction, options?: { repin?: boolean }): Promise<JobView>;
  remove(id: string): Promise<void>;
  /** All series when `series` is undefined. */
  metrics(id: string, series: readonly string[] | undefined, maxPoints: number): Promise<Record<string, SeriesPoints>>;
  /** Ledger entries of steps [from, to], in order. */
  ledger(id: string, from: number | undefined, to: number | undefined): AsyncIterable<object>;
  audit(id: string): Promise<AuditReport>;
  /** What coordinator and workers did for the steps [from, to], as far as they still know. */
  timeline(id: string, from: number, to: number): Promise<ChromeTrace>;
  checkpoints(id: string): Promise<CheckpointView[]>;
  /** Absolute path of a checkpoint's file. */
  checkpointFile(id: string, step: number, name: string): Promise<string>;
}

export interface WorkersPort {
  list(): WorkerView[];
  drain(id: string): WorkerView;
}

/** Readiness: a sentence for each thing that is wrong; ready when there is none. */
export interface ReadinessPort {
  problems(): Promise<string[]>;
}

/** Injection tokens. */
export const JOBS_PORT = Symbol('JobsPort');
export const WORKERS_PORT = Symbol('WorkersPort');
export const READINESS_PORT = Symbol('ReadinessPort');
export const EVENT_HUB = Symbol('EventHub');
