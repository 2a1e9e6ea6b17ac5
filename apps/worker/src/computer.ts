// Computes tasks with TensorFlow on the thread that calls it: networks per job, the version each holds, counters for others.
// Refuses to know threads and messages; what it shows others while it works goes through the control words.
import { Network } from '#model/network.js';
import { computeTask, type ShardInput, type TaskResult } from '#model/task-computation.js';
import { waitForElements } from './arrivals.js';
import {
  type ComputeInput,
  type ComputeJob,
  type ComputeParameters,
  type ComputeTotals,
  controlWords as word,
  type EvaluateRequest,
  type TrainRequest,
} from './compute-protocol.js';

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
}

export interface ComputerOptions {
  /** Words of compute-protocol.ts. */
  readonly control: Int32Array;
  /** Called when the final part of a gradient passed a multiple of the request's `notifyElements`; never twice before `notified` is 0 again. */
  readonly onProgress: () => void;
  /** Live tensors. */
  readonly countTensors: () => number;
}

export class Computer {
  readonly #control: Int32Array;
  readonly #onProgress: () => void;
  readonly #countTensors: () => number;
  #waitedMs = 0;
  /** In order of last use. */
  readonly #networks = new Map<string, LoadedNetwork>();

  constructor(options: ComputerOptions) {
    this.#control = options.control;
    this.#onProgress = options.onProgress;
    this.#countTensors = options.countTensors;
  }

  /** The gradient of a task, its statistics and totals. Throws `ComputeAborted` when word `aborted` becomes `id`. */
  train(id: number, request: TrainRequest): ComputeTotals {
    const started = performance.now();
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
    const totals = computeTask(network, shards, request.miniBatchSamples, { gradient, statistics, onProgress });
    return this.#finished(network, totals, started);
  }

  /** Loss and hits of a task. Throws `ComputeAborted` when word `aborted` becomes `id`. */
  evaluate(id: number, request: EvaluateRequest): ComputeTotals {
    const started = performance.now();
    const network = this.#prepare(id, request.job, request.parameters);
    const totals = { samples: 0, lossSum: 0, top1Hits: 0, top5Hits: 0 };
    for (const { images, labels } of shardsOf(request.input)) {
      this.#step(id);
      const { lossSum, top1Hits, top5Hits } = network.evaluate(images, labels);
      totals.samples += labels.length;
      totals.lossSum += lossSum;
      totals.top1Hits += top1Hits;
      totals.top5Hits += top5Hits;
    }
    return this.#finished(network, totals, started);
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

  #prepare(id: number, job: ComputeJob, { key, arrived, exact, ...vectors }: ComputeParameters): Network {
    const loaded = this.#networkOf(job);
    const { network } = loaded;
    if (loaded.version !== key) network.dispose();
    loaded.version = key;
    this.#waitedMs = 0;
    network.takeForwardSeconds();
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
    waitForElements(arrived, end, () => this.#checkWanted(id));
    this.#waitedMs += performance.now() - started;
  }

  #networkOf(job: ComputeJob): LoadedNetwork {
    const known = this.#networks.get(job.jobId);
    const loaded = known ?? {
      network: Network.create(job.model, job.precision, { labelSmoothing: job.labelSmoothing }),
      version: undefined,
    };
    this.#networks.delete(job.jobId);
    this.#networks.set(job.jobId, loaded);
    const [oldest] = this.#networks.keys();
    if (this.#networks.size > networkLimit && oldest !== undefined) this.endJob(oldest);
    return loaded;
  }

  #step(id: number): void {
    this.#checkWanted(id);
    Atomics.add(this.#control, word.progress, 1);
  }

  #checkWanted(id: number): void {
    if (Atomics.load(this.#control, word.aborted) === id) throw new ComputeAborted();
  }

  #finished(network: Network, totals: TaskResult, started: number): ComputeTotals {
    this.#publishTensors();
    const pullWaitSeconds = this.#waitedMs / 1000;
    const forwardSeconds = Math.max(0, network.takeForwardSeconds() - pullWaitSeconds);
    const computeSeconds = (performance.now() - started) / 1000 - pullWaitSeconds;
    return { ...totals, computeSeconds, forwardSeconds, pullWaitSeconds };
  }

  #publishTensors(): void {
    Atomics.store(this.#control, word.tensors, this.#countTensors());
  }
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
