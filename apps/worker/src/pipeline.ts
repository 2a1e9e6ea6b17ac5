// Where each task of this worker stands: at most one is being prepared and at most one computes; delivering goes on behind.
// Refuses to know how any of that is done: no network, no TensorFlow, no queue.
import { entryId, type TaskEntry } from '#proto/task-entry.js';
import { LetGoWatch } from './let-go.js';
import { delay, messageOf, type ReleaseReason, TaskFailure, Withdrawn } from './withdrawal.js';

export type Phase = 'preparing' | 'computing' | 'delivering';

/** The work itself. Every stage ends soon after its signal aborts, and frees what it holds when it rejects. */
export interface Stages<Prepared> {
  /** Everything that computing needs. Rejects with `TaskFailure` where the task cannot be done here. */
  prepare(task: TaskEntry, signal: AbortSignal): Promise<Prepared>;
  /** Frees what `prepare` made when computing never begins. */
  discard(prepared: Prepared): void;
  /**
   * Computes, and frees `prepared`; resolves when the compute thread is free again, with what is left to do behind it.
   * Calls `onUnwanted` when it has learned meanwhile that nobody wants the task, and waits for the compute thread only.
   */
  compute(
    task: TaskEntry,
    prepared: Prepared,
    signal: AbortSignal,
    onUnwanted: () => void,
  ): Promise<{ readonly delivery: Promise<void> }>;
  /** Tells the coordinator that the worker gives a task back. */
  release(task: TaskEntry, reason: ReleaseReason, detail: string): void;
}

interface Entry {
  readonly task: TaskEntry;
  readonly abort: AbortController;
  phase: Phase;
  /** Withdrawn or refused; until its stage has noticed, it is still here. */
  unwanted: boolean;
  /** The coordinator has it back. */
  released: boolean;
}

/** Answers may take long, as where another worker has to prove a contribution; waiting for one costs little, but not nothing. */
const tasksAtOnce = 64;

export interface PipelineOptions {
  /** First wait after a task that failed before it computed, doubled by each further one up to 32 times. @default 100 ms */
  readonly failurePauseMs?: number;
  /** How long the compute thread may hold a task that nobody wants. @default 30,000 ms */
  readonly letGoMs?: number | undefined;
}

export class Pipeline<Prepared> {
  readonly #stages: Stages<Prepared>;
  readonly #failurePauseMs: number;
  readonly #letGo: LetGoWatch;
  readonly #entries = new Map<string, Entry>();
  readonly #idleWaiters: (() => void)[] = [];
  #waiters: (() => void)[] = [];
  #failures = 0;
  #draining = false;

  constructor(stages: Stages<Prepared>, options: PipelineOptions = {}) {
    this.#stages = stages;
    this.#failurePauseMs = options.failurePauseMs ?? 100;
    this.#letGo = new LetGoWatch(options.letGoMs);
  }

  /** The task that computes now. */
  get computing(): TaskEntry | undefined {
    return this.#inPhase('computing')?.task;
  }

  /** Rejects with `ComputeHangs` when the compute thread keeps a task that nobody wants; never resolves. */
  get hung(): Promise<never> {
    return this.#letGo.hung;
  }

