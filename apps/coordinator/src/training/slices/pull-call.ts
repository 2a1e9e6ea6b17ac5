// One PullParameters call on one slice: waits for the version, then streams the slice's blocks of it.
// Refuses to know who pulls and why.
import { type ServerWritableStream, status } from '@grpc/grpc-js';
import {
  type PullParametersRequest,
  type PullParametersResponse,
  WireType,
} from '#proto/generated/lockstep/v1/reducer.js';
import { hostClockMs } from '#proto/host-clock.js';
import { writeAll } from '#proto/streams.js';
import { WireError } from '#proto/wire-error.js';
import type { PublishedVersion } from './messages.js';
import type { PullForm } from './pull-forms.js';
import { VersionGoneError } from './published-versions.js';
import type { JobOnSlice, Slice } from './slice.js';

type Call = ServerWritableStream<PullParametersRequest, PullParametersResponse>;

/** Longest time that a reader may take nothing, milliseconds. */
const stallMs = 60_000;

/** Serves a PullParameters call; the caller's deadline bounds the wait for the version. */
export async function servePull(slice: Slice, call: Call): Promise<void> {
  const { version: name, layoutHash, parameterType, sharedMemory } = call.request;
  const rounded = parameterType === WireType.BFLOAT16;
  const gone = new AbortController();
  call.on('cancelled', () => gone.abort());
  const job = name === undefined ? undefined : slice.job(name.jobId);
  if (name === undefined || job === undefined) {
    return fail(call, status.NOT_FOUND, `Job ${name?.jobId ?? '(none)'} does not run here.`);
  }
  if (layoutHash !== job.slice.job.layoutHash) {
    return fail(
      call,
      status.FAILED_PRECONDITION,
      `The worker's layout of the parameters is not that of job ${name.jobId}.`,
    );
  }
  if (rounded && !job.slice.forms.rounds) {
    return fail(call, status.FAILED_PRECONDITION, `Job ${name.jobId} is one of float32: nothing of it is rounded.`);
  }
  try {
    const version = await job.versions.when(name.lineage, name.version, gone.signal);
    const signal = AbortSignal.any([gone.signal, job.versions.readerSignal(version.buffer)]);
    const site = { call: 'Reducer.PullParameters', peer: call.getPeer() };
    const start = hostClockMs();
    await writeAll(call, messagesFor(job, version, { rounded, sharedMemory }), site, { stallMs, signal });
    slice.note('pull', 'pull', { jobId: version.jobId, step: version.version }, start);
    call.end();
  } catch (error) {
    if (error instanceof VersionGoneError) fail(call, status.NOT_FOUND, error.message);
    else if (error instanceof WireError) fail(call, status.ABORTED, error.message);
    else throw error;
  }
}

function* messagesFor(
  { slice }: JobOnSlice,
  version: PublishedVersion,
  form: PullForm,
): Generator<PullParametersResponse> {
  const { jobId, lineage, version: number, checksum, buffer } = version;
  const name = { jobId, lineage, version: number, checksum };
  const { segment, blocks } = slice.forms.blocks(buffer, slice.buffer(buffer), form);
  yield { message: { $case: 'header', value: { version: name, blocks: slice.forms.count(form), segment } } };
  for (const value of blocks) yield { message: { $case: 'block', value } };
  yield { message: { $case: 'end', value: {} } };
}

function fail(call: Call, code: status, details: string): void {
  call.emit('error', { code, details });
}
