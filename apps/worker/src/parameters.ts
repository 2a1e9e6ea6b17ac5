// Versions of parameters on this worker: pulled once from all slices, checked block by block, kept in shared memory while they are
// of use, and lent as soon as they begin to arrive. Refuses to know who computes with them.
import type { Logger } from 'pino';
import { pageAligned } from '#model/simd/page-aligned.js';
import type { VersionName } from '#proto/generated/lockstep/v1/reducer.js';
import { Arrivals } from './arrivals.js';
import type { Slices } from './pool-caller.js';
import { pullVersion, tableOf, type VersionRequest } from './pull.js';
import { versionBytes, versionIn, type VersionMemory } from './version-memory.js';
import { unlessAborted } from './withdrawal.js';

/** A version that may be read until `release`, which is idempotent. */
export interface ParameterLease extends VersionMemory {
  readonly name: VersionName;
  /** Unique to this filling of the memory. */
  readonly key: string;
  /** How much is there (arrivals.ts). */
  readonly arrived: Int32Array;
  /** Resolves to the seconds from its first to its last bytes once all is there and right; rejects with `TaskFailure`. */
  readonly whole: Promise<number>;
  release(): void;
}

/** Versions of several jobs that are kept. Of one job a new version takes an old one's place, unless somebody computes with that still. */
const keptVersions = 2;

interface Entry {
  readonly id: string;
  readonly jobId: string;
  readonly key: string;
  /** Chosen when the version begins to arrive: the one before is of no use any more by then. */
  memory: VersionMemory | undefined;
  readonly abort: AbortController;
  readonly arrived: Int32Array;
  readonly name: Promise<VersionName>;
  readonly whole: Promise<number>;
  pulled: boolean;
  users: number;
}

export class ParameterCache {
  readonly #slices: Slices;
  readonly #log: Pick<Logger, 'warn'>;
  /** In order of last use. */
  readonly #entries = new Map<string, Entry>();
  #fillings = 0;

  constructor(slices: Slices, log: Pick<Logger, 'warn'>) {
    this.#slices = slices;
    this.#log = log;
  }

  /**
   * The version, pulled if it is not here; waits until it exists and begins to arrive. Tasks of one version share a pull.
   * Rejects with `TaskFailure` ('no-parameters') where it cannot be had, with the signal's reason when it aborts first.
   */
  async acquire(request: VersionRequest, signal: AbortSignal): Promise<ParameterLease> {
    signal.throwIfAborted();
    const id = `${request.jobId}/${request.lineage}/${request.version}`;
    const entry = this.#entries.get(id) ?? this.#begin(id, request);
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    entry.users += 1;
    let leased = true;
    const release = (): void => {
      if (leased) this.#leave(entry);
      leased = false;
    };
    try {
      const name = await unlessAborted(entry.name, signal);
      const { key, arrived, whole } = entry;
      return { name, key, ...this.#memoryOf(entry, request), arrived, whole, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Forgets a job's versions; one in use goes when it is released. */
  endJob(jobId: string): void {
    for (const entry of this.#entries.values()) if (entry.jobId === jobId) this.#forget(entry);
  }

  /** Ends all pulls and forgets everything. */
  close(): void {
    for (const entry of this.#entries.values()) this.#forget(entry);
  }

  #begin(id: string, request: VersionRequest): Entry {
    const abort = new AbortController();
    const arrivals = new Arrivals(tableOf(request));
    let onName!: (name: VersionName) => void;
    const named = new Promise<VersionName>((resolve) => (onName = resolve));
    const memory = (): VersionMemory => this.#memoryOf(entry, request);
    const whole = pullVersion(this.#slices, request, { memory, arrivals, onName }, abort.signal, this.#log);
    const entry: Entry = {
      id,
      jobId: request.jobId,
      key: `${id}#${(this.#fillings += 1)}`,
      memory: undefined,
      abort,
      arrived: arrivals.word,
      name: Promise.race([named, whole.then(() => named)]),
      whole,
      pulled: false,
      users: 0,
    };
    entry.name.catch(() => undefined);
    whole.then(
      () => (entry.pulled = true),
      // Whoever waits hears of it; the next task starts a new pull.
      () => {
        arrivals.giveUp();
        this.#forget(entry);
      },
    );
    return entry;
  }

  #memoryOf(entry: Entry, request: VersionRequest): VersionMemory {
    return (entry.memory ??= this.#memoryFor(request));
  }

  /** The memory of a version that nobody can write or read any more, where it has the right size: that job's own, or one too many. */
  #memoryFor({ jobId, ...sizes }: VersionRequest): VersionMemory {
    const { parameterCount, statisticCount, exactCount } = sizes;
    let reusable: VersionMemory | undefined;
    const filled = () => [...this.#entries.values()].filter(({ memory }) => memory !== undefined);
    for (const entry of filled()) {
      if (entry.users > 0 || (entry.jobId !== jobId && filled().length < keptVersions)) continue;
      this.#forget(entry);
      if (entry.pulled) reusable = entry.memory;
    }
    const fits =
      reusable?.parameters.length === parameterCount &&
      reusable.parameters instanceof (exactCount === undefined ? Float32Array : Uint16Array) &&
      reusable.exact.length === (exactCount ?? 0) &&
      reusable.statistics.length === statisticCount;
    if (reusable !== undefined && fits) return reusable;
    return versionIn(pageAligned(versionBytes(sizes)), sizes);
  }

  #leave(entry: Entry): void {
    entry.users -= 1;
    if (entry.users === 0 && !entry.pulled) this.#forget(entry);
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.id) === entry) this.#entries.delete(entry.id);
    if (!entry.pulled) entry.abort.abort(new Error('nobody waits for these parameters any more'));
  }
}
