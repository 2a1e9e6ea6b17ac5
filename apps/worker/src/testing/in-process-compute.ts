// Computing for specs: the same computer as in the compute thread, on the thread of the spec.
// Refuses to be fast: the spec's event loop stands still while it computes.
import type { KernelTable } from '#model/kernel-table.js';
import type { TrialJob } from '#model/kernel-trial.js';
import { liveTensors } from '#model/tensorflow/tensor.js';
import { isLost, isThere } from '../arrivals.js';
import type { Compute } from '../compute-client.js';
import {
  type ComputeTotals,
  controlLength,
  controlWords,
  type EvaluateRequest,
  type TrainRequest,
} from '../compute-protocol.js';
import { ComputeAborted, Computer } from '../computer.js';

export class InProcessCompute implements Compute {
  readonly control = new Int32Array(new SharedArrayBuffer(4 * controlLength));
  /** Runs before each task computes. */
  before: () => Promise<void> = () => Promise.resolve();
  /** Smaller than a block, so that small nets make progress too. */
  notifyElements = 4096;
  /** Runs when that many further elements of the gradient have become final; the spec may abort here. */
  onBlock: () => void = () => undefined;
  #onFinal: (firstFinalElement: number) => void = () => undefined;
  readonly #computer = new Computer({
    control: this.control,
    onProgress: () => {
      Atomics.store(this.control, controlWords.notified, 0);
      this.#onFinal(Atomics.load(this.control, controlWords.firstFinalElement));
      this.onBlock();
    },
    countTensors: liveTensors,
  });
  #ids = 0;

  get progress(): number {
    return Atomics.load(this.control, controlWords.progress);
  }

  get tensors(): number {
    return Atomics.load(this.control, controlWords.tensors);
  }

  train(
    request: TrainRequest,
    signal: AbortSignal,
    onFinal: (firstFinalElement: number) => void,
  ): Promise<ComputeTotals> {
    this.#onFinal = onFinal;
    return this.#run(request, signal, (id) =>
      this.#computer.train(id, { ...request, notifyElements: this.notifyElements }),
    );
  }

  evaluate(request: EvaluateRequest, signal: AbortSignal): Promise<ComputeTotals> {
    return this.#run(request, signal, (id) => this.#computer.evaluate(id, request));
  }

  tryKernels(job: TrialJob): Promise<KernelTable> {
    return Promise.resolve().then(() => this.#computer.tryKernels(job));
  }

  endJob(jobId: string): void {
    this.#computer.endJob(jobId);
  }

  dispose(): void {
    this.#computer.dispose();
  }

  async #run(
    { parameters: { arrived, parameters } }: TrainRequest | EvaluateRequest,
    signal: AbortSignal,
    compute: (id: number) => ComputeTotals,
  ): Promise<ComputeTotals> {
    const id = (this.#ids += 1);
    const onAbort = (): void => void Atomics.store(this.control, controlWords.aborted, id);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.before();
      // What is still to come would come on this very thread.
      if (arrived !== undefined) await settled(arrived, parameters.length, signal);
      signal.throwIfAborted();
      return compute(id);
    } catch (error) {
      throw error instanceof ComputeAborted && signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

async function settled(arrived: Int32Array, end: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !isLost(arrived) && !isThere(arrived, end)) await new Promise(setImmediate);
}
