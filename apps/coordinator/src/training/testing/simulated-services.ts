// The services around a trainer, in one thread and under full control of a test: slices whose messages travel only when
// told to, a queue that can lose what it holds, checkpoints in memory. The slices' own work is the real code.
import type { CheckpointOnDisk } from '../../checkpoints/checkpoint-messages.js';
import { entryId, type TaskEntry } from '#proto/task-entry.js';
import type {
  PushReport,
  SliceAnswer,
  SliceAnswers,
  SliceCommand,
  SliceReport,
  SliceRequest,
  Slices,
} from '../slices/messages.js';
import { Slice } from '../slices/slice.js';
import { together } from '../slices/slice-pool.js';
import type { EntryPlace, QueuedEntry } from '../task-queue.js';
import type { TrainingServices } from '../training-job.js';

interface PendingRequest {
  readonly answers: SliceAnswer[];
  resolve(answers: SliceAnswers): void;
  reject(error: Error): void;
}

/** Real slices behind mailboxes: `deliver` moves one message. */
export class SimulatedSlices implements Slices {
  readonly slices: readonly Slice[];
  readonly #commands: SliceCommand[][];
  readonly #reports: SliceReport[][];
  readonly #pending = new Map<number, PendingRequest>();
  #requests = 0;
  onPush: (slice: number, report: PushReport) => void = () => undefined;

  constructor(readonly count: number) {
    this.#commands = Array.from({ length: count }, () => []);
    this.#reports = Array.from({ length: count }, () => []);
    this.slices = Array.from({ length: count }, (_, slice) => {
      const options = {
        slice,
        slices: count,
        host: '',
        port: 0,
        workerToken: undefined,
        sharedFolder: undefined,
        tls: undefined,
      };
      return new Slice(options, (report) => this.#reports[slice]!.push(report));
    });
  }

  send(slice: number, command: SliceCommand): void {
    this.#commands[slice]!.push(command);
  }

  broadcast(command: SliceCommand): void {
    for (let slice = 0; slice < this.count; slice += 1) this.send(slice, command);
  }

  request(command: SliceRequest): Promise<SliceAnswers> {
    this.#requests += 1;
    const request = this.#requests;
    return new Promise((resolve, reject) => {
      this.#pending.set(request, { answers: [], resolve, reject });
      this.broadcast({ ...command, request });
    });
  }

  /** Mailboxes that hold something, as functions that deliver the next message of each. */
  deliveries(): (() => void)[] {
    const all: (() => void)[] = [];
    for (let slice = 0; slice < this.count; slice += 1) {
      if (this.#commands[slice]!.length > 0) all.push(() => this.#carryOut(slice));
      if (this.#reports[slice]!.length > 0) all.push(() => this.#take(slice));
    }
    return all;
  }

  #carryOut(slice: number): void {
    const command = this.#commands[slice]!.shift()!;
    if (command.type !== 'stop') this.slices[slice]!.handle(command);
  }

  #take(slice: number): void {
    const report = this.#reports[slice]!.shift()!;
    if (report.type === 'answer') {
      const pending = this.#pending.get(report.request)!;
      pending.answers[slice] = report;
      if (Object.keys(pending.answers).length === this.count) pending.resolve(together(pending.answers));
    } else if (report.type === 'failed') {
      this.#pending.get(report.request)!.reject(new Error(report.problem));
    } else if (report.type !== 'listening' && report.type !== 'cannot-listen' && report.type !== 'spans') {
      this.onPush(slice, report);
    }
  }
}

/** What BullMQ does for Lockstep, and how it can fail. */
export class SimulatedQueue {
  readonly #waiting: (QueuedEntry & { readonly id: string; readonly order: number })[] = [];
  readonly #active = new Set<string>();
  #order = 0;
  /** While true every command fails, as with a Redis that is away. */
  away = false;

  async put(entries: readonly QueuedEntry[]): Promise<void> {
    if (this.away) throw new Error('Connection is closed.');
    for (const queued of entries) {
      this.#order += 1;
      this.#waiting.push({ ...queued, id: entryId(queued.entry.key, queued.entry.attempt), order: this.#order });
    }
  }

  async placeOf(id: string): Promise<EntryPlace> {
    if (this.away) throw new Error('Connection is closed.');
    if (this.#active.has(id)) return 'active';
    return this.#waiting.some((queued) => queued.id === id) ? 'waiting' : 'nowhere';
  }

  async remove(ids: readonly string[]): Promise<void> {
    if (this.away) throw new Error('Connection is closed.');
    for (const id of ids) {
      const index = this.#waiting.findIndex((queued) => queued.id === id);
      if (index >= 0) this.#waiting.splice(index, 1);
    }
  }

  get length(): number {
    return this.away ? 0 : this.#waiting.length;
  }

  /** The first entry by priority and age; it is active until `done`. */
  take(): { id: string; entry: TaskEntry } | undefined {
    const [first] = this.#waiting.toSorted((a, b) => a.priority - b.priority || a.order - b.order);
    if (this.away || first === undefined) return undefined;
    this.#waiting.splice(this.#waiting.indexOf(first), 1);
    this.#active.add(first.id);
    return first;
  }

  done(id: string): void {
    this.#active.delete(id);
  }

  /** Everything that was in it is gone. */
  flush(): void {
    this.#waiting.length = 0;
    this.#active.clear();
  }
}

/** Checkpoints as copies in memory; they survive a coordinator's death. */
export class SimulatedCheckpoints implements Pick<TrainingServices['checkpoints'], 'write' | 'restore'> {
  readonly written: { step: number; parameters: Float32Array; momentum: Float32Array; statistics: Float32Array }[] = [];

  constructor(initial: { parameters: Float32Array; statistics: Float32Array }) {
    this.written.push({ step: 0, ...initial, momentum: new Float32Array(initial.parameters.length) });
  }

  get newest() {
    return this.written.at(-1)!;
  }

  write: TrainingServices['checkpoints']['write'] = async ({ state, facts }) => {
    const { parameters, momentum, statistics } = state;
    const copies = { parameters: parameters.slice(), momentum: momentum.slice(), statistics: statistics.slice() };
    this.written.push({ step: facts.step, ...copies });
    return this.#onDisk(facts.step);
  };

  restore: TrainingServices['checkpoints']['restore'] = async ({ into }) => {
    const { step, parameters, momentum, statistics } = this.newest;
    into.parameters.set(parameters);
    into.momentum.set(momentum);
    into.statistics.set(statistics);
    return { checkpoint: this.#onDisk(step), problems: [] };
  };

  #onDisk(step: number): CheckpointOnDisk {
    const manifest = { step, parametersSha256: '', stateSha256: '', metrics: {}, scheduleState: { kind: 'stateless' } };
    return { path: '', manifest: manifest as unknown as CheckpointOnDisk['manifest'] };
  }
}
