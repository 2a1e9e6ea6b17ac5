// One version of parameters pulled from all slices: checked block by block, written where it belongs, tried again where the way failed.
// Refuses to know how long a version is kept and who computes with it.
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { BlockCollector } from '#proto/block-collector.js';
import {
  type BlockRange,
  blocksOfSlice,
  bytesOf,
  copyBlock,
  type PullRegion,
  pullTable,
  versionChecksum,
} from '#proto/blocks.js';
import { pullStream } from '#proto/calls.js';
import { type VersionName, WireType } from '#proto/generated/lockstep/v1/reducer.js';
import type { Segment } from '#proto/segment.js';
import { WireError } from '#proto/wire-error.js';
import type { Arrivals } from './arrivals.js';
import type { SliceCaller, Slices } from './pool-caller.js';
import type { SharedMemory } from './shared-memory.js';
import type { VersionMemory, VersionSizes } from './version-memory.js';
import { delay, messageOf, TaskFailure } from './withdrawal.js';

/** A version to pull: its number and the sizes that it must have. */
export interface VersionRequest extends VersionSizes {
  readonly jobId: string;
  readonly lineage: number;
  readonly version: number;
  readonly layoutHash: string;
}

/** One call of the long poll: the server waits this long for the version to exist; then it is asked again. */
const pullDeadlineMs = 120_000;
/** How often a pull that failed on the way is tried again. */
const pullAttempts = 4;
const firstPauseMs = 100;

/** One filling of a memory. */
export interface Filling {
  /** Asked for once the version exists, the same each time. */
  readonly memory: () => VersionMemory;
  readonly arrivals: Arrivals;
  /** The header of the first slice has come: the version exists. */
  readonly onName: (name: VersionName) => void;
}

/**
 * Fills the memory with a version; tries again what failed on the way. Resolves to the seconds from its first to its last bytes;
 * rejects with `TaskFailure` where it cannot be had, with the signal's reason when it aborts.
 */
export async function pullVersion(
  slices: Slices,
  request: VersionRequest,
  filling: Filling,
  signal: AbortSignal,
  log: Pick<Logger, 'warn'>,
): Promise<number> {
  for (let failures = 0; ;) {
    try {
      // What went wrong in shared memory may do so again; the network is another way.
      return await pullOnce(slices, request, { ...filling, shared: failures === 0 }, signal);
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

/** The blocks of a version in the form that is asked for. */
export function tableOf({
  parameterCount,
  statisticCount,
  exactCount,
}: VersionRequest): readonly BlockRange<PullRegion>[] {
  return pullTable(parameterCount, statisticCount, exactCount ?? 0);
}

/** Resolves to the seconds between the first and the last bytes. */
async function pullOnce(
  slices: Slices,
  request: VersionRequest,
  filling: Filling & { readonly shared: boolean },
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
    const { sharedMemory } = slices;
    const shares = filling.shared && sharedMemory?.trusted === true;
    const source = { caller, sharedMemory: shares ? sharedMemory : undefined, collector };
    const name = await pullSlice(source, request, { ...filling, onName }, signal);
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

interface PullSource {
  readonly caller: SliceCaller;
  readonly sharedMemory: SharedMemory | undefined;
  /** Expects this slice's blocks. */
  readonly collector: BlockCollector<PullRegion>;
}

async function pullSlice(
  { caller, sharedMemory, collector }: PullSource,
  request: VersionRequest,
  { memory, arrivals, onName }: Filling,
  signal: AbortSignal,
): Promise<VersionName> {
  const { jobId, lineage, version, layoutHash } = request;
  const site = { call: 'Reducer.PullParameters', peer: caller.address };
  const parameterType = request.exactCount === undefined ? WireType.FLOAT32 : WireType.BFLOAT16;
  const asked = { version: { jobId, lineage, version, checksum: 0 }, layoutHash, parameterType };
  const question = { ...asked, sharedMemory: sharedMemory !== undefined };
  let name: VersionName | undefined;
  let segment: Segment | undefined;
  const messages = pullStream(site, { deadlineMs: pullDeadlineMs, signal }, (options) =>
    caller.client.pullParameters(question, caller.metadata, options),
  );
  try {
    for await (const { message } of messages) {
      if (message?.$case === 'header') {
        name = message.value.version;
        if (name?.jobId !== jobId || name.lineage !== lineage || name.version !== version) break;
        if (message.value.segment !== '') segment = inSegment(() => sharedMemory?.version(message.value.segment));
        onName(name);
      }
      if (message?.$case !== 'block') continue;
      const block = message.value;
      const shared = segment && collector.inSegment(block);
      const data = shared === undefined ? block.data : placeOf(shared.range, memory(), arrivals);
      if (shared !== undefined) inSegment(() => segment?.read(data, shared.place));
      const verdict = collector.accept({ ...block, data });
      if (!verdict.ok) throw new BrokenVersion(`${verdict.detail} (slice ${caller.slice} at ${caller.address})`);
      const { range } = verdict;
      if (shared === undefined && !arrivals.has(range)) copyBlock(data, memory()[range.region], range);
      arrivals.note(range);
    }
  } finally {
    segment?.close();
  }
  if (name === undefined || name.jobId !== jobId || name.lineage !== lineage || name.version !== version) {
    throw new BrokenVersion(`slice ${caller.slice} at ${caller.address} did not name the version that was asked for`);
  }
  if (collector.missing > 0) {
    throw new BrokenVersion(`${collector.missing} blocks are missing from slice ${caller.slice} at ${caller.address}`);
  }
  return name;
}

/** Where a block is read to before it is checked: not where one may be computed with already. */
function placeOf(range: BlockRange<PullRegion>, { parameters }: VersionMemory, arrivals: Arrivals): Uint8Array {
  const place = bytesOf(parameters, range);
  return arrivals.has(range) ? new Uint8Array(place.byteLength) : place;
}

/** @throws BrokenVersion where the segment is gone or too short */
function inSegment<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new BrokenVersion(`the segment that they lie in cannot be read: ${messageOf(error)}`);
  }
}
