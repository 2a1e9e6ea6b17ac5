// Where faults are committed: a system whose every connection leads through a proxy, and one job that trains on it.
// Refuses to know which faults there are.
import { existsSync, type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';
import type { JobView, WorkerView } from '../../../apps/coordinator/src/jobs/ports.js';
import type { StepRecord } from '../../../apps/coordinator/src/training/ledger-format.js';
import { hasEnded, type TestApi } from '../api.js';
import { FaultProxy } from '../fault-proxy.js';
import { PushWatch } from '../push-frames.js';
import { type RogueCompute, RogueWorker } from '../rogue-worker.js';
import type { TestProcess } from '../test-process.js';
import { type SystemOptions, TestSystem } from '../test-system.js';

export const slices = 2;

/** The proxies of one system. */
export interface Proxies {
  readonly control: FaultProxy;
  readonly slices: readonly FaultProxy[];
  readonly redis: FaultProxy;
}

/** A system, not yet started, all of whose connections but those of REST lead through proxies. */
export async function prepareBehindProxies(
  options: Omit<SystemOptions, 'route' | 'reducers'>,
): Promise<{ system: TestSystem; proxies: Proxies }> {
  let proxies!: Proxies;
  const system = await TestSystem.prepare({
    ...options,
    reducers: slices,
    route: async ({ grpcPort, redisUrl }) => {
      const http2 = (targetPort: number) => FaultProxy.start({ targetPort, http2: true });
      const control = await http2(grpcPort);
      const inFrontOfSlices = [];
      for (let slice = 0; slice < slices; slice += 1) inFrontOfSlices.push(await http2(grpcPort + 1 + slice));
      const redis = await FaultProxy.start({ targetPort: Number(new URL(redisUrl).port) });
      proxies = { control, slices: inFrontOfSlices, redis };
      return {
        coordinator: control.address,
        reducers: inFrontOfSlices.map(({ address }) => address),
        redisUrl: `redis://${redis.address}`,
      };
    },
  });
  return { system, proxies };
}

export async function stopProxies({ control, slices: inFront, redis }: Proxies): Promise<void> {
  await Promise.all([control, redis, ...inFront].map((proxy) => proxy.stop()));
}

/** One job on a system behind proxies, and what a fault needs to find its moment and its victim. */
export class Ground {
  readonly pushes: PushWatch;
  readonly #from: Map<TestProcess, number>;
  #rogue: RogueWorker | undefined;

  constructor(
    readonly system: TestSystem,
    readonly proxies: Proxies,
    /** The job. */
    readonly id: string,
    /** What a rogue computes with, where there is to be one. */
    private readonly rogueCompute?: RogueCompute,
  ) {
    this.pushes = new PushWatch(proxies.slices);
    this.#from = new Map([system.coordinator, ...system.workers].map((process) => [process, process.lines.length]));
  }

  get api(): TestApi {
    return this.system.api;
  }

  get checkpoints(): string {
    return join(this.system.dataDir, 'jobs', this.id, 'checkpoints');
  }

  get ledgerFile(): string {
    return join(this.system.dataDir, 'jobs', this.id, 'ledger.txt');
  }

  job(): Promise<JobView> {
    return this.api.job(this.id);
  }

  /** The job once it has committed `step` steps. */
  untilStep(step: number, withinMs?: number): Promise<JobView> {
    return this.api.untilJob(this.id, (job) => job.step >= step, withinMs);
  }

  /** Waits for `count` further commits. */
  async furtherSteps(count: number): Promise<void> {
    const { step } = await this.job();
    await this.untilStep(step + count);
  }

  async steps(): Promise<StepRecord[]> {
    return (await this.api.ledger(this.id)).filter(({ kind }) => kind === 'step') as unknown as StepRecord[];
  }

  /** The worker that the coordinator knows by this id. */
  async worker(id: string): Promise<TestProcess> {
    const { name } = (await this.api.workers()).find((worker) => worker.id === id) ?? { name: id };
    return this.workerNamed(name);
  }

  workerNamed(name: string): TestProcess {
    const found = this.system.workers.find((worker) => worker.name === name);
    if (found === undefined) throw new Error(`no worker of this system is called ${name}`);
    return found;
  }

  /** A process said so since this job began; waits for it. */
  async said(process: TestProcess, pattern: RegExp, withinMs = 60_000): Promise<string> {
    return await process.line(pattern, { from: this.#from.get(process) ?? 0, withinMs });
  }

  /** Resolves when something in the folder (which need not be there yet) is called so, was changed or went away. */
  async touched(folder: string, matches: (name: string) => boolean, withinMs = 90_000): Promise<string> {
    const deadline = Date.now() + withinMs;
    while (!existsSync(folder)) {
      if (Date.now() > deadline) throw new Error(`${folder} was not made within ${withinMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    let watcher!: FSWatcher;
    let timer!: NodeJS.Timeout;
    try {
      return await new Promise<string>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`nothing happened in ${folder} within ${withinMs} ms`)), withinMs);
        watcher = watch(folder, (_, name) => {
          if (name !== null && matches(name)) resolve(name);
        });
      });
    } finally {
      clearTimeout(timer);
      watcher.close();
    }
  }

  /** Kills the coordinator and starts it again at once. */
  async crashCoordinator(): Promise<void> {
    this.system.coordinator.kill('SIGKILL');
    await this.system.restartCoordinator();
  }

  /** A worker in this process that does as it is told; it leaves when the job is over. */
  async rogue({ wrongProbe = false } = {}): Promise<RogueWorker> {
    if (this.rogueCompute === undefined) throw new Error('There is no compute thread for a rogue.');
    this.#rogue ??= await RogueWorker.join({
      coordinator: this.proxies.control.address,
      redisUrl: this.system.redisUrl,
      compute: this.rogueCompute,
      name: 'rogue',
      wrongProbe,
    });
    return this.#rogue;
  }

  /** The system is whole again: proxies do no harm, every process runs, all workers are in the pool. */
  async restore(): Promise<void> {
    this.pushes.stop();
    const { control, redis } = this.proxies;
    for (const proxy of [control, redis, ...this.proxies.slices]) proxy.heal();
    await this.#rogue?.leave();
    const { coordinator, workers } = this.system;
    if (!coordinator.running) await this.system.restartCoordinator();
    if (!hasEnded(await this.job())) await this.api.act(this.id, 'cancel');
    for (const worker of workers) if (!worker.running) worker.start();
    const whole = (pool: readonly WorkerView[]): boolean =>
      pool.length === workers.length && pool.every(({ state }) => state === 'active');
    await this.api.untilWorkers(whole);
  }
}
