// Tensors between processes of one host pass through files in memory: that they do, that broken ones are refused, that nothing of
// them outlives its process, and that faults change no bit. test/equivalence.test.ts has the bits of both ways.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Server } from '@grpc/grpc-js';
import { pino } from 'pino';
import { beforeAll, describe, expect, it } from 'vitest';
import { VectorMemory } from '#model/simd/vector-memory.js';
import { blockMessage, blockTable, bytesOf, versionChecksum } from '#proto/blocks.js';
import { pushStream } from '#proto/calls.js';
import { reducerService } from '#proto/block-codec.js';
import { clientCredentials, serverCredentials, serverOptions } from '#proto/channel.js';
import { sealedEnd } from '#proto/contribution-seal.js';
import { Outcome, TaskKind } from '#proto/generated/lockstep/v1/pool.js';
import {
  type Block,
  type PushGradientRequest,
  type PushGradientResponse,
  type ReducerServer,
  WireType,
} from '#proto/generated/lockstep/v1/reducer.js';
import { Segment } from '#proto/segment.js';
import type { PublishedVersion, SliceJob } from '../apps/coordinator/src/training/slices/messages.js';
import { servePull } from '../apps/coordinator/src/training/slices/pull-call.js';
import { servePush } from '../apps/coordinator/src/training/slices/push-call.js';
import { Slice } from '../apps/coordinator/src/training/slices/slice.js';
import { SharedFolder } from '../apps/coordinator/src/shared-folder.js';
import { ParameterCache } from '../apps/worker/src/parameters.js';
import { Slices } from '../apps/worker/src/pool-caller.js';
import { SharedMemory } from '../apps/worker/src/shared-memory.js';
import { expectCleanAudit, hashesOf } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { endlessSpec, syntheticSpec } from './support/specs.js';
import { startSystem, type TestSystem } from './support/system.js';

/** Names of the files in the one folder of a system's coordinator. */
function segmentsOf({ memoryDir }: Pick<TestSystem, 'memoryDir'>): string[] {
  const folders = readdirSync(memoryDir);
  expect(folders).toHaveLength(1);
  return readdirSync(join(memoryDir, folders[0]!)).filter((name) => name !== 'word');
}

describe('a system on one host', () => {
  it('passes gradients and parameters through memory, and leaves nothing behind', async () => {
    const system = await startSystem({ workers: 2 });
    const id = await system.api.submit(endlessSpec({ architecture: 'resnet20' }));
    await system.api.untilJob(id, ({ version }) => version >= 4);
    const [first, second] = await system.api.workers();
    const names = segmentsOf(system);
    for (const { id: worker } of [first!, second!]) {
      expect(names.some((name) => name.startsWith(`${worker}-`) && name.endsWith('.push'))).toBe(true);
    }
    expect(names.some((name) => name.startsWith(`${id}-`) && name.endsWith('.version'))).toBe(true);

    // A worker that is killed takes its segments with it, and the job goes on.
    const killed = (await system.api.workers()).find(({ name }) => name === 'worker-1')!;
    system.workers[0]!.kill('SIGKILL');
    await system.api.untilWorkers((workers) => workers.every((worker) => worker.id !== killed.id));
    const { version } = await system.api.job(id);
    await system.api.untilJob(id, (job) => job.version > version);
    expect(segmentsOf(system).filter((name) => name.startsWith(`${killed.id}-`))).toEqual([]);

    await system.api.act(id, 'cancel');
    await system.api.untilState(id, 'cancelled');
    // A slice takes its commands in order: when it has opened the next job, it has closed this one.
    await system.train(syntheticSpec({ steps: 1 }));
    expect(segmentsOf(system).filter((name) => name.startsWith(`${id}-`))).toEqual([]);
    system.coordinator.kill('SIGTERM');
    await system.coordinator.ended;
    expect(readdirSync(system.memoryDir)).toEqual([]);
  });

  it('keeps its bits when the coordinator is killed, and clears what that one left', async () => {
    const spec = syntheticSpec({ architecture: 'resnet20', steps: 14, rest: { checkpoint: { everySteps: 4 } } });
    const system = await startSystem({ workers: 2 });
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ version }) => version >= 6);
    const [left] = readdirSync(system.memoryDir);
    system.coordinator.kill('SIGKILL');
    await system.restartCoordinator();
    const job = await system.api.untilState(id, 'completed');
    expect(readdirSync(system.memoryDir)).not.toContain(left);
    expect(hashesOf(job)).toEqual(hashesOf(await trainPlainly(spec)));
    await expectCleanAudit(system, id, 14);
  });

  it('goes over the network where there is no such memory', async () => {
    const system = await startSystem({
      workers: 1,
      environment: { LOCKSTEP_SHARED_MEMORY_DIR: '/proc' },
    });
    const spec = syntheticSpec({ steps: 3 });
    const job = await system.train(spec);
    expect(hashesOf(job)).toEqual(hashesOf(await trainPlainly(spec)));
    expect(system.coordinator.tail()).toMatch(/tensors go over the network/);
  });
});

