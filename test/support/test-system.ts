// A whole system as real processes on free ports, with a Valkey and a data folder of its own: Valkey, coordinator, workers.
// Refuses to keep anything alive: whoever kills a process starts it again, or does not; whoever prepares it stops it.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { coordinatorEnvironment, workerEnvironment } from '../../apps/coordinator/src/cli/child-environment.js';
import { ProcessGuard } from '../../apps/coordinator/src/cli/supervision/guard.js';
import { anyFreePort, freePortRange } from '../../apps/coordinator/src/cli/supervision/ports.js';
import { TestApi } from './api.js';
import { TestProcess } from './test-process.js';
import { startTestValkey, type TestValkey } from './valkey.js';

/** Addresses that processes are told instead of the real ones. */
export interface Route {
  /** host:port of the control port, for workers. */
  readonly coordinator: string;
  /** host:port of each slice, for workers. @default the real ones */
  readonly reducers?: readonly string[];
  /** For everybody. @default Valkey's own */
  readonly redisUrl?: string;
}

export interface SystemOptions {
  /** @default 2 */
  readonly workers?: number;
  /** Slices. @default 1 */
  readonly reducers?: number;
  /** On top of what every process gets. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Working directory of the coordinator; what it knows as `/proc/self/cwd/…` no worker sees. @default this process's */
  readonly coordinatorFolder?: string;
  /** Bearer token that the system's own client sends. */
  readonly token?: string;
  /** Where others are to be found instead, when something lies between: proxies. Gets the real ports. */
  readonly route?: (real: { readonly grpcPort: number; readonly redisUrl: string }) => Promise<Route>;
  /** Makes something of the new data folder, such as a mount point, before anything runs; returns how to undo it. */
  readonly furnish?: (dataDir: string) => () => void;
  /** Waits until all workers are in the pool. @default true */
  readonly joined?: boolean;
}

export const distribution = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../dist' : '../..', import.meta.url),
);
export const cliEntry = join(distribution, 'apps/coordinator/src/cli/main.js');
const coordinatorEntry = join(distribution, 'apps/coordinator/src/main.js');
const workerEntry = join(distribution, 'apps/worker/src/main.js');

const host = '127.0.0.1';
/** How long a stopping process may take before it is killed: tests that measure an orderly stop do it themselves. */
const stopMs = 3_000;

export class TestSystem {
  readonly url: string;
  readonly api: TestApi;
  readonly coordinator: TestProcess;
  readonly workers: TestProcess[] = [];
  readonly #guard = new ProcessGuard();
  #stopping: Promise<void> | undefined;

  private constructor(
    private readonly options: SystemOptions,
    readonly valkey: TestValkey,
    readonly dataDir: string,
    readonly httpPort: number,
    /** Control port; slice i listens on the port after it + i. */
    readonly grpcPort: number,
    private readonly route: Route,
    /** Where the coordinator makes the folder through which workers pass tensors. */
    readonly memoryDir: string,
    private readonly unfurnish: (() => void) | undefined,
  ) {
    this.url = `http://${host}:${httpPort}`;
    this.api = new TestApi(this.url, options.token);
    this.#guard.start();
    this.coordinator = new TestProcess({
      name: 'coordinator',
      args: [coordinatorEntry],
      folder: options.coordinatorFolder,
      environment: coordinatorEnvironment(
        { ...this.environment, LOCKSTEP_REDUCER_ADDRESSES: route.reducers?.join(',') },
        this.redisUrl,
      ),
      guard: this.#guard,
    });
    for (let index = 0; index < (options.workers ?? 2); index += 1) this.addWorker();
  }