  /** Tasks in any phase. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Takes a claimed task. Resolves when the preparing slot is free again: the task computes, was given back or is no longer
   * wanted. Never rejects for the task's sake. One call at a time.
   */
  async run(task: TaskEntry): Promise<void> {
    if (this.#draining) return this.#stages.release(task, 'draining', '');
    if (this.#inPhase('preparing') !== undefined) throw new Error('The preparing slot is taken.');
    const id = entryId(task.key, task.attempt);
    const entry: Entry = { task, abort: new AbortController(), phase: 'preparing', unwanted: false, released: false };
    this.#entries.set(id, entry);
    const prepared = await this.#prepare(entry);
    if (prepared === undefined) return this.#leave(id);
    entry.phase = 'computing';
    void this.#finish(id, entry, prepared.value);
  }

  /**
   * Resolves when it makes sense to take a further task. While the compute thread holds one that nobody wants it may hang:
   * whatever were taken then would be missing to workers that are well.
   */
  async ready(): Promise<void> {
    while (!this.#draining && (this.size >= tasksAtOnce || this.#inPhase('computing')?.unwanted === true)) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** The coordinator no longer wants the task; nothing happens when it is not here. */
  cancel(id: string): void {
    this.#withdraw(this.#entries.get(id), undefined);
  }

  /** Hands the task back if it has not begun to compute. */
  yield(id: string): void {
    const entry = this.#entries.get(id);
    if (entry?.phase === 'preparing') this.#withdraw(entry, 'yielded');
  }

  /** Takes nothing from now on; hands the task being prepared back. `settled` tells when the rest is done. */
  drain(): void {
    this.#draining = true;
    this.#wake();
    this.#withdraw(this.#inPhase('preparing'), 'draining');
  }

  /** Gives up everything at once and takes nothing from now on: with 'draining' the coordinator is told, without a reason it knows already. */
  withdrawAll(release: 'draining' | undefined): void {
    this.#draining = true;
    this.#wake();
    for (const entry of this.#entries.values()) this.#withdraw(entry, release);
  }

  /** Resolves when no task is in any phase. */
  settled(): Promise<void> {
    if (this.#entries.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** The coordinator is told at once: a kernel may hold the compute thread for a while yet. */
  #withdraw(entry: Entry | undefined, release: 'draining' | 'yielded' | undefined): void {
    if (entry === undefined || entry.abort.signal.aborted) return;
    entry.abort.abort(new Withdrawn());
    this.#onUnwanted(entry);
    if (release !== undefined) this.#release(entry, release, '');
  }

  #onUnwanted(entry: Entry): void {
    entry.unwanted = true;
    if (entry.phase === 'computing') this.#letGo.begin(entry.task);
  }

  #release(entry: Entry, reason: ReleaseReason, detail: string): void {
    if (!entry.released) this.#stages.release(entry.task, reason, detail);
    entry.released = true;
  }

  async #prepare(entry: Entry): Promise<{ value: Prepared } | undefined> {
    const { task, abort } = entry;
    try {
      const value = await this.#stages.prepare(task, abort.signal);
      try {
        await this.#slotFree(abort.signal);
      } catch (error) {
        this.#stages.discard(value);
        throw error;
      }
      this.#failures = 0;
      return { value };
    } catch (error) {
      if (this.#giveUp(entry, error)) await this.#pauseAfterFailure(abort.signal);
      return undefined;
    }
  }

  async #finish(id: string, entry: Entry, prepared: Prepared): Promise<void> {
    try {
      const { delivery } = await this.#compute(entry, prepared);
      entry.phase = 'delivering';
      this.#wake();
      await delivery;
    } catch (error) {
      this.#giveUp(entry, error);
    } finally {
      this.#leave(id);
    }
  }

  async #compute(entry: Entry, prepared: Prepared): Promise<{ readonly delivery: Promise<void> }> {
    const onUnwanted = (): void => this.#onUnwanted(entry);
    try {
      return await this.#stages.compute(entry.task, prepared, entry.abort.signal, onUnwanted);
    } finally {
      this.#letGo.end();
    }
  }

  /** True when it was the task's failure rather than somebody's wish. */
  #giveUp(entry: Entry, error: unknown): boolean {
    if (entry.abort.signal.aborted) return false;
    this.#release(entry, error instanceof TaskFailure ? error.release : 'failed', messageOf(error));
    return true;
  }

  /** The coordinator hands a task that failed out again at once, maybe to this worker: without a pause that would spin. */
  async #pauseAfterFailure(signal: AbortSignal): Promise<void> {
    const pause = this.#failurePauseMs * 2 ** Math.min(this.#failures, 5);
    this.#failures += 1;
    await delay(pause, signal).catch(ignoreWithdrawal);
  }

  async #slotFree(signal: AbortSignal): Promise<void> {
    while (this.#inPhase('computing') !== undefined) {
      await new Promise<void>((resolve, reject) => {
        const wake = () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        };
        const onAbort = () => {
          this.#waiters = this.#waiters.filter((waiter) => waiter !== wake);
          reject(signal.reason as Error);
        };
        if (signal.aborted) return onAbort();
        this.#waiters.push(wake);
        signal.addEventListener('abort', onAbort, { once: true });
      });
    }
    signal.throwIfAborted();
  }

  /** Whoever waits for a slot, or for room, looks again. */
  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #inPhase(phase: Phase): Entry | undefined {
    for (const entry of this.#entries.values()) if (entry.phase === phase) return entry;
    return undefined;
  }

  #leave(id: string): void {
    this.#entries.delete(id);
    this.#wake();
    if (this.#entries.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}

function ignoreWithdrawal(error: unknown): void {
  if (!(error instanceof Withdrawn)) throw error;
}
