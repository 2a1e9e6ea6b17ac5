// Memory that the main thread and the compute thread both see, handed out and taken back, with a bound.
// Refuses to know what the bytes are.

/** How much larger than asked for a buffer may be. */
const slackFor = (bytes: number): number => 65_536 + bytes / 8;

/** A piece of shared memory on loan: as many bytes as were asked for, or some more. `release` is idempotent; after it nobody may touch `buffer`. */
export interface SharedLoan {
  readonly buffer: SharedArrayBuffer;
  readonly release: () => void;
}

interface Waiter {
  readonly bytes: number;
  readonly resolve: (loan: SharedLoan) => void;
}

/**
 * At most `limit` buffers are on loan at once; a further request waits for one to come back. Buffers are used again
 * where they are large enough and not much larger (tasks of a job nearly always have one size), others are left to the garbage collector.
 */
export class SharedBuffers {
  readonly #limit: number;
  readonly #allocate: (bytes: number) => SharedArrayBuffer;
  readonly #idle: SharedArrayBuffer[] = [];
  readonly #waiters: Waiter[] = [];
  #lent = 0;

  /** @param allocate gives at least as many bytes as it is asked for */
  constructor(limit: number, allocate = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes)) {
    this.#limit = limit;
    this.#allocate = allocate;
  }

  /** Buffers on loan now. */
  get lent(): number {
    return this.#lent;
  }

  /** Lends `bytes` bytes of any content. Rejects with the signal's reason when it aborts first. */
  acquire(bytes: number, signal: AbortSignal): Promise<SharedLoan> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (this.#lent < this.#limit) return resolve(this.#lend(bytes));
      const onAbort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(signal.reason as Error);
      };
      const waiter: Waiter = {
        bytes,
        resolve: (loan) => {
          signal.removeEventListener('abort', onAbort);
          resolve(loan);
        },
      };
      this.#waiters.push(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #lend(bytes: number): SharedLoan {
    this.#lent += 1;
    const index = this.#idle.findIndex(
      ({ byteLength }) => byteLength >= bytes && byteLength <= bytes + slackFor(bytes),
    );
    const buffer = index >= 0 ? this.#idle.splice(index, 1)[0]! : this.#allocate(bytes);
    let lent = true;
    return {
      buffer,
      release: () => {
        if (!lent) return;
        lent = false;
        this.#takeBack(buffer);
      },
    };
  }

  #takeBack(buffer: SharedArrayBuffer): void {
    this.#lent -= 1;
    this.#idle.push(buffer);
    while (this.#idle.length + this.#lent > this.#limit) this.#idle.shift();
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve(this.#lend(waiter.bytes));
  }
}
