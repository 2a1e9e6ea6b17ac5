// Computes tasks with TensorFlow on the thread that calls it: networks per job, the version each holds, counters for others.
// Refuses to know threads and messages; what it shows others while it works goes through the control words.
import { fillWithInitialState } from '#model/initial-form.js';
import { elementsOf, type ViewGroup } from '#model/evaluation-views.js';
import type { KernelTable } from '#model/kernel-table.js';
import { type TrialJob, tryKernels } from '#model/kernel-trial.js';
import { Network } from '#model/network.js';
import { addon } from '#model/tensorflow/addon.js';
import { observingPasses, timed } from '#model/pass-times.js';
import { computeTask, type ShardInput, type TaskResult } from '#model/task-computation.js';
import { evaluateViews } from '#model/view-scores.js';
import { hostClockMs } from '#proto/host-clock.js';
import { waitForElements } from './arrivals.js';
import {
  type ComputeInput,
  type ComputeJob,
  type ComputeParameters,
  type ComputeTotals,
  controlWords as word,
  type EvaluateRequest,
  type Pass,
  type TrainRequest,
} from './compute-protocol.js';

/** Every layer asks for its parameters; most are there. */
const notableWaitMs = 0.1;
/** Networks kept at once; the one used longest ago goes first. */
const networkLimit = 2;

/** The main thread no longer wants the task; thrown between two gradients. */
export class ComputeAborted extends Error {
  override readonly name = 'ComputeAborted';
  constructor() {
    super('The task was given up while it computed.');
  }
}

interface LoadedNetwork {
  readonly network: Network;
  /** Key of the version that it holds. */
  version: string | undefined;
  /** The table that it was built with, JSON. */
  readonly kernels: string | undefined;
}

export interface ComputerOptions {
  /** Words of compute-protocol.ts. */
  readonly control: Int32Array;
  /** Called when the final part of a gradient passed a multiple of the request's `notifyElements`; never twice before `notified` is 0 again. */
  readonly onProgress: () => void;
  /** Live tensors. */
  readonly countTensors: () => number;
  /** How many gradients later each is read. @default 0 */
  readonly readLag?: number;
}

export class Computer {
  readonly #control: Int32Array;
  readonly #onProgress: () => void;
  readonly #countTensors: () => number;
  readonly #readLag: number;
  /** What this thread's clock is behind the host's. */
  readonly #behind = hostClockMs() - performance.now();
  /** Of the present task. */
  #passes: Pass[] = [];
  #waitedMs = 0;
  /** In order of last use. */
  readonly #networks = new Map<string, LoadedNetwork>();

  constructor(options: ComputerOptions) {
    this.#control = options.control;
    this.#onProgress = options.onProgress;
    this.#countTensors = options.countTensors;
    this.#readLag = options.readLag ?? 0;
  }

  /** The gradient of a task, its statistics and totals. Throws `ComputeAborted` when word `aborted` becomes `id`. */
  train(id: number, request: TrainRequest): ComputeTotals {
    return this.#timed('train', () => this.#train(id, request));
  }

  #train(id: number, request: TrainRequest): TaskResult {
    const control = this.#control;
    const { gradient, statistics, notifyElements } = request;
    Atomics.store(control, word.firstFinalElement, gradient.length);
    const network = this.#prepare(id, request.job, request.parameters);
    this.#step(id);
    let announced = gradient.length;
    const onProgress = (firstFinalElement: number): void => {
      this.#step(id);
      Atomics.store(control, word.firstFinalElement, firstFinalElement);
      // Whole blocks go over the wire, so only passing a block's start is news.
      if (Math.ceil(firstFinalElement / notifyElements) >= Math.ceil(announced / notifyElements)) return;
      announced = firstFinalElement;
      if (Atomics.exchange(control, word.notified, 1) === 0) this.#onProgress();
    };
    const shards = shardsOf(request.input);
    const target = { gradient, statistics, onProgress, readLag: this.#readLag };
    return computeTask(network, shards, request.miniBatchSamples, target);
  }

  /** Loss and hits of a task. Throws `ComputeAborted` when word `aborted` becomes `id`. */
  evaluate(id: number, request: EvaluateRequest): ComputeTotals {
    return this.#timed('evaluate', () => this.#evaluate(id, request));
  }

