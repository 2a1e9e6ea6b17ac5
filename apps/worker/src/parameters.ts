// Versions of parameters on this worker: pulled once from all slices, checked block by block, kept in shared memory while they are
// of use, and lent as soon as they begin to arrive. Refuses to know who computes with them.
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { BlockCollector } from '#proto/block-collector.js';
import {
  type BlockRange,
  blocksOfSlice,
  copyBlock,
  type PullRegion,
  pullTable,
  versionChecksum,
} from '#proto/blocks.js';
import { pullStream } from '#proto/calls.js';
import { type VersionName, WireType } from '#proto/generated/lockstep/v1/reducer.js';
import { WireError } from '#proto/wire-error.js';
import { Arrivals } from './arrivals.js';
import type { SliceCaller, Slices } from './pool-caller.js';
import { delay, messageOf, TaskFailure, unlessAborted } from './withdrawal.js';

/** A version to pull: its number and the sizes that it must have. */
export interface VersionRequest {
  readonly jobId: string;
  readonly lineage: number;
  readonly version: number;
  readonly layoutHash: string;
  readonly parameterCount: number;
  readonly statisticCount: number;
  /** Elements that come in float32 beside bits of bfloat16; undefined where all is pulled in float32. */
  readonly exactCount: number | undefined;
}

/** A version that may be read until `release`, which is idempotent. */
export interface ParameterLease {
  readonly name: VersionName;
  /** Unique to this filling of the memory. */
  readonly key: string;
  /** In float32, or bits of bfloat16. */
  readonly parameters: Float32Array | Uint16Array;
  /** What is float32 beside bits of bfloat16, else nothing. */
  readonly exact: Float32Array;
  readonly statistics: Float32Array;
  /** How much is there (arrivals.ts). */
  readonly arrived: Int32Array;
  /** Resolves to the seconds from its first to its last bytes once all is there and right; rejects with `TaskFailure`. */
  readonly whole: Promise<number>;
  release(): void;
}

/** One call of the long poll: the server waits this long for the version to exist; then it is asked again. */
const pullDeadlineMs = 120_000;
/** How often a pull that failed on the way is tried again. */
const pullAttempts = 4;
const firstPauseMs = 100;
/** Versions kept: the one that computes and the one being prepared. */
const keptVersions = 2;

interface Memory {
  readonly parameters: Float32Array | Uint16Array;
  readonly exact: Float32Array;
  readonly statistics: Float32Array;
}

/** One filling of a memory. */
interface Filling {
  readonly memory: Memory;
  readonly arrivals: Arrivals;
  /** The header of the first slice has come: the version exists. */
  readonly onName: (name: VersionName) => void;
}

