// Hands out the tasks of one job: puts them in the queue, answers claims, and notices what got lost on the way.
// Owns the open steps' task states; refuses to know what tasks compute and which contribution wins.
import { entryId, type TaskEntry, type TaskKey, taskName, toWireKey } from '#proto/task-entry.js';
import type { StepId, StepTasks, TaskAttempt, TaskClaim } from './step-tasks.js';
import type { QueuedEntry, TaskQueue } from './task-queue.js';
import type { Logger } from '../log.js';
import type { PoolWorker, WorkerRegistry } from '../workers/worker-registry.js';

/** A queued entry that nobody has claimed is looked for after this, milliseconds. */
const lostAfterMs = 1000;
/** A task that computes without progress is given to another after this many median task times, at least. */
const leaseFactor = 10;
const leaseAtLeastMs = 10_000;
/**
 * A task whose version is there, and that its worker neither computes nor delivers although its compute thread is free, is
 * given to another after this, milliseconds: its images or parameters do not come. Long, as both may have a long way.
 */
const unbegunAfterMs = 300_000;
/** And is told people after this. */
const unbegunToldAfterMs = 30_000;
/** A task that a worker took which may not have it is queued again after this, milliseconds. */
const elsewhereAfterMs = 100;
/** An idle worker gets a second copy of a task held for this many median task times. */
const speculateFactor = 2;
const speculateAtLeastMs = 1000;

export interface OpenTasks {
  readonly tasks: StepTasks;
  /** What the queue carries for a task. */
  readonly entryOf: (attempt: TaskAttempt) => TaskEntry;
  /** Tasks of the next step, queued ahead so that workers prepare their images. */
  lookAhead: boolean;
}

export interface TaskBoardOptions {
  readonly jobId: string;
  /** The job's own priority; higher is served first. */
  readonly priority: number;
  readonly classId: string | undefined;
  readonly speculation: boolean;
  readonly queue: Pick<TaskQueue, 'put' | 'placeOf' | 'remove'>;
  readonly workers: WorkerRegistry;
  readonly log: Logger;
  readonly now?: (() => number) | undefined;
  /** Whether a worker may have tasks of this job at all. */
  readonly takes: (worker: PoolWorker) => boolean;
  /** Called with each pass. */
  readonly onPass?: () => void;
  /** Whether a worker's contribution to a task of the present step is on its way. */
  readonly delivers: (key: TaskKey, worker: string) => boolean;
  /** A worker lost a task that it did not begin; `complaint` says so, for people. */
  readonly onUnbegun: (key: TaskKey, worker: PoolWorker, complaint: string) => void;
  /** `trouble` has changed. */
  readonly onTrouble: () => void;
}

export class TaskBoard {
  readonly #options: TaskBoardOptions;
  readonly #now: () => number;
  readonly #open = new Map<string, OpenTasks>();
  /** Entries that the last pass saw with a worker, unclaimed. */
  #activeUnclaimed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #elsewhereTimer: NodeJS.Timeout | undefined;
  #passing = false;
  #queueProblem: string | undefined;
  /** Who holds a task and does not begin it. */
  #unbegun: string | undefined;
  /** Since when the step before which nothing else is due is open. */
  #presentSince = 0;

