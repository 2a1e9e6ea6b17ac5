// The states of one step's tasks: open -> queued -> claimed -> accepted. The coordinator's own truth, in memory,
// derived and never persisted. Pure: refuses to know queues, networks and clocks (times are told, milliseconds).

/** Which tasks these are; with a task's index it makes a task's key. */
export interface StepId {
  readonly jobId: string;
  readonly lineage: number;
  /** Step for training; version that is evaluated for evaluation. */
  readonly step: number;
  readonly round: number;
  readonly kind: 'train' | 'evaluate';
}

export type TaskState = 'open' | 'queued' | 'claimed' | 'accepted';

/** Leave that one worker has to work on one task. */
export interface TaskClaim {
  readonly worker: string;
  readonly attempt: number;
  readonly since: number;
}

/** Answer to a claim: only `go` is leave to work. */
export type ClaimDecision = 'go' | 'already-accepted' | 'in-good-hands' | 'needed-elsewhere' | 'unknown-task';

interface Task {
  state: TaskState;
  /** Number of times it was put in the queue. */
  attempt: number;
  /** When it was last put in the queue. */
  queuedAt: number;
  claims: TaskClaim[];
  acceptedFrom: string | undefined;
  /** Attempts that were put in the queue although somebody works on the task. */
  speculative: Set<number>;
  /** Workers that have computed it, while another is to. */
  excluded: Set<string>;
}

/** A task that is to be put in the queue now. */
export interface TaskAttempt {
  readonly task: number;
  readonly attempt: number;
}

export class StepTasks {
  readonly #tasks: Task[];
  #accepted = 0;

