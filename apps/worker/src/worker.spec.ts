import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { imagesOnThisThread } from '#model/images/image-services.js';
import { openDataset } from '#model/datasets/dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { fitsShapes, kernelTableSchema, pointwiseShapes } from '#model/kernel-table.js';
import { Network } from '#model/network.js';
import { initialState, layoutOf } from '#model/parameters.js';
import { shardsOf } from '#model/reduction.js';
import { plainGet } from '#model/datasets/http-file.js';
import { sampleIds } from '#model/sampler.js';
import { computeTask } from '#model/task-computation.js';
import { clientCredentials } from '#proto/channel.js';
import { Outcome, ReleaseReason } from '#proto/generated/lockstep/v1/pool.js';
import type { TaskEntry } from '#proto/task-entry.js';
import { samplesOf, toWireKey } from '#proto/task-entry.js';
import { controlWords } from './compute-protocol.js';
import { ComputeHangs } from './let-go.js';
import type { OpenQueue, TaskSource } from './membership.js';
import { FakeCoordinator, type FakeCoordinatorOptions } from './testing/fake-coordinator.js';
import { InProcessCompute } from './testing/in-process-compute.js';
import { PoolWorker } from './worker.js';

const jobId = 'job-1';
const spec = resolveJobSpec({
  model: { architecture: 'resnet8' },
  dataset: { kind: 'synthetic', size: 64, testSize: 32, imageSize: 16 },
  training: { batchSize: 16, shardSize: 4, shardsPerTask: 2, precision: 'float32', wire: 'bfloat16', steps: 4 },
});
const layout = layoutOf(spec.model);
const dataset = await openDataset(spec.dataset, '');
const state = initialState(spec.model, layout, 1);
const silent = pino({ level: 'silent' });

/** Stands for the queue: the spec hands entries in. */
class HandedTasks implements TaskSource {
  handle: ((task: TaskEntry) => Promise<void>) | undefined;
  paused = false;

  readonly open: OpenQueue = ({ handle }) => {
    this.handle = handle;
    this.paused = false;
    return this;
  };

  deliver(task: TaskEntry): Promise<void> {
    return this.handle!(task);
  }

  pause(): void {
    this.paused = true;
  }

  stop(): Promise<void> {
    this.handle = undefined;
    return Promise.resolve();
  }
}

function trainTask(step: number, task: number, attempt = 1): TaskEntry {
  const key = { jobId, lineage: 0, step, round: 0, task, kind: 'train' as const };
  return { key, attempt, version: step, epoch: 0, shards: shardsAt(step * 16 + task * 8), miniBatchSamples: 16 };
}

function shardsAt(first: number) {
  return shardsOf(8, spec.training.shardSize).map((shard) => ({ first: first + shard.first, samples: shard.count }));
}

/** What the task must give, computed here without worker and wire. */
async function expectedOf(task: TaskEntry) {
  const samples = samplesOf(task);
  const ids = sampleIds(spec.training, task.epoch, dataset.trainCount, task.shards[0]!.first, samples);
  const pixels = 16 * 16 * 3;
  const images = new Float32Array(samples * pixels);
  const labels = new Int32Array(samples);
  await dataset.prepareTrain(ids, spec.training.seed, task.epoch, spec.dataset.augmentation, images, labels);
  const shards = shardsOf(samples, spec.training.shardSize).map(({ first, count }) => {
    return {
      images: images.slice(first * pixels, (first + count) * pixels),
      labels: labels.slice(first, first + count),
    };
  });
  const network = Network.create(spec.model, spec.training.precision);
  network.loadParameters(state.parameters, state.statistics);
  const gradient = new Uint16Array(layout.parameterCount);
  const statistics = new Float32Array(layout.statisticCount);
  const totals = computeTask(network, shards, task.miniBatchSamples, { gradient, statistics, onProgress: () => {} });
  network.dispose();
  const sampleIdsSha256 = createHash('sha256').update(new Uint8Array(ids.buffer)).digest();
  return { gradient, statistics, totals, sampleIdsSha256 };
}

