// One PushGradient call on one slice, from header to answer. Checks what a slice can check by itself and reports the
// rest to the main thread, which alone decides what counts. Refuses to know other slices and other contributions.
import type { sendUnaryData, ServerReadableStream } from '@grpc/grpc-js';
import { BlockCollector, type BlockFault } from '#proto/block-collector.js';
import { hostClockMs } from '#proto/host-clock.js';
import { isIntact } from '#proto/contribution-seal.js';
import {
  type Block,
  type PushEnd,
  type PushGradientRequest,
  type PushGradientResponse,
  type PushHeader,
  WireType,
} from '#proto/generated/lockstep/v1/reducer.js';
import { Segment } from '#proto/segment.js';
import { messagesOf } from '#proto/streams.js';
import { fromWireKey, type TaskKey, taskName } from '#proto/task-entry.js';
import { WireError } from '#proto/wire-error.js';
import { type OutcomeName, toWireOutcome } from '../outcome.js';
import type { JobOnSlice, Slice } from './slice.js';
import type { Staged } from './sum-tree.js';

type Call = ServerReadableStream<PushGradientRequest, PushGradientResponse>;
type Answer = sendUnaryData<PushGradientResponse>;

/**
 * Longest silence within a push, milliseconds. Generous: the first block comes when forward is done. A worker that is
 * gone or hung is noticed by its session long before.
 */
const stallMs = 600_000;

const outcomeOfFault: Readonly<Record<BlockFault, OutcomeName>> = {
  unknown: 'incomplete',
  double: 'incomplete',
  size: 'layout_mismatch',
  checksum: 'checksum_mismatch',
};

/** Why a contribution cannot count. */
class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(
    readonly outcome: OutcomeName,
    detail: string,
  ) {
    super(detail);
  }
}

/** Serves a PushGradient call; the answer goes out by `answer`, once. */
export async function servePush(slice: Slice, call: Call, answer: Answer): Promise<void> {
  const site = { call: 'Reducer.PushGradient', peer: call.getPeer() };
  const messages = messagesOf<PushGradientRequest>(call, site, { stallMs });
  let push: Push | undefined;
  try {
    const first = await messages.next();
    const header = first.done === true ? undefined : first.value.message;
    if (header?.$case !== 'header') throw new Refusal('incomplete', 'The first message of a push must be its header.');
    push = new Push(slice, checkHeader(slice, header.value), header.value, answer);
    if (!(await push.admitted)) return;
    for await (const { message } of messages) {
      if (push.settled) return;
      if (message?.$case === 'block') push.block(message.value);
      else if (message?.$case === 'end') return push.end(message.value);
      else throw new Refusal('incomplete', 'A push consists of a header, blocks and an end.');
    }
    throw new Refusal('incomplete', 'The push ended before its end message.');
  } catch (error) {
    const refusal = refusalOf(error);
    if (push === undefined) respond(answer, refusal.outcome, refusal.message);
    else push.fail(refusal.outcome, refusal.message);
  }
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  // A stream that broke is an ordinary fault; anything else is a bug, and must not pass for one.
  if (error instanceof WireError) return new Refusal('incomplete', error.message);
  throw error;
}

/** What a header stands for. */
interface Wanted {
  readonly job: JobOnSlice;
  readonly key: TaskKey;
  /** Undefined where all comes over the network. */
  readonly segment: Segment | undefined;
}

function checkHeader(slice: Slice, header: PushHeader): Wanted {
  const key = fromWireKey(header.key);
  if (key === undefined) throw new Refusal('incomplete', 'The header names no task.');
  const refuse = (outcome: OutcomeName, detail: string): Refusal => {
    const { workerId: worker, attempt } = header;
    slice.report({ type: 'push-refused', jobId: key.jobId, worker, key, attempt, outcome });
    return new Refusal(outcome, detail);
  };
  const job = slice.job(key.jobId);
  if (job === undefined) throw refuse('unknown_job', `Job ${key.jobId} does not run here.`);
  if (header.layoutHash !== job.slice.job.layoutHash) {
    throw refuse('layout_mismatch', `The worker's layout of the parameters is not that of job ${key.jobId}.`);
  }
  const wire = job.slice.job.wire === 'bfloat16' ? WireType.BFLOAT16 : WireType.FLOAT32;
  if (header.wireType !== wire || header.blocks !== job.slice.blocks.length) {
    throw refuse(
      'layout_mismatch',
      `Job ${key.jobId} takes ${job.slice.blocks.length} blocks of ${job.slice.job.wire} here.`,
    );
  }
  const { step } = job;
  const { version } = header;
  const current =
    step !== undefined &&
    key.kind === 'train' &&
    key.lineage === step.lineage &&
    key.step === step.step &&
    key.round === step.round &&
    key.task < step.tasks &&
    version?.lineage === step.version.lineage &&
    version.version === step.version.version &&
    version.checksum === step.version.checksum;
  if (!current) throw refuse('stale', `The open step of job ${key.jobId} does not take ${taskName(key)}.`);
  try {
    return { job, key, segment: openSegment(slice, header) };
  } catch (error) {
    throw refuse('incomplete', `The segment of ${taskName(key)} cannot be had: ${(error as Error).message}`);
  }
}

