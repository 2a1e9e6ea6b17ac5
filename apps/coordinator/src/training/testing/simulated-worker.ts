// A worker whose every move is a test's decision: takes an entry, prepares, computes, pushes block by block; can die,
// freeze, and send what it should not. Its arithmetic is a stand-in that depends on parameters and sample ids.
import { createHash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { roundToBfloat16 } from '#model/reduction.js';
import { type SampleOrder, sampleIds } from '#model/sampler.js';
import { blockMessage } from '#proto/blocks.js';
import { sealedEnd } from '#proto/contribution-seal.js';
import type { SessionResponse } from '#proto/generated/lockstep/v1/pool.js';
import { type PushGradientRequest, type PushHeader, WireType } from '#proto/generated/lockstep/v1/reducer.js';
import { entryId, fromWireKey, samplesOf, taskId, type TaskEntry, toWireKey } from '#proto/task-entry.js';
import { numericsClass } from '../../workers/numerics-class.fixture.js';
import type { PoolWorker, WorkerRegistry } from '../../workers/worker-registry.js';
import type { RunningJobs } from '../running-jobs.js';
import type { PublishedVersion } from '../slices/messages.js';
import { servePush } from '../slices/push-call.js';
import type { SimulatedQueue, SimulatedSlices } from './simulated-services.js';

/** What can be wrong with a contribution. */
export type Fault = 'flipped bit' | 'not finite' | 'cut' | 'wrong samples' | 'wrong version';

export interface Surroundings {
  readonly registry: WorkerRegistry;
  readonly jobs: RunningJobs;
  readonly slices: SimulatedSlices;
  readonly queue: SimulatedQueue;
  readonly trainCount: number;
  readonly order: SampleOrder;
  /** A sample whose gradient is never finite. */
  readonly poisoned?: number | undefined;
}

interface Held {
  readonly id: string;
  readonly entry: TaskEntry;
}

/** A contribution on its way to one slice: messages not yet sent. */
interface Upload {
  readonly call: PassThrough;
  readonly messages: PushGradientRequest[];
}

export class SimulatedWorker {
  readonly #world: Surroundings;
  readonly #member: PoolWorker;
  #preparing: Held | undefined;
  #computing: { readonly held: Held; readonly version: PublishedVersion } | undefined;
  #uploads: Upload[] = [];
  #progress = 0;
  /** Computes other bits than everybody else, and passes the probe nevertheless. */
  biased = false;
  /** Told to leave. */
  leaving = false;
  /** What it prepares does not get done, though it goes on otherwise, until it loses the task. */
  stuck = false;
  /** Stopped by SIGSTOP: it makes no move. */
  frozen = false;

  constructor(world: Surroundings) {
    this.#world = world;
    const registered = world.registry.register({ name: 'simulated', numericsClass, memoryBytes: 0, pid: 0 });
    this.#member = world.registry.connect(registered.id, (message) => this.#hear(message))!;
  }

  /** Everything that it could do next. */
  moves(): (() => void)[] {
    if (this.frozen) return [];
    const moves: (() => void)[] = [];
    if (this.#preparing === undefined && this.#world.queue.length > 0) moves.push(() => this.#fetch());
    const ready =
      this.#preparing !== undefined && !this.stuck && this.#computing === undefined && this.#uploads.length < 4;
    const version = ready ? this.#versionFor(this.#preparing!.entry) : undefined;
    if (version !== undefined) moves.push(() => this.#begin(version));
    if (this.#computing !== undefined) moves.push(() => this.finish());
    for (const upload of this.#uploads) moves.push(() => this.#send(upload));
    return moves;
  }

  get prepares(): boolean {
    return this.#preparing !== undefined && !this.frozen;
  }

  get computes(): boolean {
    return this.#computing !== undefined && !this.frozen;
  }

  heartbeat(): void {
    if (this.frozen) return;
    this.#progress += 1;
    const computing = this.#computing === undefined ? null : taskId(this.#computing.held.entry.key);
    this.#world.registry.heartbeat(this.#member, { progress: this.#progress, computing, residentBytes: 0, tensors: 0 });
  }

  /** SIGKILL: its connections end. An entry that it holds stays active in the queue until somebody misses it. */
  die(): void {
    for (const { call } of this.#uploads) call.destroy();
    this.#world.registry.disconnect(this.#member);
  }

  /** Takes an entry and dies before it can claim it. */
  dieWithEntry(): void {
    this.#world.queue.take();
    this.die();
  }

  /** Ends the present computation and starts to send what came out of it, `times` times. */
  finish(fault?: Fault, times = 1): void {
    const { held, version } = this.#computing!;
    this.#computing = undefined;
    if (held.entry.key.kind === 'evaluate') {
      const samples = samplesOf(held.entry);
      const answer = { attempt: held.entry.attempt, samples, lossSum: samples * 0.5, top1Hits: 1, top5Hits: samples };
      this.#world.jobs.evaluated(held.entry.key, this.#member, answer);
      return;
    }
    for (let copy = 0; copy < times; copy += 1) this.#upload(held.entry, version, fault);
  }

  #fetch(): void {
    const held = this.#world.queue.take();
    if (held === undefined) return;
    if (this.#world.jobs.claim(held.entry.key, held.entry.attempt, this.#member)) {
      this.#preparing = held;
      this.#world.jobs.probed(held.entry.key.jobId, this.#member, 42);
    } else this.#world.queue.done(held.id);
  }

  #begin(version: PublishedVersion): void {
    this.#computing = { held: this.#preparing!, version };
    this.#world.queue.done(this.#preparing!.id);
    this.#preparing = undefined;
  }

  /** The version that an entry asks for, where all slices have it. */
  #versionFor(entry: TaskEntry): PublishedVersion | undefined {
    const versions = this.#world.slices.slices.map((slice) => slice.job(entry.key.jobId)?.versions.newest);
    const there = versions.every(
      (version) => version?.lineage === entry.key.lineage && version.version === entry.version,
    );
    return there ? versions[0] : undefined;
  }

  #hear(message: NonNullable<SessionResponse['message']>): void {
    if (message.$case === 'drain') this.leaving = true;
    if (message.$case !== 'yieldTask' && message.$case !== 'cancelTask') return;
    const key = fromWireKey(message.value.key)!;
    const name = entryId(key, message.value.attempt);
    const is = (held: Held | undefined): boolean =>
      held !== undefined && entryId(held.entry.key, held.entry.attempt) === name;
    if (is(this.#preparing)) {
      this.#world.queue.done(this.#preparing!.id);
      this.#preparing = undefined;
      this.stuck = false;
      if (message.$case === 'yieldTask') this.#world.jobs.release(key, message.value.attempt, this.#member);
    }
    if (message.$case === 'cancelTask' && is(this.#computing?.held)) this.#computing = undefined;
  }

  #upload(entry: TaskEntry, version: PublishedVersion, fault: Fault | undefined): void {
    const { slices, order, trainCount } = this.#world;
    const ids = Uint32Array.from(
      entry.shards.flatMap(({ first, samples }) => [...sampleIds(order, entry.epoch, trainCount, first, samples)]),
    );
    if (this.#world.poisoned !== undefined && ids.includes(this.#world.poisoned)) fault = 'not finite';
    const hash = createHash('sha256').update(new Uint8Array(ids.buffer)).digest();
    if (fault === 'wrong samples') hash[0]! ^= 1;
    for (const slice of slices.slices) {
      const job = slice.job(entry.key.jobId);
      if (job === undefined) continue;
      const header: PushHeader = {
        workerId: this.#member.id,
        key: toWireKey(entry.key),
        attempt: entry.attempt,
        version: {
          jobId: entry.key.jobId,
          lineage: version.lineage,
          version: version.version,
          checksum: fault === 'wrong version' ? 1 : version.checksum,
        },
        layoutHash: job.slice.job.layoutHash,
        wireType: job.slice.job.wire === 'bfloat16' ? WireType.BFLOAT16 : WireType.FLOAT32,
        blocks: job.slice.blocks.length,
        segment: '',
      };
      const vectors = contributionOf(job.slice.buffer(version.buffer), ids, entry.miniBatchSamples, job.slice.job.wire);
      if (this.biased) vectors.parameters[1]! += 1;
      if (fault === 'not finite') vectors.statistics[0] = Number.NaN;
      if (fault === 'not finite') vectors.parameters[0] = 0x7fc0;
      if (fault === 'not finite' && vectors.parameters instanceof Float32Array) vectors.parameters[0] = Number.NaN;
      const messages: PushGradientRequest[] = [{ message: { $case: 'header', value: header } }];
      for (const range of job.slice.blocks.toReversed()) {
        const block = blockMessage(vectors[range.region], range);
        if (fault === 'flipped bit') block.data[0]! ^= 4;
        messages.push({ message: { $case: 'block', value: block } });
      }
      const totals = {
        samples: ids.length,
        sampleIdsSha256: new Uint8Array(hash),
        lossSum: ids.reduce((sum, id) => sum + id / 7, 0),
        top1Hits: 1,
        top5Hits: 2,
        computeSeconds: 0.1,
        ...{ forwardSeconds: 0.03, imagesSeconds: 0, pullSeconds: 0, pullWaitSeconds: 0, sendSeconds: 0 },
      };
      messages.push({ message: { $case: 'end', value: sealedEnd(header, totals) } });
      if (fault === 'cut') messages.length = 2;
      const call = Object.assign(new PassThrough({ objectMode: true, highWaterMark: 1 }), {
        getPeer: () => 'simulated',
      });
      call.on('error', () => undefined);
      void servePush(slice, call as never, () => undefined);
      this.#uploads.push({ call, messages });
    }
  }

  #send(upload: Upload): void {
    const message = upload.messages.shift();
    if (message !== undefined) {
      upload.call.write(message);
      return;
    }
    this.#uploads = this.#uploads.filter((other) => other !== upload);
    upload.call.end();
  }
}

/** Numbers that depend on parameters and ids, and that rounding shows in when they are added in another order. */
function contributionOf(
  state: { readonly parameters: Float32Array; readonly statistics: Float32Array },
  ids: Uint32Array,
  miniBatchSamples: number,
  wire: 'float32' | 'bfloat16',
): { parameters: Float32Array | Uint16Array; statistics: Float32Array } {
  const parameters = state.parameters.map((value, index) => {
    let sum = 0;
    for (const id of ids) sum += Math.sin(id * 1.7 + index) * (1 + value);
    return sum / miniBatchSamples;
  });
  const statistics = state.statistics.map((_, index) => {
    let sum = 0;
    for (const id of ids) sum += Math.cos(id + index);
    return sum / miniBatchSamples;
  });
  if (wire === 'float32') return { parameters, statistics };
  const bits = new Uint16Array(parameters.length);
  roundToBfloat16(parameters, bits);
  return { parameters: bits, statistics };
}