describe('a worker', () => {
  let folder: SharedFolder;
  beforeAll(async () => {
    folder = await SharedFolder.make('/dev/shm');
    return () => folder.remove();
  });

  it('shares memory only with a coordinator that sees the same folder', () => {
    const { announcement } = folder;
    const find = (sharedMemory: typeof announcement | undefined) =>
      SharedMemory.find({ sharedMemory, workerId: 'w-1' });
    expect(find(announcement)).toBeDefined();
    expect(find({ ...announcement, word: 'another host’s' })).toBeUndefined();
    expect(find({ ...announcement, word: '' })).toBeUndefined();
    expect(find({ folder: '/dev/shm/nothing', word: announcement.word })).toBeUndefined();
    expect(find(undefined)).toBeUndefined();
  });
});

/** Two blocks, the second of them short. */
const parameterCount = 300_000;
const job: SliceJob = {
  ...{ jobId: 'job', layoutHash: 'layout', parameterCount, statisticCount: 4, wire: 'float32', exactRanges: undefined },
  ...{ momentum: 0.9, nesterov: false, tensors: [] },
  decayRanges: [{ from: 0, to: parameterCount, weightDecay: 0 }],
  layers: [{ name: 'all', offset: 0, size: parameterCount }],
};

describe('a slice', () => {
  let folder: SharedFolder;
  let slice: Slice;
  let version: PublishedVersion;
  let slices: Slices;
  let withMemory: Slices;
  let segments = 0;
  beforeAll(async () => {
    folder = await SharedFolder.make('/dev/shm');
    const options = { slice: 0, slices: 1, host: '127.0.0.1', port: 0, workerToken: undefined, tls: undefined };
    const checksums: number[] = [];
    slice = new Slice({ ...options, sharedFolder: folder.announcement.folder }, (report) => {
      if (report.type === 'push-begun') slice.handle({ type: 'admit', pushId: report.pushId });
      else if (report.type === 'push-whole') {
        slice.handle({ type: 'refuse', pushId: report.pushId, outcome: 'duplicate', detail: 'whole' });
      } else if (report.type === 'answer') checksums.push(...report.values);
    });
    const memory = VectorMemory.ofBytes(4 * 10 * parameterCount);
    slice.handle({ type: 'open-job', job, memory: memory.memory });
    const vector = (count: number) => new Float32Array(new SharedArrayBuffer(4 * count));
    const state = { parameters: vector(parameterCount), momentum: vector(parameterCount), statistics: vector(4) };
    slice.handle({ type: 'add-buffer', jobId: job.jobId, buffer: 0, state: { ...state, inMemory: false } });
    slice.handle({ type: 'checksum', request: 1, jobId: job.jobId, buffer: 0 });
    version = { jobId: job.jobId, lineage: 0, version: 0, buffer: 0, checksum: versionChecksum(checksums) };
    slice.handle({ type: 'publish', version });
    slice.handle({ type: 'open-step', step: { jobId: job.jobId, lineage: 0, step: 0, round: 0, tasks: 1, version } });
    const server = new Server(serverOptions());
    server.addService(reducerService, {
      pullParameters: (call) => void servePull(slice, call),
      pushGradient: (call, answer) => void servePush(slice, call, answer),
    } satisfies ReducerServer);
    const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', serverCredentials());
    const access = { credentials: clientCredentials(), token: undefined };
    const announced = { sharedMemory: folder.announcement, workerId: 'w-1' };
    slices = new Slices([`127.0.0.1:${port}`], access);
    withMemory = new Slices([`127.0.0.1:${port}`], access, SharedMemory.find(announced));
    return async () => {
      slices.close();
      withMemory.close();
      server.forceShutdown();
      await folder.remove();
    };
  });

  interface Spoilt {
    readonly segment?: string;
    /** What lies in the segment when the slice reads it. */
    readonly content?: Float32Array;
    readonly block?: Partial<Block>;
  }

  /** The slice's answer to a gradient of ones in a segment, with a segment, content or messages other than they should be. */
  async function answerTo({ segment, content, block }: Spoilt) {
    const gradient = new Float32Array(parameterCount).fill(1);
    const name = `w-1-${(segments += 1)}.push`;
    const file = Segment.create(folder.announcement.folder, name);
    file.write(bytesOf(content ?? gradient, { first: 0, count: (content ?? gradient).length }), 0);
    file.close();
    const { jobId, lineage } = version;
    const header = {
      ...{ workerId: 'w-1', attempt: 1, version, layoutHash: job.layoutHash, wireType: WireType.FLOAT32, blocks: 3 },
      key: { jobId, lineage, step: 0, round: 0, task: 0, kind: TaskKind.TRAIN },
      segment: segment ?? name,
    };
    const totals = {
      ...{ samples: 1, sampleIdsSha256: new Uint8Array(32), lossSum: 0, top1Hits: 0, top5Hits: 0, computeSeconds: 0 },
      ...{ forwardSeconds: 0, imagesSeconds: 0, pullSeconds: 0, pullWaitSeconds: 0, sendSeconds: 0 },
    };
    const statistics = new Float32Array(4);
    const blocks = blockTable(parameterCount, 4).map((range) => {
      if (range.region === 'statistics') return blockMessage(statistics, range);
      return { ...blockMessage(gradient, range), data: new Uint8Array(0), inSegment: true, ...block };
    });
    const messages: PushGradientRequest[] = [
      { message: { $case: 'header', value: header } },
      ...blocks.map((value): PushGradientRequest => ({ message: { $case: 'block', value } })),
      { message: { $case: 'end', value: sealedEnd(header, totals) } },
    ];
    const [{ client, metadata }] = slices.callers as [Slices['callers'][0]];
    const { outcome, detail } = await pushStream<PushGradientRequest, PushGradientResponse>(
      { call: 'PushGradient', peer: 'a slice' },
      { deadlineMs: 30_000 },
      (options, done) => client.pushGradient(metadata, options, done),
      messages,
    );
    return { outcome: Outcome[outcome], detail };
  }

  it('takes a contribution out of a segment', async () => {
    expect(await answerTo({})).toEqual({ outcome: 'DUPLICATE', detail: 'whole' });
  });

  it.each<[string, Spoilt, string, RegExp]>([
    ['with a flipped bit', { content: withOneBitFlipped() }, 'CHECKSUM_MISMATCH', /block 1 is wrong/],
    ['that ends early', { content: new Float32Array(10).fill(1) }, 'INCOMPLETE', /ends before byte 1048576/],
    ['that is not there', { segment: 'w-1-none.push' }, 'INCOMPLETE', /ENOENT/],
    ['outside the folder', { segment: '../word.push' }, 'INCOMPLETE', /no segment can have/],
    ['that the header does not name', { segment: '' }, 'INCOMPLETE', /names none/],
    ['for another block than is expected', { block: { index: 7 } }, 'INCOMPLETE', /does not belong/],
    ['for a block that comes twice', { block: { index: 0 } }, 'INCOMPLETE', /came twice/],
  ])('refuses one %s', async (_, spoilt, outcome, detail) => {
    const answer = await answerTo(spoilt);
    expect(answer.outcome).toBe(outcome);
    expect(answer.detail).toMatch(detail);
  });

  it('has its versions read from a segment, whose content is checked', async () => {
    const shared = new ParameterCache(withMemory, pino({ level: 'silent' }));
    const request = { jobId: job.jobId, lineage: 0, version: 0, layoutHash: job.layoutHash };
    const counts = { parameterCount, statisticCount: 4, exactCount: undefined };
    const lease = await shared.acquire({ ...request, ...counts }, new AbortController().signal);
    await lease.whole;
    const [name] = readdirSync(folder.announcement.folder).filter((each) => each.endsWith('.version'));
    expect(name).toBeDefined();
    // Whoever pulls next is told that the bytes lie there: it must notice that they are others.
    const path = join(folder.announcement.folder, name!);
    const bytes = readFileSync(path);
    bytes[5]! ^= 1;
    writeFileSync(path, bytes);
    const warnings: string[] = [];
    const log = { warn: (about: unknown) => warnings.push((about as { cause: string }).cause) };
    const again = new ParameterCache(withMemory, log as ConstructorParameters<typeof ParameterCache>[1]);
    const pull = () => again.acquire({ ...request, ...counts }, new AbortController().signal);
    const first = await pull();
    // The way over the network makes good what was wrong in memory.
    await first.whole;
    expect(warnings).toEqual([expect.stringMatching(/checksum of block 0 is wrong/)]);
    expect(first.parameters).toEqual(lease.parameters);
    again.close();
    writeFileSync(path, bytes.subarray(0, 5));
    await (
      await pull()
    ).whole;
    expect(warnings.slice(1)).toEqual([
      expect.stringMatching(/segment that they lie in cannot be read: .* ends before/),
    ]);
    // What was cleared away is made again.
    again.close();
    rmSync(path);
    const after = await pull();
    await after.whole;
    expect(warnings).toHaveLength(2);
    expect(readFileSync(path).byteLength).toBe(4 * parameterCount);
  });
});

function withOneBitFlipped(): Float32Array {
  const content = new Float32Array(parameterCount).fill(1);
  new Uint8Array(content.buffer)[4 * (parameterCount - 1)]! ^= 1;
  return content;
}
