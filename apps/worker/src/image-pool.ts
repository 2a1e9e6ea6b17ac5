// A bounded number of threads that prepare images, started as they are needed; counts what they did.
// Refuses to know where images come from and what for.
import { Worker } from 'node:worker_threads';
import { ByteCache } from '#model/images/byte-cache.js';
import type { ImageServices } from '#model/images/image-services.js';
import type { ImageRecipe } from '#model/images/prepare-image.js';
import type { FromImages, ImageThreadOptions, ToImages } from './image-protocol.js';
import { messageOf } from './withdrawal.js';

/** While a thread resizes one image, sharp decodes another one. */
const perThread = 2;

export interface ImagePoolOptions {
  /** Most threads. */
  readonly threads: number;
  /** Encoded images kept in memory, bytes. */
  readonly cacheBytes: number;
  /** Threads decode plain JPEGs by TensorFlow's kernel: the same bytes in less time, at the cost of a context of TensorFlow each. */
  readonly jpegKernel: boolean;
  /** @default the thread beside this file, with the process's options of Node */
  readonly script?: URL;
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

interface ImageThread {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

/** Since the process started. */
export interface ImageCounts {
  readonly images: number;
  /** Sum over images, most of which are prepared several at a time. */
  readonly seconds: number;
  readonly cacheHits: number;
}

export class ImagePool implements ImageServices {
  readonly atOnce: number;
  readonly cache: ByteCache;
  readonly #script: URL;
  readonly #threadOptions: ImageThreadOptions;
  readonly #mostThreads: number;
  readonly #threads: ImageThread[] = [];
  #ids = 0;
  #images = 0;
  #seconds = 0;

  constructor({ threads, cacheBytes, jpegKernel, script }: ImagePoolOptions) {
    this.#threadOptions = { jpegKernel };
    this.#mostThreads = threads;
    this.atOnce = threads * perThread;
    this.cache = new ByteCache(cacheBytes);
    this.#script = script ?? new URL('./image-thread.js', import.meta.url);
  }

  get counts(): ImageCounts {
    return { images: this.#images, seconds: this.#seconds, cacheHits: this.cache.hits };
  }

  /** Threads that run. */
  get threads(): number {
    return this.#threads.length;
  }

  /** Prepares the image on some thread. Rejects with what is wrong with it, or with why the thread ended. */
  prepare(bytes: Uint8Array, recipe: ImageRecipe, out: Float32Array): Promise<void> {
    if (!(out.buffer instanceof SharedArrayBuffer)) {
      return Promise.reject(new TypeError('Images are prepared in shared memory only.'));
    }
    const thread = this.#leastBusy();
    const id = this.#ids++;
    return new Promise((resolve, reject) => {
      thread.waiting.set(id, { resolve, reject });
      const message: ToImages = { id, bytes, recipe, out };
      thread.worker.postMessage(message);
    });
  }

  /** Ends all threads; what they had in hand is rejected. */
  async stop(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #leastBusy(): ImageThread {
    const [least] = this.#threads.toSorted((one, other) => one.waiting.size - other.waiting.size);
    const room = this.#threads.length < this.#mostThreads;
    return least === undefined || (room && least.waiting.size > 0) ? this.#startThread() : least;
  }

  #startThread(): ImageThread {
    const options = { name: 'images', execArgv: [...process.execArgv], workerData: this.#threadOptions };
    const worker = new Worker(this.#script, options);
    const thread: ImageThread = { worker, waiting: new Map() };
    this.#threads.push(thread);
    worker.on('message', (message: FromImages) => this.#hear(thread, message));
    let cause: unknown;
    worker.on('error', (error) => (cause = error));
    worker.on('exit', (code) => {
      this.#threads.splice(this.#threads.indexOf(thread), 1);
      const why = cause === undefined ? `ended with code ${code}` : `died: ${messageOf(cause)}`;
      for (const waiting of thread.waiting.values())
        waiting.reject(new Error(`was not prepared: an image thread ${why}`));
    });
    return thread;
  }

  #hear({ waiting }: ImageThread, { id, seconds, problem }: FromImages): void {
    const answer = waiting.get(id);
    waiting.delete(id);
    this.#images += 1;
    this.#seconds += seconds;
    if (problem === undefined) answer?.resolve();
    else answer?.reject(new Error(problem));
  }
}