  constructor(
    readonly id: StepId,
    count: number,
  ) {
    this.#tasks = Array.from({ length: count }, () => ({
      state: 'open',
      attempt: 0,
      queuedAt: 0,
      claims: [],
      acceptedFrom: undefined,
      speculative: new Set(),
      excluded: new Set(),
    }));
  }

  get count(): number {
    return this.#tasks.length;
  }

  get acceptedCount(): number {
    return this.#accepted;
  }

  get complete(): boolean {
    return this.#accepted === this.#tasks.length;
  }

  stateOf(task: number): TaskState | undefined {
    return this.#tasks[task]?.state;
  }

  claimsOf(task: number): readonly TaskClaim[] {
    return this.#tasks[task]?.claims ?? [];
  }

  /** The lowest task that is not yet accepted, or undefined when all are. */
  lowestUnaccepted(): number | undefined {
    const index = this.#tasks.findIndex((task) => task.state !== 'accepted');
    return index < 0 ? undefined : index;
  }

  /** Takes every open task, in index order, for the queue: each gets its next attempt and counts as queued. */
  takeOpen(now: number): TaskAttempt[] {
    const taken: TaskAttempt[] = [];
    this.#tasks.forEach((task, index) => {
      if (task.state !== 'open') return;
      task.state = 'queued';
      task.attempt += 1;
      task.queuedAt = now;
      taken.push({ task: index, attempt: task.attempt });
    });
    return taken;
  }

  /** Queued tasks that were put in the queue at or before `before`, with their newest attempt. */
  queuedSince(before: number): TaskAttempt[] {
    return this.#tasks.flatMap((task, index) =>
      task.state === 'queued' && task.queuedAt <= before ? [{ task: index, attempt: task.attempt }] : [],
    );
  }

  /** The queue lost this attempt (or never had it): the task is open again unless something happened since. */
  lost(task: number, attempt: number): boolean {
    const entry = this.#tasks[task];
    entry?.speculative.delete(attempt);
    if (entry?.state !== 'queued' || entry.attempt !== attempt) return false;
    entry.state = 'open';
    return true;
  }

  /**
   * A worker took an entry from the queue and asks whether to work on it.
   * An entry of any attempt may be claimed: which copy arrives first does not matter.
   */
  claim(task: number, attempt: number, worker: string, now: number): ClaimDecision {
    const entry = this.#tasks[task];
    if (entry === undefined) return 'unknown-task';
    if (entry.state === 'accepted') return 'already-accepted';
    // Whoever took a second copy, it is used up.
    const copy = entry.speculative.delete(attempt);
    if (entry.excluded.has(worker)) {
      // The entry is used up: it has to be queued again, for somebody else.
      this.lost(task, attempt);
      return 'needed-elsewhere';
    }
    if (entry.claims.some((claim) => claim.worker === worker)) return 'in-good-hands';
    if (entry.state === 'claimed' && !copy) return 'in-good-hands';
    entry.claims.push({ worker, attempt, since: now });
    entry.state = 'claimed';
    return 'go';
  }

  /** Queues a second copy of a task that somebody holds; its claim by another worker is welcome. */
  speculate(task: number): TaskAttempt | undefined {
    const entry = this.#tasks[task];
    if (entry?.state !== 'claimed' || entry.claims.length > 1 || entry.speculative.size > 0) return undefined;
    entry.attempt += 1;
    entry.speculative.add(entry.attempt);
    return { task, attempt: entry.attempt };
  }

  /** A worker gives a claim back, or loses it; of this attempt only, where one is given. True when the task is open again. */
  release(task: number, worker: string, attempt?: number): boolean {
    const entry = this.#tasks[task];
    if (entry === undefined) return false;
    const before = entry.claims.length;
    entry.claims = entry.claims.filter(
      (claim) => claim.worker !== worker || (attempt !== undefined && claim.attempt !== attempt),
    );
    if (entry.state !== 'claimed' || entry.claims.length === before || entry.claims.length > 0) return false;
    entry.state = 'open';
    return true;
  }

  /** A worker has done its part: another is to compute the same. True when the task is open again. */
  elsewhere(task: number, worker: string): boolean {
    this.#tasks[task]?.excluded.add(worker);
    return this.release(task, worker);
  }

  excludes(task: number, worker: string): boolean {
    return this.#tasks[task]?.excluded.has(worker) ?? false;
  }

  /** Lets everybody try again where each of these workers has had its turn at a task that nobody holds. */
  readmit(workers: readonly string[], except: readonly number[]): void {
    this.#tasks.forEach(({ state, excluded }, task) => {
      const free = (state === 'open' || state === 'queued') && !except.includes(task);
      if (free && excluded.size > 0 && workers.every((worker) => excluded.has(worker))) excluded.clear();
    });
  }

  /** Whether some task that nobody holds may be taken by this worker. */
  wants(worker: string): boolean {
    return this.#tasks.some(({ state, excluded }) => (state === 'open' || state === 'queued') && !excluded.has(worker));
  }

  /** All of a worker's claims are gone (its session ended). Returns the tasks that are open again. */
  releaseAll(worker: string): number[] {
    return this.#tasks.flatMap((_, index) => (this.release(index, worker) ? [index] : []));
  }

  /** The first whole and valid contribution wins, whoever holds the claim by then. False when one won before. */
  accept(task: number, worker: string): boolean {
    const entry = this.#tasks[task];
    if (entry === undefined || entry.state === 'accepted') return false;
    entry.state = 'accepted';
    entry.acceptedFrom = worker;
    entry.claims = [];
    this.#accepted += 1;
    return true;
  }

  acceptedFrom(task: number): string | undefined {
    return this.#tasks[task]?.acceptedFrom;
  }

  /** Tasks that a worker has claimed. */
  heldBy(worker: string): number[] {
    return this.#tasks.flatMap((task, index) => (task.claims.some((claim) => claim.worker === worker) ? [index] : []));
  }

  /** Workers that hold claims. */
  holders(): string[] {
    return [...new Set(this.#tasks.flatMap((task) => task.claims.map((claim) => claim.worker)))];
  }
}
