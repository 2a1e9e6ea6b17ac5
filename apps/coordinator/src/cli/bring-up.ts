// Turns settings into a running system on this machine: lock, set-up, Valkey, coordinator, workers.
// Refuses to know what is trained on it and how processes are kept alive.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { bracketed, httpUrl, isWildcard } from '../addresses.js';
import type { CoordinatorConfig } from '../config.js';
import type { Lock } from '../setup/lock.js';
import type { QueueServer } from '../setup/setup.js';
import { coordinatorEnvironment, workerEnvironment } from './child-environment.js';
import { lockDataFolder } from './data-folder.js';
import { coordinatorEntry, workerEntry } from './entries.js';
import { CommandFailed } from './exit.js';
import { KeptValkey } from './kept-valkey.js';
import { type LocalOptions, type LocalSettings, wantedSettings, withFreePorts } from './local-settings.js';
import { LocalSystem, SystemFailed } from './supervision/local-system.js';
import type { ProcessSpec } from './supervision/supervised-process.js';

export interface BringUpOptions extends LocalOptions {
  /** @default one per core, at most 4 */
  readonly workers?: number | undefined;
  /** Shows every line that the processes write. */
  readonly verbose: boolean;
  readonly say: (line: string) => void;
  /** Fetches and builds what is missing. Called when lock and ports are fine, as it may take minutes. */
  readonly prepare: (config: CoordinatorConfig) => Promise<QueueServer>;
}

export interface RunningSystem {
  readonly config: CoordinatorConfig;
  readonly baseUrl: string;
  /** Of the queue that coordinator and workers share. */
  readonly redisUrl: string;
  readonly workerCount: number;
  /** Rejects when the system cannot go on. */
  readonly failure: Promise<never>;
  /** In order, within the grace periods; then the data folder is free again. */
  stop(): Promise<void>;
}

const MOST_WORKERS_BY_DEFAULT = 4;

/**
 * Resolves when the coordinator is ready; undefined when `signal` aborted before, and everything is stopped again.
 * Throws `ConfigError`, `CommandFailed` and what `prepare` throws.
 */
export async function bringUp(options: BringUpOptions, signal: AbortSignal): Promise<RunningSystem | undefined> {
  const wanted = wantedSettings(options);
  // Before the ports: whoever starts the same thing twice is told so, and not that a port is taken.
  const lock = await lockDataFolder(wanted.config.dataDir);
  try {
    const settings = await withFreePorts(wanted, options.anyHttpPort === true);
    const queue = await options.prepare(settings.config);
    const running = signal.aborted ? undefined : await start(options, settings, queue, lock, signal);
    if (running === undefined) {
      await lock.release();
    }
    return running;
  } catch (error) {
    await lock.release();
    throw error instanceof SystemFailed ? new CommandFailed(error.message, { cause: error }) : error;
  }
}

async function start(
  options: BringUpOptions,
  settings: LocalSettings,
  queue: QueueServer,
  lock: Lock,
  signal: AbortSignal,
): Promise<RunningSystem | undefined> {
  const { config } = settings;
  const workerCount = options.workers ?? Math.min(MOST_WORKERS_BY_DEFAULT, availableParallelism());
  const baseUrl = httpUrl(config.tls !== undefined, config.httpHost, config.httpPort);
  const valkey =
    queue.kind === 'binary'
      ? await KeptValkey.create({ binary: queue.binary.path, dataDir: config.dataDir, say: options.say })
      : undefined;
  const redisUrl = queue.kind === 'running' ? queue.url : (valkey?.url ?? '');
  const system = new LocalSystem({
    valkey,
    ...processes(settings, redisUrl, workerCount),
    baseUrl,
    logFolder: join(config.dataDir, 'logs'),
    graceMs: config.graceMs,
    say: options.say,
    verbose: options.verbose,
  });
  const stopEarly = (): void => void system.stop();
  signal.addEventListener('abort', stopEarly, { once: true });
  try {
    if (await system.start()) {
      const stop = async (): Promise<void> => {
        await system.stop();
        await lock.release();
      };
      return { config, baseUrl, redisUrl, workerCount, failure: system.failure, stop };
    }
  } catch (error) {
    await system.stop();
    throw error;
  } finally {
    signal.removeEventListener('abort', stopEarly);
  }
  await system.stop();
  return undefined;
}

function processes(
  { environment, config }: LocalSettings,
  redisUrl: string,
  workerCount: number,
): { coordinator: ProcessSpec; workers: ProcessSpec[] } {
  const node = (name: string, entry: string, childEnvironment: NodeJS.ProcessEnv): ProcessSpec => ({
    name,
    command: process.execPath,
    args: [entry],
    environment: childEnvironment,
    channel: true,
  });
  const control = `${callable(config.grpcHost)}:${config.grpcPort}`;
  return {
    coordinator: node('coordinator', coordinatorEntry, coordinatorEnvironment(environment, redisUrl)),
    workers: Array.from({ length: workerCount }, (_, index) =>
      node(`worker ${index + 1}`, workerEntry, workerEnvironment(environment, control, redisUrl)),
    ),
  };
}

/** A wildcard is an address to listen at, not one to call. */
function callable(host: string): string {
  return bracketed(isWildcard(host) ? 'localhost' : host);
}
