// What the main thread and the compute thread tell each other. Big arrays lie in shared memory, nothing big is copied.
// Refuses to know who computes and who delivers.
import type { ViewGroup } from '#model/evaluation-views.js';
import type { ModelSpec } from '#model/job-spec.js';
import type { KernelTable } from '#model/kernel-table.js';
import type { TrialJob } from '#model/kernel-trial.js';
import type { Precision } from '#model/network.js';

/** What a network is built from. */
export interface ComputeJob {
  readonly jobId: string;
  readonly model: ModelSpec;
  readonly precision: Precision;
  /** Share of each target that is spread evenly over all classes. */
  readonly labelSmoothing: number;
  /** Which kernels serve its 1x1 convolutions; undefined: the fixed rule. */
  readonly kernels?: KernelTable | undefined;
}

/**
 * A version of the parameters. `key` names one filling of the memory: it is never used again after the memory was filled
 * anew, as TensorFlow may share that memory rather than copy it. Equal keys are loaded once.
 */
export interface ComputeParameters {
  readonly key: string;
  /** In float32, or bits of bfloat16. */
  readonly parameters: Float32Array | Uint16Array;
  /** What is float32 beside bits of bfloat16. */
  readonly exact?: Float32Array;
  readonly statistics: Float32Array;
  /** Seed of the version 0 that the compute thread makes in this memory before it computes with it; without it, it is filled. */
  readonly initial?: number;
  /** How much of it is there (arrivals.ts); without it all is. */
  readonly arrived?: Int32Array;
}

export interface ComputeInput {
  /** [samples, height, width, channels], normalised. */
  readonly images: Float32Array;
  /** [samples] */
  readonly labels: Int32Array;
  /** Samples of each shard, in order; their sum is the number of samples. */
  readonly shardSamples: readonly number[];
  /** Of each sample, where an evaluation averages over several views: `images` then holds them instead, without holes. */
  readonly views?: readonly (readonly ViewGroup[])[];
}

export interface TrainRequest {
  readonly job: ComputeJob;
  readonly parameters: ComputeParameters;
  readonly input: ComputeInput;
  readonly miniBatchSamples: number;
  /** [parameters] float32, or the bits of bfloat16. */
  readonly gradient: Float32Array | Uint16Array;
  /** [statistics] */
  readonly statistics: Float32Array;
  /** The main thread is told each time the final part of the gradient has passed a multiple of this many elements. */
  readonly notifyElements: number;
}

export interface EvaluateRequest {
  readonly job: ComputeJob;
  readonly parameters: ComputeParameters;
  readonly input: ComputeInput;
}

/** Sums over the samples of a task. */
export interface ComputeTotals {
  readonly samples: number;
  /** Nats. */
  readonly lossSum: number;
  readonly top1Hits: number;
  readonly top5Hits: number;
  /** Time that the compute thread worked on the task, without what it waited for parameters. */
  readonly computeSeconds: number;
  /** The part of it that was forward. */
  readonly forwardSeconds: number;
  readonly pullWaitSeconds: number;
  /** When it did what, as it ended. */
  readonly passes: readonly Pass[];
}

/** A part of computing a task; times of the host's clock, milliseconds. */
export interface Pass {
  /** `train` or `evaluate`; within it `forward`, `backward`, in these blocks by name, `load`, and `wait` for parameters. */
  readonly part: string;
  readonly startMs: number;
  readonly endMs: number;
}

export type ToCompute =
  | { readonly type: 'train'; readonly id: number; readonly request: TrainRequest }
  | { readonly type: 'evaluate'; readonly id: number; readonly request: EvaluateRequest }
  | { readonly type: 'try-kernels'; readonly id: number; readonly job: TrialJob }
  | { readonly type: 'end-job'; readonly jobId: string }
  | { readonly type: 'stop' };

export type FromCompute =
  | { readonly type: 'ready'; readonly facts: ComputeFacts }
  | { readonly type: 'unusable'; readonly message: string }
  /** Look at the control words: more of the gradient is final. */
  | { readonly type: 'progress' }
  | { readonly type: 'done'; readonly id: number; readonly totals: ComputeTotals }
  | { readonly type: 'failed'; readonly id: number; readonly message: string; readonly aborted: boolean }
  | { readonly type: 'kernels-tried'; readonly id: number; readonly table: KernelTable }
  | { readonly type: 'kernels-not-tried'; readonly id: number; readonly message: string };

/** What only the thread with TensorFlow in it can say. */
export interface ComputeFacts {
  readonly tensorflowVersion: string;
  /** Version of Lockstep's own kernels; empty where none of them compute. */
  readonly kernels: string;
  readonly deviceKind: 'cpu' | 'cuda';
}

/** Words of the shared control array, Int32, read and written with Atomics. */
export const controlWords = {
  /** Grows while the compute thread works. */
  progress: 0,
  /** Elements from this one on are final in the gradient of the present task. */
  firstFinalElement: 1,
  /** 1 while a progress message is under way, so that there is never more than one. */
  notified: 2,
  /** Id of the task that the main thread no longer wants. */
  aborted: 3,
  /** Live TensorFlow tensors. */
  tensors: 4,
} as const;

export const controlLength = 5;

/** What the compute thread is started with. */
export interface ComputeThreadData {
  readonly control: Int32Array;
}