  constructor(options: TaskBoardOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  start(): void {
    this.#timer = setInterval(() => void this.reconcile(), lostAfterMs).unref();
  }

  /** Makes no further pass, and leaves everything as it is. */
  halt(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#elsewhereTimer);
  }

  stop(): void {
    this.halt();
    for (const { tasks } of [...this.#open.values()]) this.close(tasks.id);
  }

  /** Why tasks do not get into the queue, or are not begun, when that is so. */
  get trouble(): string | undefined {
    return this.#queueProblem ?? this.#unbegun;
  }

  /** Queues a step's tasks, in index order. */
  async open(open: OpenTasks): Promise<void> {
    this.#open.set(nameOf(open.tasks.id), open);
    if (!open.lookAhead) this.#presentSince = this.#now();
    await this.#queueOpen();
  }

  /** Forgets a step. Workers that hold tasks of it are told to stop. */
  close(id: StepId): void {
    const name = nameOf(id);
    const open = this.#open.get(name);
    if (open === undefined) return;
    this.#open.delete(name);
    const entries: string[] = [];
    for (let task = 0; task < open.tasks.count; task += 1) {
      for (const claim of open.tasks.claimsOf(task)) this.#cancel(claim.worker, { ...id, task }, claim.attempt);
    }
    for (const { task, attempt } of open.tasks.queuedSince(Number.POSITIVE_INFINITY)) {
      entries.push(entryId({ ...id, task }, attempt));
    }
    // Should it fail: the entries that are left get a `skip` when a worker claims them.
    this.#options.queue.remove(entries).catch((error: Error) => this.#noteQueue(error));
  }

  find(key: StepId): StepTasks | undefined {
    return this.#open.get(nameOf(key))?.tasks;
  }

  /** The answer to a worker's claim. */
  claim(key: TaskKey, attempt: number, worker: PoolWorker): boolean {
    if (!this.#options.takes(worker)) {
      // The entry is used up; the next pass queues the task again.
      this.find(key)?.lost(key.task, attempt);
      return false;
    }
    const decision = this.find(key)?.claim(key.task, attempt, worker.id, this.#now());
    if (decision === 'needed-elsewhere') this.#queueElsewhere();
    return decision === 'go';
  }

  /** A worker that may take nothing more took an entry: it is used up, and queued again for others. */
  turnedAway(key: TaskKey, attempt: number): void {
    if (this.find(key)?.lost(key.task, attempt) === true) this.#queueElsewhere();
  }

  /** Not at once: a worker that waits for work would take it again before another comes to it. */
  #queueElsewhere(): void {
    this.#elsewhereTimer ??= setTimeout(() => {
      this.#elsewhereTimer = undefined;
      this.#reopened();
    }, elsewhereAfterMs).unref();
  }

  /**
   * A worker hands a task back, or lost it.
   * @param attempt the one that this is about, where that is known: another of the same worker's goes on
   */
  release(key: TaskKey, worker: string, attempt?: number): void {
    if (this.find(key)?.release(key.task, worker, attempt) === true) this.#reopened();
  }

  /** By this attempt a worker has done its part of a task that another is to compute too. */
  elsewhere(key: TaskKey, worker: string, attempt: number): void {
    this.#cancelHolders(key, (claim) => claim.worker === worker && claim.attempt !== attempt);
    if (this.find(key)?.elsewhere(key.task, worker) === true) this.#reopened();
  }

  /** A contribution to this task was accepted: all other holders of it may stop, its worker with a later attempt too. */
  accepted(key: TaskKey, from: string, attempt: number): void {
    this.#cancelHolders(key, (claim) => claim.worker !== from || claim.attempt !== attempt);
  }

  #cancelHolders(key: TaskKey, which: (claim: TaskClaim) => boolean): void {
    for (const claim of this.find(key)?.claimsOf(key.task) ?? []) {
      if (which(claim)) this.#cancel(claim.worker, key, claim.attempt);
    }
  }