  #evaluate(id: number, request: EvaluateRequest): TaskResult {
    const network = this.#prepare(id, request.job, request.parameters);
    const totals = { samples: 0, lossSum: 0, top1Hits: 0, top5Hits: 0 };
    for (const { images, labels, views } of evaluationShardsOf(request.input)) {
      this.#step(id);
      const judged =
        views === undefined ? network.evaluate(images, labels) : evaluateViews([network], images, views, labels);
      const { lossSum, top1Hits, top5Hits } = judged;
      totals.samples += labels.length;
      totals.lossSum += lossSum;
      totals.top1Hits += top1Hits;
      totals.top5Hits += top5Hits;
    }
    return totals;
  }

  /** Which kernels are the quicker ones for a job's net here. */
  tryKernels(job: TrialJob): KernelTable {
    const table = tryKernels(job);
    // Its tensors are of other sizes than a task's, which would find little room among what they leave.
    addon().trimMemory();
    this.#publishTensors();
    return table;
  }

  /** Forgets a job's network. */
  endJob(jobId: string): void {
    this.#networks.get(jobId)?.network.dispose();
    this.#networks.delete(jobId);
    this.#publishTensors();
  }

  dispose(): void {
    for (const jobId of [...this.#networks.keys()]) this.endJob(jobId);
  }

  #prepare(id: number, job: ComputeJob, { key, initial, arrived, exact, ...vectors }: ComputeParameters): Network {
    const loaded = this.#networkOf(job);
    const { network } = loaded;
    if (loaded.version !== key) network.dispose();
    if (initial !== undefined) {
      fillWithInitialState({ ...vectors, exact }, job.model, network.layout, initial, () => this.#step(id));
    }
    loaded.version = key;
    network.lendParameters({
      ...vectors,
      exact: exact ?? new Float32Array(0),
      wait: (end) => arrived && this.#wait(id, arrived, end),
    });
    return network;
  }

  /** Throws `ComputeAborted` and `ParametersLost`. */
  #wait(id: number, arrived: Int32Array, end: number): void {
    const started = performance.now();
    // Waiting is no standstill: what bounds a pull is the pull's own business.
    waitForElements(arrived, end, () => this.#step(id));
    const ended = performance.now();
    this.#waitedMs += ended - started;
    if (ended - started > notableWaitMs) this.#note('wait', started, ended);
  }

  #networkOf(job: ComputeJob): LoadedNetwork {
    const { model, precision, labelSmoothing } = job;
    const kernels = JSON.stringify(job.kernels);
    // A job that was pinned anew while this worker was away has another table.
    if (this.#networks.get(job.jobId)?.kernels !== kernels) this.endJob(job.jobId);
    const loaded = this.#networks.get(job.jobId) ?? {
      network: Network.create(model, precision, { labelSmoothing, kernels: job.kernels }),
      version: undefined,
      kernels,
    };
    this.#networks.delete(job.jobId);
    this.#networks.set(job.jobId, loaded);
    const [oldest] = this.#networks.keys();
    if (this.#networks.size > networkLimit && oldest !== undefined) this.endJob(oldest);
    return loaded;
  }

  #step(id: number): void {
    if (Atomics.load(this.#control, word.aborted) === id) throw new ComputeAborted();
    Atomics.add(this.#control, word.progress, 1);
  }

  /** Computes, and says how long that and its parts took. */
  #timed(what: string, compute: () => TaskResult): ComputeTotals {
    const started = performance.now();
    this.#passes = [];
    this.#waitedMs = 0;
    const result = observingPasses(this.#note, () => timed(what, compute));
    this.#publishTensors();
    const passes = this.#passes;
    const pullWaitSeconds = this.#waitedMs / 1000;
    const forwardMs = passes.reduce(
      (sum, pass) => (pass.part === 'forward' ? sum + pass.endMs - pass.startMs : sum),
      0,
    );
    const forwardSeconds = Math.max(0, forwardMs / 1000 - pullWaitSeconds);
    const computeSeconds = (performance.now() - started) / 1000 - pullWaitSeconds;
    return { ...result, computeSeconds, forwardSeconds, pullWaitSeconds, passes };
  }

  readonly #note = (part: string, startMs: number, endMs: number): void => {
    this.#passes.push({ part, startMs: startMs + this.#behind, endMs: endMs + this.#behind });
  };

  #publishTensors(): void {
    Atomics.store(this.#control, word.tensors, this.#countTensors());
  }
}

/** Shards whose samples may have views of several sizes. */
function evaluationShardsOf(
  input: ComputeInput,
): (ShardInput & { readonly views?: readonly (readonly ViewGroup[])[] })[] {
  const { views, images, labels } = input;
  if (views === undefined) return shardsOf(input);
  let [first, at] = [0, 0];
  return input.shardSamples.map((samples) => {
    const own = views.slice(first, first + samples);
    const end = at + elementsOf(own);
    const shard = { images: images.subarray(at, end), labels: labels.subarray(first, first + samples), views: own };
    [first, at] = [first + samples, end];
    return shard;
  });
}

function shardsOf(input: ComputeInput): ShardInput[] {
  const elements = input.images.length / input.labels.length;
  let first = 0;
  return input.shardSamples.map((samples) => {
    const last = first + samples;
    const images = input.images.subarray(first * elements, last * elements);
    const labels = input.labels.subarray(first, last);
    first = last;
    return { images, labels };
  });
}
