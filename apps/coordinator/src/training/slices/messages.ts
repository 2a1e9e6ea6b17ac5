// What the main thread and a slice's thread say to each other. Tensors never pass here: they lie in
// memory that both see. Types only.
import type { Layer } from '#model/layer-norms.js';
import type { DecayRange } from '#model/optimizer.js';
import type { ElementRange } from '#model/parameter-forms.js';
import type { Span } from '#proto/span-ring.js';
import type { TaskKey } from '#proto/task-entry.js';
import type { OutcomeName } from '../outcome.js';

/** Whole-vector arrays of one version of a job, shared by all slices; each writes only the blocks that it owns. */
export interface StateArrays {
  readonly parameters: Float32Array;
  readonly momentum: Float32Array;
  readonly statistics: Float32Array;
}

/** A version's arrays as they are made. */
export interface StateBuffer extends StateArrays {
  /** Whether they lie in the job's memory of vectors; else in memory of their own, which threads share too. */
  readonly inMemory: boolean;
}

/** What a slice must know of a job to stage, sum and update. */
export interface SliceJob {
  readonly jobId: string;
  readonly layoutHash: string;
  readonly parameterCount: number;
  readonly statisticCount: number;
  readonly wire: 'float32' | 'bfloat16';
  /** Where workers pull bits of bfloat16: the elements that they take in float32 all the same. Undefined: they pull float32. */
  readonly exactRanges: readonly ElementRange[] | undefined;
  readonly momentum: number;
  readonly nesterov: boolean;
  /** Weight decay of every parameter, by ranges in order that together cover all. */
  readonly decayRanges: readonly DecayRange[];
  /** Names of the parameters' elements [first, first + size), in order, for messages about numbers that are not finite. */
  readonly tensors: readonly { readonly name: string; readonly offset: number; readonly size: number }[];
  /** Layers whose gradients and updates are measured. */
  readonly layers: readonly Layer[];
}

/** A version that workers may pull. */
export interface PublishedVersion {
  readonly jobId: string;
  readonly lineage: number;
  readonly version: number;
  readonly checksum: number;
  /** Which of the job's buffers holds it. */
  readonly buffer: number;
}

/** A step whose contributions a slice is to take. */
export interface OpenStep {
  readonly jobId: string;
  readonly lineage: number;
  readonly step: number;
  readonly round: number;
  readonly tasks: number;
  readonly version: PublishedVersion;
}

export interface RangeUpdate {
  readonly jobId: string;
  readonly fromBuffer: number;
  readonly toBuffer: number;
  readonly learningRate: number;
  /** Factor on the gradient: 1, or what clipping by norm asks for. */
  readonly gradientScale: number;
}

export type SliceCommand =
  | { readonly type: 'open-job'; readonly job: SliceJob; readonly memory: WebAssembly.Memory }
  | { readonly type: 'close-job'; readonly jobId: string }
  | { readonly type: 'add-buffer'; readonly jobId: string; readonly buffer: number; readonly state: StateBuffer }
  | { readonly type: 'publish'; readonly version: PublishedVersion }
  | { readonly type: 'open-step'; readonly step: OpenStep }
  | { readonly type: 'close-step'; readonly jobId: string }
  | { readonly type: 'admit'; readonly pushId: number }
  | { readonly type: 'accept'; readonly pushId: number }
  | { readonly type: 'refuse'; readonly pushId: number; readonly outcome: OutcomeName; readonly detail: string }
  | { readonly type: 'checksum'; readonly request: number; readonly jobId: string; readonly buffer: number }
  | { readonly type: 'summarise'; readonly request: number; readonly jobId: string }
  | { readonly type: 'apply'; readonly request: number; readonly update: RangeUpdate }
  | { readonly type: 'stop'; readonly request: number };

/** A value per block that the slice owns, in its order of blocks. */
export type PerBlock = Float64Array;

export interface PushTotalsReport {
  readonly samples: number;
  readonly sampleIdsSha256: string;
  readonly lossSum: number;
  readonly top1Hits: number;
  readonly top5Hits: number;
  readonly computeSeconds: number;
  readonly forwardSeconds: number;
  readonly imagesSeconds: number;
  readonly pullSeconds: number;
  readonly pullWaitSeconds: number;
  readonly sendSeconds: number;
}

export type SliceReport =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'cannot-listen'; readonly problem: string }
  /** A contribution asks to be admitted; the slice reads no further until it is told. */
  | {
      readonly type: 'push-begun';
      readonly pushId: number;
      readonly jobId: string;
      readonly worker: string;
      readonly key: TaskKey;
      readonly attempt: number;
    }
  /** All of this slice's blocks are in, intact and finite. */
  | {
      readonly type: 'push-whole';
      readonly pushId: number;
      readonly jobId: string;
      readonly totals: PushTotalsReport;
      readonly blockChecksums: Float64Array;
    }
  /** It will never be whole; the slice has freed and, where it still could, answered it. */
  | {
      readonly type: 'push-failed';
      readonly pushId: number;
      readonly jobId: string;
      readonly outcome: OutcomeName;
      readonly detail: string;
    }
  /** Refused by the slice itself on sight of the header. */
  | {
      readonly type: 'push-refused';
      readonly jobId: string;
      readonly worker: string;
      readonly key: TaskKey;
      readonly attempt: number;
      readonly outcome: OutcomeName;
    }
  /** What it did since it reported last; at the end of each step. */
  | { readonly type: 'spans'; readonly spans: readonly Span[] }
  | ({ readonly type: 'answer'; readonly request: number } & SliceAnswer)
  | { readonly type: 'failed'; readonly request: number; readonly problem: string };

type WithoutRequest<T> = T extends { request: number } ? Omit<T, 'request'> : never;
/** Commands that every slice answers. */
export type SliceRequest = WithoutRequest<SliceCommand>;

/** One slice's answer. */
export interface SliceAnswer {
  readonly values: PerBlock;
  readonly finite: boolean;
  /** Only after an update: sums over the pieces of layers that the slice owns (layer-norms.ts). */
  readonly layerSums?: Float64Array;
}

export interface SliceAnswers {
  /** A value per block for each slice, in its order of blocks. */
  readonly values: readonly PerBlock[];
  readonly layerSums: readonly Float64Array[];
  readonly finite: boolean;
}

/** What slices report about pushes. */
export type PushReport = Extract<SliceReport, { type: `push-${string}` }>;

/** The slices, as the training sees them. */
export interface Slices {
  readonly count: number;
  send(slice: number, command: SliceCommand): void;
  broadcast(command: SliceCommand): void;
  /** Sends to all slices; resolves when all have answered. */
  request(command: SliceRequest): Promise<SliceAnswers>;
}

/** How a slice's thread is started. */
export interface SliceOptions {
  readonly slice: number;
  readonly slices: number;
  readonly host: string;
  readonly port: number;
  readonly workerToken: string | undefined;
  /** Where workers on this host leave and find segments; undefined: all goes over the network. */
  readonly sharedFolder: string | undefined;
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string | undefined } | undefined;
}