interface Entry {
  readonly id: string;
  readonly jobId: string;
  readonly key: string;
  readonly memory: Memory;
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
      const { key, memory, arrived, whole } = entry;
      return { name, key, ...memory, arrived, whole, release };
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
    const memory = this.#memoryFor(request);
    const arrivals = new Arrivals(tableOf(request));
    let onName!: (name: VersionName) => void;
    const named = new Promise<VersionName>((resolve) => (onName = resolve));
    const whole = pullVersion(this.#slices, request, { memory, arrivals, onName }, abort.signal, this.#log);
    const entry: Entry = {
      id,
      jobId: request.jobId,
      key: `${id}#${(this.#fillings += 1)}`,
      memory,
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

  /** The memory of the version used longest ago, where it has the right size and nobody can write or read it any more. */
  #memoryFor({ parameterCount, statisticCount, exactCount }: VersionRequest): Memory {
    const spare = [...this.#entries.values()].filter((entry) => entry.users === 0);
    let reusable: Memory | undefined;
    for (const entry of spare) {
      if (this.#entries.size < keptVersions) break;
      this.#forget(entry);
      if (entry.pulled) reusable = entry.memory;
    }
    const fits =
      reusable?.parameters.length === parameterCount &&
      reusable.parameters instanceof (exactCount === undefined ? Float32Array : Uint16Array) &&
      reusable.exact.length === (exactCount ?? 0) &&
      reusable.statistics.length === statisticCount;
    if (reusable !== undefined && fits) return reusable;
    const shared = (count: number) => new Float32Array(new SharedArrayBuffer(count * Float32Array.BYTES_PER_ELEMENT));
    return {
      parameters:
        exactCount === undefined
          ? shared(parameterCount)
          : new Uint16Array(new SharedArrayBuffer(parameterCount * Uint16Array.BYTES_PER_ELEMENT)),
      exact: shared(exactCount ?? 0),
      statistics: shared(statisticCount),
    };
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

async function pullVersion(
  slices: Slices,
  request: VersionRequest,
  filling: Filling,
  signal: AbortSignal,
  log: Pick<Logger, 'warn'>,
): Promise<number> {
  for (let failures = 0; ;) {
    try {
      return await pullOnce(slices, request, filling, signal);
    } catch (error) {
      signal.throwIfAborted();
      // The version does not exist yet; the coordinator cancels the task if it never will.
      if (error instanceof WireError && error.fault === 'deadline') continue;
      failures += 1;
      // What is made good by the next attempt is still a fault of somebody's: it is named.
      const about = { job: request.jobId, version: request.version, attempt: failures, cause: messageOf(error) };
      log.warn(about, 'The parameters did not arrive whole.');
      if (failures >= pullAttempts || !isPassing(error)) {
        const what = `version ${request.version} of job ${request.jobId}`;
        throw new TaskFailure('no-parameters', `The parameters of ${what} cannot be had: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
    await delay(firstPauseMs * 2 ** failures, signal);
  }
}

/** Bytes that arrived broken and lost connections may go better next time; an answer will stay the same. */
function isPassing(error: unknown): boolean {
  if (error instanceof BrokenVersion) return error.passing;
  if (!(error instanceof WireError)) return false;
  return error.fault !== 'unauthenticated' && (error.fault !== 'failed' || error.grpcStatus === status.INTERNAL);
}

class BrokenVersion extends Error {
  override readonly name = 'BrokenVersion';
  constructor(
    message: string,
    readonly passing = true,
  ) {
    super(message);
  }
}

function tableOf({ parameterCount, statisticCount, exactCount }: VersionRequest): readonly BlockRange<PullRegion>[] {
  return pullTable(parameterCount, statisticCount, exactCount ?? 0);
}

/** Resolves to the seconds between the first and the last bytes. */
async function pullOnce(
  slices: Slices,
  request: VersionRequest,
  filling: Filling,
  outer: AbortSignal,
): Promise<number> {
  const table = tableOf(request);
  const checksums = new Array<number>(table.length);
  // The first slice that fails ends the others.
  const inner = new AbortController();
  const signal = AbortSignal.any([outer, inner.signal]);
  let startedMs: number | undefined;
  const onName = (name: VersionName): void => {
    startedMs ??= performance.now();
    filling.onName(name);
  };
  const pulls = slices.callers.map(async (caller) => {
    const collector = new BlockCollector(blocksOfSlice(table, caller.slice, slices.count), bytesPerParameter(request));
    const name = await pullSlice(caller, request, { ...filling, onName }, collector, signal);
    for (const [index, checksum] of collector.checksums) checksums[index] = checksum;
    return name;
  });
  let names: VersionName[];
  try {
    names = await Promise.all(pulls);
  } catch (error) {
    inner.abort(error);
    // Nobody may still write to the memory when it is used again.
    await Promise.allSettled(pulls);
    // Before the header a deadline says that the version does not exist yet; behind it, that the way is too slow.
    const tooSlow = startedMs !== undefined && error instanceof WireError && error.fault === 'deadline';
    if (tooSlow) throw new BrokenVersion(`they did not arrive whole in time: ${error.message}`);
    throw error;
  }
  const [name] = names;
  if (name === undefined || startedMs === undefined) throw new Error('The coordinator named no reducer slice.');
  // Of rounded blocks only the slices know what they were made of; each block's own checksum was right.
  const checksum = request.exactCount === undefined ? versionChecksum(checksums) : name.checksum;
  if (names.some((other) => other.checksum !== checksum)) {
    // It may have been computed with: what it is made of must not be put right behind the compute thread's back.
    throw new BrokenVersion(
      `the checksum over all blocks is ${checksum}, not ${names.map((other) => other.checksum).join(', ')}`,
      false,
    );
  }
  return (performance.now() - startedMs) / 1000;
}

function bytesPerParameter({ exactCount }: VersionRequest): 2 | 4 {
  return exactCount === undefined ? 4 : 2;
}

async function pullSlice(
  caller: SliceCaller,
  request: VersionRequest,
  { memory, arrivals, onName }: Filling,
  collector: BlockCollector<PullRegion>,
  signal: AbortSignal,
): Promise<VersionName> {
  const { jobId, lineage, version, layoutHash } = request;
  const site = { call: 'Reducer.PullParameters', peer: caller.address };
  const parameterType = request.exactCount === undefined ? WireType.FLOAT32 : WireType.BFLOAT16;
  const question = { version: { jobId, lineage, version, checksum: 0 }, layoutHash, parameterType };
  let name: VersionName | undefined;
  const messages = pullStream(site, { deadlineMs: pullDeadlineMs, signal }, (options) =>
    caller.client.pullParameters(question, caller.metadata, options),
  );
  for await (const { message } of messages) {
    if (message?.$case === 'header') {
      name = message.value.version;
      if (name?.jobId !== jobId || name.lineage !== lineage || name.version !== version) break;
      onName(name);
    }
    if (message?.$case !== 'block') continue;
    const verdict = collector.accept(message.value);
    if (!verdict.ok) throw new BrokenVersion(`${verdict.detail} (slice ${caller.slice} at ${caller.address})`);
    copyBlock(message.value.data, memory[verdict.range.region], verdict.range);
    arrivals.note(verdict.range);
  }
  if (name === undefined || name.jobId !== jobId || name.lineage !== lineage || name.version !== version) {
    throw new BrokenVersion(`slice ${caller.slice} at ${caller.address} did not name the version that was asked for`);
  }
  if (collector.missing > 0) {
    throw new BrokenVersion(`${collector.missing} blocks are missing from slice ${caller.slice} at ${caller.address}`);
  }
  return name;
}