  workerGone(worker: string): void {
    let reopened = false;
    for (const { tasks } of this.#open.values()) reopened = tasks.releaseAll(worker).length > 0 || reopened;
    if (reopened) this.#reopened();
  }

  /** Names of the workers that hold tasks. */
  holders(): string[] {
    return [...new Set([...this.#open.values()].flatMap(({ tasks }) => tasks.holders()))];
  }

  /** One pass: opens what hung workers hold and what the queue lost, and queues all that is open. */
  async reconcile(): Promise<void> {
    if (this.#passing) return;
    this.#passing = true;
    const { trouble } = this;
    try {
      // Counted before anything is queued anew: what has waited that long waits for somebody to have room.
      const overdue = this.#sorted()[0]?.tasks.queuedSince(this.#now() - lostAfterMs).length ?? 0;
      const withdrawn = this.#expireLeases() + this.#withdrawUnbegun();
      this.#options.onPass?.();
      await this.#findLost();
      await this.#queueOpen();
      // Whoever is to take what waits may be holding a later step's task.
      this.#makeRoom(overdue + withdrawn);
      await this.#speculate();
    } catch (error) {
      this.#noteQueue(error as Error);
    } finally {
      this.#passing = false;
      if (this.trouble !== trouble) this.#options.onTrouble();
    }
  }

  #reopened(): void {
    void this.#queueOpen().then(() => {
      const [lowest] = this.#sorted();
      if (lowest !== undefined) this.#makeRoom(lowest.tasks.queuedSince(this.#now()).length);
    });
  }

  /** Lowest steps first; within a step by index. */
  async #queueOpen(): Promise<void> {
    const now = this.#now();
    const taken = this.#sorted().map((open) => ({ open, attempts: open.tasks.takeOpen(now) }));
    const entries: QueuedEntry[] = taken.flatMap(({ open, attempts }) =>
      attempts.map((attempt) => ({ entry: open.entryOf(attempt), priority: this.#priorityOf(open) })),
    );
    if (entries.length === 0) return;
    try {
      await this.#options.queue.put(entries);
      this.#setQueueProblem(undefined);
    } catch (error) {
      this.#noteQueue(error as Error);
      for (const { open, attempts } of taken) for (const { task, attempt } of attempts) open.tasks.lost(task, attempt);
    }
  }

  /** Entries that are neither waiting in the queue nor claimed are lost. */
  async #findLost(): Promise<void> {
    const before = this.#now() - lostAfterMs;
    const active = new Set<string>();
    for (const { tasks } of this.#sorted()) {
      for (const { task, attempt } of tasks.queuedSince(before)) {
        const id = entryId({ ...tasks.id, task }, attempt);
        const place = await this.#options.queue.placeOf(id);
        this.#setQueueProblem(undefined);
        if (place === 'active') active.add(id);
        const lost = place === 'nowhere' || (place === 'active' && this.#activeUnclaimed.has(id));
        if (lost && tasks.lost(task, attempt))
          this.#options.log.warn({ entry: id, place }, 'The queue lost a task; it is queued again.');
      }
    }
    this.#activeUnclaimed = active;
  }

  /** Opens what silent and stuck workers hold; says how many tasks. */
  #expireLeases(): number {
    const now = this.#now();
    let withdrawn = 0;
    for (const worker of this.#workers()) {
      const lease = Math.max(leaseAtLeastMs, leaseFactor * medianMs(worker));
      const silent = now - worker.heartbeatAt > leaseAtLeastMs;
      const stuck = worker.heartbeat.computing !== null && now - worker.progressAt > lease;
      if (!silent && !stuck) continue;
      const held = this.#withdraw(worker);
      withdrawn += held;
      if (worker.state === 'active') {
        worker.state = 'hung';
        this.#options.workers.changed(worker);
        const why = silent ? 'sent no heartbeat' : `made no progress on ${worker.heartbeat.computing}`;
        this.#options.log.warn(
          { worker: worker.name, tasks: held },
          `Worker ${worker.name} ${why}; its tasks go to others.`,
        );
      }
    }
    return withdrawn;
  }

  /** Opens what workers hold and could compute, but do not; says how many tasks. */
  #withdrawUnbegun(): number {
    const now = this.#now();
    this.#unbegun = undefined;
    const [present] = this.#sorted();
    if (present === undefined || present.lookAhead) return 0;
    const { tasks } = present;
    let withdrawn = 0;
    for (const worker of this.#workers()) {
      if (worker.heartbeat.computing !== null) continue;
      for (const task of tasks.heldBy(worker.id)) {
        const key = { ...tasks.id, task };
        const { attempt, since } = tasks.claimsOf(task).find((claim) => claim.worker === worker.id)!;
        const idleMs = now - Math.max(since, this.#presentSince, worker.computedAt);
        if (idleMs < unbegunToldAfterMs || this.#options.delivers(key, worker.id)) continue;
        const complaint =
          `Worker ${worker.name} has had ${taskName(key)} for ${Math.floor(idleMs / 10_000) * 10} s and has not begun it: ` +
          'its images or its parameters do not come. Its log may tell more.';
        this.#unbegun = complaint;
        if (idleMs < Math.max(unbegunAfterMs, leaseFactor * medianMs(worker))) continue;
        this.#options.log.warn({ worker: worker.name }, `${complaint} The task goes to others.`);
        this.#cancel(worker.id, key, attempt);
        tasks.elsewhere(task, worker.id);
        withdrawn += 1;
        this.#options.onUnbegun(key, worker, complaint);
      }
    }
    return withdrawn;
  }

  /** Opens all that a worker holds. It is told, for the case that it hears again: it must not sit on what it lost. */
  #withdraw(worker: PoolWorker): number {
    let count = 0;
    for (const { tasks } of this.#open.values()) {
      for (const task of tasks.heldBy(worker.id)) {
        const { attempt } = tasks.claimsOf(task).find((claim) => claim.worker === worker.id)!;
        this.#cancel(worker.id, { ...tasks.id, task }, attempt);
        tasks.release(task, worker.id);
        count += 1;
      }
    }
    return count;
  }

  /**
   * Workers that only wait for a later version, at most `wanted` of them, give one such task back, so that they can take
   * one of the lowest step.
   */
  #makeRoom(wanted: number, speculating = false): void {
    const [lowest, ...later] = this.#sorted();
    const waiting = this.#workers().filter(
      ({ id, state }) =>
        state === 'active' &&
        later.some(({ tasks }) => tasks.heldBy(id).length > 0) &&
        lowest?.tasks.heldBy(id).length === 0 &&
        (lowest.tasks.wants(id) || speculating),
    );
    for (const worker of waiting.slice(0, wanted)) {
      for (const { tasks } of later) {
        const task = tasks.heldBy(worker.id).at(-1);
        if (task === undefined) continue;
        const { attempt } = tasks.claimsOf(task).find((claim) => claim.worker === worker.id)!;
        worker.send?.({ $case: 'yieldTask', value: { key: toWireKey({ ...tasks.id, task }), attempt } });
        break;
      }
    }
  }

