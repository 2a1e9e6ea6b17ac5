// Starts the slices' threads and speaks with all of them at once. Refuses to know what the commands mean.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Span } from '#proto/span-ring.js';
import type {
  PushReport,
  SliceAnswer,
  SliceAnswers,
  SliceCommand,
  SliceOptions,
  SliceReport,
  SliceRequest,
  Slices,
} from './messages.js';

export interface SlicePoolOptions extends Omit<SliceOptions, 'slice' | 'slices' | 'port'> {
  readonly slices: number;
  /** Port of slice 0; slice i listens on the one i after it. 0: any free ports. */
  readonly firstPort: number;
}

interface Pending {
  readonly answers: (SliceAnswer | undefined)[];
  left: number;
  readonly resolve: (answers: SliceAnswers) => void;
  readonly reject: (error: Error) => void;
}

export class SlicePool implements Slices {
  readonly #threads: readonly Worker[];
  readonly #pending = new Map<number, Pending>();
  #requests = 0;
  #stopping = false;
  /** Ports that the slices listen on, in order of slices. */
  readonly ports: readonly number[];
  onPush: (slice: number, report: PushReport) => void = () => undefined;
  onSpans: (spans: readonly Span[]) => void = () => undefined;
  /** A slice's thread died: nothing can go on. */
  onCrash: (error: Error) => void = () => undefined;

  private constructor(threads: readonly Worker[], ports: readonly number[]) {
    this.#threads = threads;
    this.ports = ports;
    threads.forEach((thread, slice) => {
      thread.on('message', (report: SliceReport) => this.#take(slice, report));
      thread.on('error', (error) =>
        this.onCrash(new Error(`Slice ${slice} failed: ${error.message}`, { cause: error })),
      );
      thread.on('exit', () => {
        if (!this.#stopping) this.onCrash(new Error(`Slice ${slice} ended.`));
      });
    });
  }

  /** Resolves when all slices listen. Throws an Error that names the port when one cannot. */
  static async start(options: SlicePoolOptions): Promise<SlicePool> {
    const { slices, firstPort, ...shared } = options;
    const threads = Array.from({ length: slices }, (_, slice) => {
      const workerData: SliceOptions = { ...shared, slice, slices, port: firstPort === 0 ? 0 : firstPort + slice };
      return new Worker(new URL('./reducer-thread.js', import.meta.url), { workerData, name: `slice-${slice}` });
    });
    try {
      const ports = await Promise.all(threads.map((thread) => listening(thread)));
      return new SlicePool(threads, ports);
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.terminate()));
      throw error;
    }
  }

  get count(): number {
    return this.#threads.length;
  }

  send(slice: number, command: SliceCommand): void {
    this.#threads[slice]?.postMessage(command);
  }

  broadcast(command: SliceCommand): void {
    for (const thread of this.#threads) thread.postMessage(command);
  }

  request(command: SliceRequest): Promise<SliceAnswers> {
    this.#requests += 1;
    const request = this.#requests;
    return new Promise((resolve, reject) => {
      this.#pending.set(request, {
        answers: Array.from({ length: this.count }, () => undefined),
        left: this.count,
        resolve,
        reject,
      });
      this.broadcast({ ...command, request });
    });
  }

  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    await this.request({ type: 'stop' });
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  #take(slice: number, report: SliceReport): void {
    switch (report.type) {
      case 'answer': {
        const pending = this.#pending.get(report.request);
        if (pending === undefined) return;
        pending.answers[slice] = report;
        pending.left -= 1;
        if (pending.left > 0) return;
        this.#pending.delete(report.request);
        pending.resolve(together(pending.answers.map((answer) => answer!)));
        return;
      }
      case 'failed': {
        const pending = this.#pending.get(report.request);
        this.#pending.delete(report.request);
        pending?.reject(new Error(`Slice ${slice}: ${report.problem}`));
        return;
      }
      case 'spans':
        return this.onSpans(report.spans);
      case 'listening':
      case 'cannot-listen':
        return;
      default:
        this.onPush(slice, report);
    }
  }
}

/** The slices' answers, in order of slices. */
export function together(answers: readonly SliceAnswer[]): SliceAnswers {
  return {
    values: answers.map(({ values }) => values),
    layerSums: answers.map(({ layerSums }) => layerSums ?? new Float64Array(0)),
    finite: answers.every(({ finite }) => finite),
  };
}

async function listening(thread: Worker): Promise<number> {
  const [report] = (await once(thread, 'message')) as [SliceReport];
  if (report.type === 'listening') return report.port;
  throw new Error(
    report.type === 'cannot-listen' ? report.problem : `A slice reported ${report.type} before it listened.`,
  );
}
