// Which versions of a job can be pulled from a slice, and who waits for one that is still to come.
// Refuses to know gRPC; a waiter is told by a promise.
import type { PublishedVersion } from './messages.js';

/** Why a version will never come. */
export class VersionGoneError extends Error {
  override readonly name = 'VersionGoneError';
}

interface Waiter {
  readonly lineage: number;
  readonly version: number;
  readonly resolve: (version: PublishedVersion) => void;
  readonly reject: (error: Error) => void;
}

export class PublishedVersions {
  readonly #jobId: string;
  #newest: PublishedVersion | undefined;
  readonly #waiters = new Set<Waiter>();
  /** Aborted when a buffer is written to: whoever still reads it reads a version that nobody needs any more. */
  readonly #readers = new Map<number, AbortController>();

  constructor(jobId: string) {
    this.#jobId = jobId;
  }

  get newest(): PublishedVersion | undefined {
    return this.#newest;
  }

  publish(version: PublishedVersion): void {
    this.#newest = version;
    for (const waiter of this.#waiters) {
      const outcome = this.#judge(waiter.lineage, waiter.version);
      if (outcome === 'wait') continue;
      this.#waiters.delete(waiter);
      if (outcome instanceof VersionGoneError) waiter.reject(outcome);
      else waiter.resolve(outcome);
    }
  }

  /** Resolves once the version exists. Throws VersionGoneError when it is over or the job ends. */
  when(lineage: number, version: number, signal: AbortSignal): Promise<PublishedVersion> {
    const outcome = this.#judge(lineage, version);
    if (outcome instanceof VersionGoneError) return Promise.reject(outcome);
    if (outcome !== 'wait') return Promise.resolve(outcome);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { lineage, version, resolve, reject };
      this.#waiters.add(waiter);
      signal.addEventListener(
        'abort',
        () => {
          this.#waiters.delete(waiter);
          reject(new VersionGoneError('The caller went away.'));
        },
        { once: true },
      );
    });
  }

  /** Aborted when the buffer's numbers are about to change. */
  readerSignal(buffer: number): AbortSignal {
    let controller = this.#readers.get(buffer);
    if (controller === undefined) this.#readers.set(buffer, (controller = new AbortController()));
    return controller.signal;
  }

  /** The buffer is about to be written to: its readers are turned away. */
  overwrite(buffer: number): void {
    this.#readers.get(buffer)?.abort(new VersionGoneError(`A newer version of job ${this.#jobId} took its place.`));
    this.#readers.delete(buffer);
  }

  close(): void {
    for (const waiter of this.#waiters)
      waiter.reject(new VersionGoneError(`Job ${this.#jobId} does not run any more.`));
    this.#waiters.clear();
    for (const buffer of [...this.#readers.keys()]) this.overwrite(buffer);
  }

  #judge(lineage: number, version: number): PublishedVersion | VersionGoneError | 'wait' {
    const newest = this.#newest;
    if (newest === undefined || lineage > newest.lineage) return 'wait';
    if (lineage < newest.lineage) return new VersionGoneError(`Lineage ${lineage} of job ${this.#jobId} is over.`);
    if (version > newest.version) return 'wait';
    if (version < newest.version) return new VersionGoneError(`Version ${version} of job ${this.#jobId} is over.`);
    return newest;
  }
}