describe('PoolWorker', () => {
  let coordinator: FakeCoordinator;
  let tasks: HandedTasks;
  let compute: InProcessCompute;
  let worker: PoolWorker;
  let running: Promise<unknown>;

  async function begin(options: Partial<FakeCoordinatorOptions> = {}, port = 0): Promise<void> {
    coordinator = new FakeCoordinator({
      job: {
        specJson: JSON.stringify(spec),
        layoutHash: layout.hash,
        datasetLocation: '',
        datasetsUrl: '',
        datasetIndex: '',
        datasetHash: dataset.indexHash,
        datasetContentsHash: '',
        datasetFiles: [],
        probeJson: '',
        kernelsJson: '',
      },
      parameterCount: layout.parameterCount,
      statisticCount: layout.statisticCount,
      wire: 'bfloat16',
      ...options,
    });
    await coordinator.start(port);
  }

  function startWorker(address = coordinator.address, letGoMs?: number): void {
    worker = new PoolWorker({
      coordinator: address,
      access: { credentials: clientCredentials(), token: undefined },
      openQueue: tasks.open,
      introduction: {
        protocolVersion: 2,
        lockstepVersion: '0',
        name: 'spec',
        numericsClass: undefined,
        memoryBytes: 1,
        pid: 1,
      },
      compute,
      images: { ...imagesOnThisThread(), counts: { images: 0, seconds: 0, cacheHits: 0 } },
      datasets: { access: {}, get: plainGet },
      log: silent,
      letGoMs,
    });
    running = worker.run();
  }

  beforeEach(() => {
    tasks = new HandedTasks();
    compute = new InProcessCompute();
  });

  afterEach(async () => {
    worker.stop(0);
    await running;
    coordinator.stop();
    compute.dispose();
  });

  async function joined(): Promise<void> {
    await coordinator.until(() => coordinator.sessions.length > 0);
  }

  it.each([1, 2])('delivers the very bits that the task gives in one process, over %i slices', async (slices) => {
    await begin({ slices });
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    const delivered = [trainTask(0, 0), trainTask(0, 1)];
    for (const task of delivered) await tasks.deliver(task);
    await coordinator.until(() => coordinator.pushes.length === 2 * slices);
    // One pull per slice serves both tasks.
    expect(coordinator.pulls).toBe(slices);
    for (const task of delivered) {
      const expected = await expectedOf(task);
      const parts = coordinator.pushes.filter(({ header }) => header.key?.task === task.key.task);
      const gradient = new Uint16Array(layout.parameterCount);
      const statistics = new Float32Array(layout.statisticCount);
      for (const part of parts) {
        // Each slice got its own blocks, and zeros elsewhere.
        (part.gradient as Uint16Array).forEach((bits, index) => (gradient[index] = gradient[index]! | bits));
        part.statistics.forEach((value, index) => (statistics[index] = statistics[index]! + value));
        expect(part.totals).toMatchObject(expected.totals);
        expect(Buffer.from(part.totals.sampleIdsSha256)).toEqual(expected.sampleIdsSha256);
        expect(part.header.key).toEqual(toWireKey(task.key));
      }
      expect(gradient).toEqual(expected.gradient);
      expect(statistics).toEqual(expected.statistics);
    }
  });

  it('prepares the next task while one computes, and waits for its version', async () => {
    await begin();
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(trainTask(0, 0));
    let secondLeft = false;
    const second = tasks.deliver(trainTask(1, 0)).then(() => (secondLeft = true));
    await coordinator.until(() => coordinator.pushes.length === 1 && coordinator.pulls === 2);
    expect(secondLeft).toBe(false);
    coordinator.publish(jobId, 0, 1, state);
    await second;
    await coordinator.until(() => coordinator.pushes.length === 2);
    expect(coordinator.pushes[1]!.header.version?.version).toBe(1);
  });

  it('skips what it may not claim', async () => {
    await begin();
    coordinator.answerClaim = () => false;
    startWorker();
    await joined();
    await tasks.deliver(trainTask(0, 0));
    expect(coordinator.claims).toHaveLength(1);
    expect(coordinator.pulls).toBe(0);
  });

  it('answers evaluation tasks', async () => {
    await begin();
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    const key = { jobId, lineage: 0, step: 0, round: 0, task: 0, kind: 'evaluate' as const };
    await tasks.deliver({
      key,
      attempt: 1,
      version: 0,
      epoch: 0,
      shards: [{ first: 8, samples: 10 }],
      miniBatchSamples: 10,
    });
    await coordinator.until(() => coordinator.evaluations.length === 1);
    const [answer] = coordinator.evaluations;
    expect(answer).toMatchObject({ workerId: 'w1', samples: 10, key: toWireKey(key) });
    expect(answer!.lossSum / 10).toBeGreaterThan(1);
    expect(answer!.computeSeconds).toBeGreaterThan(0);
  });

  const evaluation = (version: number): TaskEntry => {
    const key = { jobId, lineage: 0, step: version, round: 0, task: 0, kind: 'evaluate' as const };
    return { key, attempt: 1, version, epoch: 0, shards: [{ first: 0, samples: 4 }], miniBatchSamples: 4 };
  };

  const withProbe = {
    specJson: JSON.stringify(spec),
    layoutHash: layout.hash,
    datasetLocation: '',
    datasetsUrl: '',
    datasetIndex: '',
    datasetHash: dataset.indexHash,
    datasetContentsHash: '',
    datasetFiles: [],
    probeJson: JSON.stringify(trainTask(0, 0)),
    kernelsJson: '',
  };

  it('shows itself before its first evaluation too, once for all tasks of the job', async () => {
    await begin({ job: withProbe });
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(evaluation(0));
    await coordinator.until(() => coordinator.probes.length === 1);
    expect(coordinator.evaluations).toEqual([]);
    await coordinator.until(() => coordinator.evaluations.length === 1);
    await tasks.deliver(trainTask(0, 0));
    await coordinator.until(() => coordinator.pushes.length === 1);
    expect(coordinator.probes).toHaveLength(1);
  });

  it('tries kernels when it is asked to, and says so where it cannot', async () => {
    await begin();
    startWorker();
    await joined();
    const projecting = resolveJobSpec({ ...spec, model: { ...spec.model, shortcut: 'B' } });
    const ask = (request: number, specJson: string): void =>
      coordinator.say({ $case: 'kernelTrialRequest', value: { request, specJson } });
    ask(7, JSON.stringify(projecting));
    ask(8, '{}');
    await coordinator.until(() => coordinator.kernelTrials.length === 2);
    const answerTo = (request: number) => coordinator.kernelTrials.find((trial) => trial.request === request)!;
    expect(answerTo(7).detail).toBe('');
    const table = kernelTableSchema.parse(JSON.parse(answerTo(7).kernelsJson));
    expect(fitsShapes(table, pointwiseShapes(projecting.model))).toBe(true);
    expect(answerTo(8)).toMatchObject({ kernelsJson: '' });
    expect(answerTo(8).detail).toContain('model.architecture is missing');
  });

  it('evaluates nothing where it is not admitted', async () => {
    await begin({ job: withProbe });
    coordinator.answerProbe = () => Outcome.NOT_ADMITTED;
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(evaluation(0));
    await coordinator.until(() => coordinator.releases.length === 1);
    expect(coordinator.releases[0]).toMatchObject({ reason: ReleaseReason.FAILED, detail: 'a probe' });
    expect(coordinator.evaluations).toEqual([]);
  });

  it('computes on while contributions that were sent wait for their answers', async () => {
    await begin({ slices: 2 });
    let answer!: () => void;
    const proved = new Promise<void>((resolve) => (answer = resolve));
    coordinator.answerPush = () => proved;
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    const twice = [trainTask(0, 0), trainTask(0, 1)];
    for (const attempt of [1, 2, 3]) for (const task of twice) await tasks.deliver({ ...task, attempt });
    await coordinator.until(() => coordinator.pushes.length === 12);
    // Memory used again has not changed what was sent.
    const gradients = (task: number, slice: number) =>
      coordinator.pushes.filter((push) => push.header.key?.task === task && push.slice === slice);
    for (const task of [0, 1]) {
      for (const slice of [0, 1]) {
        const [first, ...others] = gradients(task, slice);
        for (const other of others) expect(other.gradient).toEqual(first!.gradient);
      }
    }
    answer();
  });

  it('takes no entry while computing hangs in a task that was withdrawn, and is over after a while', async () => {
    await begin();
    let letGo!: () => void;
    const hangs = new Promise<void>((resolve) => (letGo = resolve));
    compute.before = () => hangs;
    startWorker(coordinator.address, 200);
    const end = running.catch((error: unknown) => error);
    running = end;
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(trainTask(0, 0));
    let handled = false;
    void tasks.deliver(trainTask(0, 1)).then(() => (handled = true));
    await coordinator.until(() => coordinator.claims.length === 2);
    for (const { key, attempt } of [trainTask(0, 0), trainTask(0, 1)]) {
      coordinator.say({ $case: 'cancelTask', value: { key: toWireKey(key), attempt } });
    }
    expect(await end).toBeInstanceOf(ComputeHangs);
    expect(handled).toBe(false);
    letGo();
  });

  it('gives a waiting task back when told to yield', async () => {
    await begin();
    startWorker();
    await joined();
    const waiting = tasks.deliver(trainTask(3, 0));
    await coordinator.until(() => coordinator.pulls === 1);
    coordinator.say({ $case: 'yieldTask', value: { key: toWireKey(trainTask(3, 0).key), attempt: 1 } });
    await waiting;
    await coordinator.until(() => coordinator.releases.length === 1);
    expect(coordinator.releases[0]!.reason).toBe(ReleaseReason.YIELDED);
  });

  it('does not wait for a read that hangs once nobody wants the task', async () => {
    let reads!: () => void;
    const reading = new Promise<void>((resolve) => (reads = resolve));
    vi.spyOn(Object.getPrototypeOf(dataset) as typeof dataset, 'prepareTrain').mockImplementationOnce(() => {
      reads();
      return new Promise(() => undefined);
    });
    await begin();
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    const hanging = tasks.deliver(trainTask(0, 0));
    await reading;
    coordinator.say({ $case: 'cancelTask', value: { key: toWireKey(trainTask(0, 0).key), attempt: 1 } });
    await hanging;
    await tasks.deliver(trainTask(0, 1));
    await coordinator.until(() => coordinator.pushes.length === 1);
    expect(coordinator.pushes[0]!.header.key?.task).toBe(1);
    expect(coordinator.releases).toEqual([]);
  });

  it('stops computing what is refused meanwhile, and computes the same bits afterwards', async () => {
    await begin();
    coordinator.refuse = ({ attempt }) => (attempt === 1 ? { outcome: Outcome.STALE, detail: 'too late' } : undefined);
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    // The answer arrives before computing begins, so that the abort is seen at the first gradient.
    compute.before = () => new Promise((resolve) => setTimeout(resolve, 50));
    await tasks.deliver(trainTask(0, 0, 1));
    await tasks.deliver(trainTask(0, 0, 2));
    await coordinator.until(() => coordinator.pushes.length === 1);
    expect(coordinator.pushes[0]!.gradient).toEqual((await expectedOf(trainTask(0, 0))).gradient);
    expect(coordinator.releases).toEqual([]);
  });

  it('abandons a task in the middle of backward and leaves no tensor and no wrong bit behind', async () => {
    await begin();
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(trainTask(0, 0, 1));
    await coordinator.until(() => coordinator.pushes.length === 1);
    const tensors = compute.tensors;
    let blocks = 0;
    compute.onBlock = () => {
      blocks += 1;
      // In the middle of backward; the compute thread sees the word at the next gradient.
      if (blocks === 3) Atomics.store(compute.control, controlWords.aborted, 2);
    };
    await tasks.deliver(trainTask(0, 0, 2));
    await coordinator.until(() => coordinator.releases.length === 1);
    expect(coordinator.releases[0]!.detail).toContain('given up while it computed');
    expect(blocks).toBe(3);
    await tasks.deliver(trainTask(0, 0, 3));
    await coordinator.until(() => coordinator.pushes.length === 2);
    expect(coordinator.pushes[1]!.gradient).toEqual(coordinator.pushes[0]!.gradient);
    expect(compute.tensors).toBe(tensors);
  });

  it('hands a task back when its version is gone', async () => {
    await begin();
    coordinator.failPull = () => status.NOT_FOUND;
    startWorker();
    await joined();
    await tasks.deliver(trainTask(0, 0));
    await coordinator.until(() => coordinator.releases.length === 1);
    expect(coordinator.releases[0]!.reason).toBe(ReleaseReason.NO_PARAMETERS);
    expect(coordinator.releases[0]!.detail).toContain(`version 0 of job ${jobId}`);
  });

  it.each([1, 2])(
    'hands a task back when its parameters break off behind their header, and computes it right afterwards (%i slices)',
    async (slices) => {
      await begin({ slices });
      coordinator.breakPull = () => status.NOT_FOUND;
      startWorker();
      await joined();
      coordinator.publish(jobId, 0, 0, state);
      const task = trainTask(0, 0);
      await tasks.deliver(task);
      await coordinator.until(() => coordinator.releases.length === 1);
      expect(coordinator.releases[0]!.reason).toBe(ReleaseReason.NO_PARAMETERS);
      expect(coordinator.pushes).toEqual([]);
      coordinator.breakPull = () => undefined;
      await tasks.deliver(trainTask(0, 0, 2));
      await coordinator.until(() => coordinator.pushes.length === slices);
      const expected = await expectedOf(task);
      for (const { totals } of coordinator.pushes) expect(totals).toMatchObject(expected.totals);
    },
  );

  it('hands a task back when its layout is not the coordinator’s', async () => {
    await begin({
      job: {
        specJson: JSON.stringify(spec),
        layoutHash: 'x',
        datasetLocation: '',
        datasetsUrl: '',
        datasetIndex: '',
        datasetHash: dataset.indexHash,
        datasetContentsHash: '',
        datasetFiles: [],
        probeJson: '',
        kernelsJson: '',
      },
    });
    startWorker();
    await joined();
    await tasks.deliver(trainTask(0, 0));
    await coordinator.until(() => coordinator.releases.length === 1);
    expect(coordinator.releases[0]!.detail).toContain('must run the same version of Lockstep');
  });

  it('waits for a coordinator that comes later, and joins again after it was away', async () => {
    await begin();
    const { address } = coordinator;
    const port = Number(address.split(':')[1]);
    coordinator.stop();
    startWorker(address);
    await begin({}, port);
    await joined();
    const waiting = tasks.deliver(trainTask(0, 0));
    await coordinator.until(() => coordinator.pulls === 1);
    coordinator.stop();
    await waiting;
    expect(tasks.paused).toBe(true);
    await begin({}, port);
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(trainTask(0, 0));
    await coordinator.until(() => coordinator.pushes.length === 1);
    expect(coordinator.registrations).toHaveLength(1);
  });

  it('finishes what computes and hands back what it prepared when it is stopped', async () => {
    await begin();
    let letGo!: () => void;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    compute.before = () => held;
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(trainTask(0, 0));
    const prepared = tasks.deliver(trainTask(0, 1));
    await coordinator.until(() => coordinator.claims.length === 2);
    worker.stop(10_000);
    await prepared;
    await coordinator.until(() => coordinator.releases.length === 1);
    expect(coordinator.releases[0]).toMatchObject({ reason: ReleaseReason.DRAINING, key: { task: 1 } });
    letGo();
    expect(await running).toBe('stopped');
    expect(coordinator.pushes).toHaveLength(1);
  });

  it('hands back what would not be finished in time', async () => {
    await begin();
    compute.before = () => new Promise((resolve) => setTimeout(resolve, 300));
    startWorker();
    await joined();
    coordinator.publish(jobId, 0, 0, state);
    await tasks.deliver(trainTask(0, 0));
    worker.stop(20);
    await running;
    expect(coordinator.releases[0]).toMatchObject({ reason: ReleaseReason.DRAINING, key: { task: 0 } });
    expect(coordinator.pushes).toHaveLength(0);
  });

  it('ends when the coordinator drains it', async () => {
    await begin();
    startWorker();
    await joined();
    coordinator.say({ $case: 'drain', value: {} });
    expect(await running).toBe('drained');
  });
});