  /** Ports, data folder and Valkey are there afterwards, but no process runs. */
  static async prepare(options: SystemOptions): Promise<TestSystem> {
    const dataDir = await mkdtemp(join(tmpdir(), 'lockstep-test-'));
    const unfurnish = options.furnish?.(dataDir);
    // In a row, as two that are looked for one after the other may overlap.
    const httpPort = await freePortRange(host, await anyFreePort(host), 2 + (options.reducers ?? 1));
    const grpcPort = httpPort + 1;
    const valkey = await startTestValkey();
    const route = (await options.route?.({ grpcPort, redisUrl: valkey.url })) ?? { coordinator: `${host}:${grpcPort}` };
    const memoryDir = await mkdtemp('/dev/shm/lockstep-test-');
    return new TestSystem(options, valkey, dataDir, httpPort, grpcPort, route, memoryDir, unfurnish);
  }

  /** What processes are told; may lead through a proxy. */
  get redisUrl(): string {
    return this.route.redisUrl ?? this.valkey.url;
  }

  /** What all processes of this system are told, without Valkey's and the coordinator's addresses. */
  get environment(): Record<string, string | undefined> {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(LOCKSTEP_|REDIS_|TF_|VITEST)/.test(name) || /^LOCKSTEP_(CACHE|TENSORFLOW)_DIR$/.test(name),
    );
    return {
      ...Object.fromEntries(inherited),
      NODE_ENV: 'production',
      LOCKSTEP_DATA_DIR: this.dataDir,
      LOCKSTEP_HTTP_PORT: String(this.httpPort),
      LOCKSTEP_GRPC_PORT: String(this.grpcPort),
      LOCKSTEP_REDUCERS: String(this.options.reducers ?? 1),
      LOCKSTEP_QUEUE_PREFIX: `test-${this.#prefix}`,
      LOCKSTEP_LOG_LEVEL: 'debug',
      // What goes through a proxy is not to go round it.
      LOCKSTEP_SHARED_MEMORY_DIR: this.route.reducers === undefined ? this.memoryDir : 'off',
      ...this.options.environment,
    };
  }
  readonly #prefix = randomBytes(6).toString('hex');

  async start(): Promise<void> {
    for (const process of [this.coordinator, ...this.workers]) process.start();
    await this.coordinator.notice('ready');
    if (this.options.joined !== false) {
      await Promise.all(this.workers.map((worker) => worker.line(/"joined the pool"/)));
    }
  }

  /** One more worker; not started. `environment` on top of the system's. */
  addWorker(environment: Readonly<Record<string, string>> = {}): TestProcess {
    const name = `worker-${this.workers.length + 1}`;
    const worker = new TestProcess({
      name,
      args: [workerEntry],
      environment: {
        ...workerEnvironment(
          { ...this.environment, LOCKSTEP_WORKER_NAME: name },
          this.route.coordinator,
          this.redisUrl,
        ),
        ...environment,
      },
      guard: this.#guard,
    });
    this.workers.push(worker);
    return worker;
  }

  /** Starts a coordinator that was killed again, and waits until it answers. */
  async restartCoordinator(): Promise<void> {
    await this.coordinator.ended;
    this.coordinator.start();
    await this.coordinator.notice('ready');
  }

  /** Runs a job to its end and gives its last view; rejects when it does not complete. */
  async train(spec: object, withinMs?: number) {
    const id = await this.api.submit(spec);
    return await this.api.untilState(id, 'completed', withinMs);
  }

  /** Last lines of every process. */
  tail(): string {
    return [this.coordinator, ...this.workers].map((process) => process.tail()).join('\n');
  }

  /** Ends every process, whatever state it is in, and removes the data folder. May be called twice. */
  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  /** Stopped, or about to be. */
  get stopped(): boolean {
    return this.#stopping !== undefined;
  }

  async #stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => end(worker)));
    await end(this.coordinator);
    await this.valkey.stop();
    await this.#guard.stop();
    this.unfurnish?.();
    await rm(this.memoryDir, { recursive: true, force: true });
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

async function end(process: TestProcess): Promise<void> {
  if (!process.running) return;
  process.kill('SIGTERM');
  process.kill('SIGCONT');
  const timer = setTimeout(() => {
    if (process.running) process.kill('SIGKILL');
  }, stopMs);
  await process.ended;
  clearTimeout(timer);
}
