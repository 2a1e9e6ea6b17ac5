// The main thread's end of the compute thread: starts it, asks it for one task at a time, hears of its progress.
// Refuses to know TensorFlow, tasks' keys and where gradients go.
import { Worker } from 'node:worker_threads';
import type { KernelTable } from '#model/kernel-table.js';
import type { TrialJob } from '#model/kernel-trial.js';
import {
  type ComputeFacts,
  type ComputeThreadData,
  type ComputeTotals,
  controlLength,
  controlWords as word,
  type EvaluateRequest,
  type FromCompute,
  type ToCompute,
  type TrainRequest,
} from './compute-protocol.js';
import { Withdrawn } from './withdrawal.js';

/** Computing as the task stages see it. */
export interface Compute {
  /** Rejects with the signal's reason once the thread has let go of the task, or with an error that says what failed. */
  train(
    request: TrainRequest,
    signal: AbortSignal,
    onFinal: (firstFinalElement: number) => void,
  ): Promise<ComputeTotals>;
  evaluate(request: EvaluateRequest, signal: AbortSignal): Promise<ComputeTotals>;
  /** Which kernels are the quicker ones for a job's net; between two tasks, which takes seconds. */
  tryKernels(job: TrialJob): Promise<KernelTable>;
  endJob(jobId: string): void;
}

/** TensorFlow cannot be used here; the message says what to do. */
export class ComputeUnusable extends Error {
  override readonly name = 'ComputeUnusable';
}

interface Pending {
  readonly id: number;
  readonly signal: AbortSignal;
  readonly onFinal: ((firstFinalElement: number) => void) | undefined;
  resolve(totals: ComputeTotals): void;
  reject(error: unknown): void;
}

interface PendingTrial {
  resolve(table: KernelTable): void;
  reject(error: Error): void;
}

export class ComputeClient implements Compute {
  readonly #worker: Worker;
  readonly #control: Int32Array;
  readonly #facts: Promise<ComputeFacts>;
  readonly #ended: Promise<Error>;
  #pending: Pending | undefined;
  /** They wait behind the task that computes, and the next task waits behind them. */
  readonly #trials = new Map<number, PendingTrial>();
  #dead: Error | undefined;
  #ids = 0;

  private constructor(script: URL, nodeOptions: readonly string[]) {
    this.#control = new Int32Array(new SharedArrayBuffer(controlLength * Int32Array.BYTES_PER_ELEMENT));
    const workerData: ComputeThreadData = { control: this.#control };
    this.#worker = new Worker(script, { workerData, name: 'compute', execArgv: [...nodeOptions] });
    let reportFacts!: (facts: ComputeFacts) => void;
    let reportUnusable!: (error: Error) => void;
    this.#facts = new Promise((resolve, reject) => {
      reportFacts = resolve;
      reportUnusable = reject;
    });
    this.#ended = new Promise((resolve) => {
      let cause: Error | undefined;
      this.#worker.on('error', (error: unknown) => {
        cause = new Error(`The compute thread died: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      });
      this.#worker.on('exit', (code) => resolve(cause ?? new Error(`The compute thread ended with code ${code}.`)));
    });
    void this.#ended.then((error) => {
      reportUnusable(error);
      this.#settle((pending) => pending.reject(error));
      this.#dead = error;
      for (const trial of this.#trials.values()) trial.reject(error);
    });
    this.#worker.on('message', (message: FromCompute) => {
      if (message.type === 'ready') reportFacts(message.facts);
      else if (message.type === 'unusable') reportUnusable(new ComputeUnusable(message.message));
      else this.#hear(message);
    });
  }

  /** Starts the thread, with the process's options of Node unless told otherwise, and loads TensorFlow. Rejects with `ComputeUnusable`. */
  static async start(
    script: URL = new URL('./compute-thread.js', import.meta.url),
    nodeOptions: readonly string[] = process.execArgv,
  ): Promise<{ client: ComputeClient; facts: ComputeFacts }> {
    const client = new ComputeClient(script, nodeOptions);
    return { client, facts: await client.#facts };
  }

  /** Resolves with the cause when the thread has ended; it is not started again, the process is. */
  get ended(): Promise<Error> {
    return this.#ended;
  }

  /** Grows while the thread works on a task; wraps around after 2^32. */
  get progress(): number {
    return Atomics.load(this.#control, word.progress) >>> 0;
  }

  /** Live TensorFlow tensors after the last task. */
  get tensors(): number {
    return Atomics.load(this.#control, word.tensors);
  }

  train(
    request: TrainRequest,
    signal: AbortSignal,
    onFinal: (firstFinalElement: number) => void,
  ): Promise<ComputeTotals> {
    return this.#ask((id) => ({ type: 'train', id, request }), signal, onFinal);
  }

  evaluate(request: EvaluateRequest, signal: AbortSignal): Promise<ComputeTotals> {
    return this.#ask((id) => ({ type: 'evaluate', id, request }), signal, undefined);
  }

  tryKernels(job: TrialJob): Promise<KernelTable> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    const id = this.#newId();
    return new Promise<KernelTable>((resolve, reject) => {
      this.#trials.set(id, { resolve, reject });
      this.#post({ type: 'try-kernels', id, job });
    }).finally(() => this.#trials.delete(id));
  }

  endJob(jobId: string): void {
    this.#post({ type: 'end-job', jobId });
  }

  /** Ends the thread: at its next message, or by force when that takes longer than `deadlineMs`. */
  async stop(deadlineMs: number): Promise<void> {
    this.#post({ type: 'stop' });
    const timer = setTimeout(() => void this.#worker.terminate(), deadlineMs);
    await this.#ended;
    clearTimeout(timer);
  }

  #ask(
    message: (id: number) => ToCompute,
    signal: AbortSignal,
    onFinal: ((firstFinalElement: number) => void) | undefined,
  ): Promise<ComputeTotals> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (this.#pending !== undefined) return reject(new Error('The compute thread works on another task.'));
      const id = this.#newId();
      const onAbort = () => Atomics.store(this.#control, word.aborted, id);
      const done = () => signal.removeEventListener('abort', onAbort);
      this.#pending = {
        id,
        signal,
        onFinal,
        resolve: (totals) => (done(), resolve(totals)),
        reject: (error) => (done(), reject(error)),
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#post(message(id));
    });
  }

  #hear(message: Exclude<FromCompute, { type: 'ready' | 'unusable' }>): void {
    if (message.type === 'progress') {
      // The word goes back to 0 before the element is read: what becomes final in between brings another message.
      Atomics.store(this.#control, word.notified, 0);
      this.#pending?.onFinal?.(Atomics.load(this.#control, word.firstFinalElement));
      return;
    }
    if (message.type === 'kernels-tried') return this.#trials.get(message.id)?.resolve(message.table);
    if (message.type === 'kernels-not-tried') {
      return this.#trials.get(message.id)?.reject(new Error(message.message));
    }
    this.#settle((pending) => {
      if (message.type === 'done') pending.resolve(message.totals);
      else if (message.aborted && pending.signal.aborted) pending.reject(pending.signal.reason ?? new Withdrawn());
      else pending.reject(new Error(message.message));
    });
  }

  #settle(settle: (pending: Pending) => void): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) settle(pending);
  }

  #newId(): number {
    return (this.#ids = (this.#ids + 1) | 0);
  }

  #post(message: ToCompute): void {
    this.#worker.postMessage(message);
  }
}