function openSegment({ options: { sharedFolder } }: Slice, { segment }: PushHeader): Segment | undefined {
  if (segment === '') return undefined;
  if (sharedFolder === undefined) throw new Error('This coordinator shares no memory.');
  return Segment.open(sharedFolder, segment);
}

/** What the slice knows of a push between its header and its answer. */
export class Push {
  readonly #slice: Slice;
  readonly #job: JobOnSlice;
  readonly #key: TaskKey;
  readonly #header: PushHeader;
  readonly #answer: Answer;
  readonly #id: number;
  readonly #collector: BlockCollector;
  readonly #segment: Segment | undefined;
  #staged: Staged | undefined;
  /** When the first block came. */
  #startMs: number | undefined;
  #admit!: (admitted: boolean) => void;
  #settled = false;
  /** Resolves to false when it was refused instead. */
  readonly admitted: Promise<boolean>;

  constructor(slice: Slice, { job, key, segment }: Wanted, header: PushHeader, answer: Answer) {
    this.#slice = slice;
    this.#job = job;
    this.#key = key;
    this.#header = header;
    this.#answer = answer;
    this.#collector = new BlockCollector(job.slice.blocks, job.slice.gradientBytes);
    this.#segment = segment;
    this.admitted = new Promise((resolve) => (this.#admit = resolve));
    this.#id = slice.register(this);
    const { workerId: worker, attempt } = header;
    slice.report({ type: 'push-begun', pushId: this.#id, jobId: key.jobId, worker, key, attempt });
  }

  /** True when the answer is out or nobody waits for one. */
  get settled(): boolean {
    return this.#settled;
  }

  admit(): void {
    if (this.#settled) return;
    this.#staged = this.#job.slice.stage();
    this.#admit(true);
  }

  block(block: Block): void {
    this.#startMs ??= hostClockMs();
    const staged = this.#staged!;
    const { slice } = this.#job;
    const shared = this.#collector.inSegment(block);
    const data = shared === undefined ? block.data : slice.place(staged, shared.range);
    if (shared !== undefined) this.#readSegment(data, shared.place);
    const verdict = this.#collector.accept({ ...block, data });
    if (!verdict.ok) throw new Refusal(outcomeOfFault[verdict.fault], verdict.detail);
    if (shared === undefined) slice.receive(staged, verdict.range, data);
    const notFinite = slice.notFinite(staged, verdict.range);
    if (notFinite !== undefined) {
      throw new Refusal('not_finite', `${notFinite} of ${taskName(this.#key)} has a number that is not finite.`);
    }
  }

  #readSegment(target: Uint8Array, place: number): void {
    try {
      if (this.#segment === undefined) throw new Error('The header names none.');
      this.#segment.read(target, place);
    } catch (error) {
      throw new Refusal('incomplete', `A block's segment cannot be read: ${(error as Error).message}`);
    }
  }

  /** The end message is here: the contribution is whole on this slice, or never will be. */
  end(end: PushEnd): void {
    if (this.#collector.missing > 0) throw new Refusal('incomplete', `${this.#collector.missing} blocks are missing.`);
    if (!isIntact(this.#header, end))
      throw new Refusal('checksum_mismatch', 'The checksum of the header and totals is wrong.');
    const { sampleIdsSha256, ...totals } = end.totals!;
    const checksums = this.#collector.checksums;
    if (this.#startMs !== undefined) this.#slice.note('stage', 'stage', this.#key, this.#startMs);
    this.#slice.report({
      type: 'push-whole',
      pushId: this.#id,
      jobId: this.#key.jobId,
      totals: { ...totals, sampleIdsSha256: Buffer.from(sampleIdsSha256).toString('hex') },
      blockChecksums: Float64Array.from(this.#job.slice.blocks, (range) => checksums.get(range.index)!),
    });
  }

  /** It won: its numbers join the sum. */
  accept(): void {
    if (this.#settled || this.#staged === undefined) return;
    const start = hostClockMs();
    this.#job.slice.add(this.#key.task, this.#staged);
    this.#slice.note('reduce', 'add', this.#key, start);
    this.#staged = undefined;
    this.#settle('accepted', '');
  }

  /** The main thread decided against it. */
  refuse(outcome: OutcomeName, detail: string): void {
    if (!this.#settled) this.#settle(outcome, detail);
  }

  /** The slice found that it cannot count. */
  fail(outcome: OutcomeName, detail: string): void {
    if (this.#settled) return;
    this.#slice.report({ type: 'push-failed', pushId: this.#id, jobId: this.#key.jobId, outcome, detail });
    this.#settle(outcome, detail);
  }

  #settle(outcome: OutcomeName, detail: string): void {
    this.#settled = true;
    if (this.#staged !== undefined) this.#job.slice.release(this.#staged);
    this.#staged = undefined;
    this.#segment?.close();
    this.#slice.forget(this.#id);
    this.#admit(false);
    respond(this.#answer, outcome, detail);
  }
}

function respond(answer: Answer, outcome: OutcomeName, detail: string): void {
  answer(null, { outcome: toWireOutcome(outcome), detail });
}