  /** Near a step's end idle workers get second copies of the tasks that take longest. */
  async #speculate(): Promise<void> {
    const [lowest] = this.#sorted();
    if (!this.#options.speculation || lowest === undefined) return;
    const { tasks } = lowest;
    if (tasks.queuedSince(Number.POSITIVE_INFINITY).length > 0) return;
    const workers = this.#workers();
    const idle = workers.filter((worker) => worker.state === 'active' && tasks.heldBy(worker.id).length === 0).length;
    const slowest = Math.max(...workers.map(medianMs));
    if (idle === 0 || !(slowest > 0)) return;
    const overdue = this.#now() - Math.max(speculateAtLeastMs, speculateFactor * slowest);
    const copies: QueuedEntry[] = [];
    for (let task = 0; task < tasks.count && copies.length < idle; task += 1) {
      const [claim] = tasks.claimsOf(task);
      const attempt = claim !== undefined && claim.since <= overdue ? tasks.speculate(task) : undefined;
      if (attempt !== undefined) copies.push({ entry: lowest.entryOf(attempt), priority: this.#priorityOf(lowest) });
    }
    try {
      await this.#options.queue.put(copies);
    } catch (error) {
      for (const { entry } of copies) tasks.lost(entry.key.task, entry.attempt);
      throw error;
    }
    this.#makeRoom(copies.length, true);
  }

  #cancel(worker: string, key: TaskKey, attempt: number): void {
    this.#options.workers.get(worker)?.send?.({ $case: 'cancelTask', value: { key: toWireKey(key), attempt } });
  }

  #workers(): PoolWorker[] {
    return this.#options.workers.connected(this.#options.classId);
  }

  #sorted(): OpenTasks[] {
    return [...this.#open.values()].toSorted((a, b) => a.tasks.id.step - b.tasks.id.step);
  }

  #priorityOf(open: OpenTasks): number {
    return 1 + 2 * (1000 - this.#options.priority) + (open.lookAhead ? 1 : 0);
  }

  #noteQueue(error: Error): void {
    const problem = `The task queue cannot be used: ${error.message}`;
    if (problem !== this.#queueProblem) this.#options.log.warn(problem);
    this.#setQueueProblem(problem);
  }

  /** Told at once: outside of passes nobody else does. */
  #setQueueProblem(problem: string | undefined): void {
    if (problem === this.#queueProblem) return;
    this.#queueProblem = problem;
    this.#options.onTrouble();
  }
}

function nameOf(id: StepId): string {
  return `${id.kind}-${id.lineage}-${id.step}-${id.round}`;
}

/** Median time that a worker's tasks took, milliseconds; 0 before the first. */
function medianMs(worker: PoolWorker): number {
  const times = worker.taskTimes.map(({ seconds }) => seconds).toSorted((a, b) => a - b);
  return 1000 * (times[Math.floor(times.length / 2)] ?? 0);
}
