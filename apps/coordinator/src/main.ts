// The coordinator process: reads the settings, starts everything in order, stops it in the opposite order.
// Refuses to know what the parts do.
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { SharedMemory } from '#proto/generated/lockstep/v1/pool.js';
import { SpanRing } from '#proto/span-ring.js';
import { linkToParent, type ParentLink } from '#proto/parent-link.js';
import { bracketed } from './addresses.js';
import { CheckpointStore } from './checkpoints/checkpoint-store.js';
import { ConfigError, type CoordinatorConfig, loadConfig, type TlsFiles } from './config.js';
import { LockstepError, UnavailableError } from './errors.js';
import { closeHttp, createHttpApplication, listenHttp } from './http/application.js';
import { createQueueBoard } from './http/queue-board.js';
import { DatasetIndexing } from './jobs/dataset-indexing.js';
import { DatasetLocations } from './jobs/dataset-locations.js';
import { fetchCifar10 } from './jobs/fetch-cifar10.js';
import { JobService } from './jobs/job-service.js';
import { JobStore } from './jobs/job-store.js';
import { createLogger, type Logger } from './log.js';
import { ControlServer } from './rpc/control-server.js';
import { createPoolService } from './rpc/pool-service.js';
import { findCifar10 } from './setup/cifar10.js';
import { EventHub } from './telemetry/event-hub.js';
import { WorkerEvents } from './telemetry/worker-events.js';
import { QueueConnection } from './training/queue-connection.js';
import { RunningJobs } from './training/running-jobs.js';
import { SlicePool } from './training/slices/slice-pool.js';
import { SharedFolder } from './shared-folder.js';
import { KernelTrials } from './workers/kernel-trials.js';
import { SpanRequests } from './workers/span-requests.js';
import { WorkerRegistry } from './workers/worker-registry.js';

const localRedisUrl = 'redis://127.0.0.1:6379';
const redisWithinMs = 10_000;
/** Sooner than the readiness check gives up, so that its answer names who is silent. */
const redisSilentMs = 1_000;

process.title = 'lockstep-coordinator';
const parent = linkToParent();
try {
  await main(loadConfig(process.env), parent);
} catch (error) {
  // A person reads this one: what can be mended is said in a sentence, a defect with its stack.
  const known = error instanceof LockstepError || error instanceof ConfigError;
  process.stderr.write(`${known ? error.message : (error as Error).stack}\n`);
  // A supervisor need not try again with the same settings.
  process.exit(error instanceof ConfigError ? 2 : 1);
}

async function main(config: CoordinatorConfig, link: ParentLink): Promise<void> {
  const log = createLogger(config.logLevel);
  const version = packageVersion();
  const store = openStore(config.dataDir);
  const redis = new QueueConnection(config.redisUrl ?? localRedisUrl, config.queuePrefix, log);
  const redisProblem = await redis.ready(redisWithinMs);
  if (redisProblem !== undefined) throw new UnavailableError(redisProblem);

  const tls = config.tls && pemFiles(config.tls);
  const sharedFolder = await openSharedFolder(config, log);
  const slices = await startSlices(config, tls, sharedFolder?.announcement.folder);
  // Crash-only: the next start goes on from the newest checkpoint.
  const crash = (error: Error): void => {
    log.fatal({ err: error }, 'The coordinator cannot go on.');
    process.exit(1);
  };
  slices.onCrash = crash;
  process.on('unhandledRejection', (reason) => crash(reason instanceof Error ? reason : new Error(String(reason))));
  const registry = new WorkerRegistry();
  const running = new RunningJobs(registry, slices);
  const spans = new SpanRing();
  const spanRequests = new SpanRequests(registry);
  const kernelTrials = new KernelTrials(registry);
  slices.onSpans = (recorded) => recorded.forEach((span) => spans.record(span));
  const hub = new EventHub();
  // eslint-disable-next-line no-new -- it lives by listening
  registry.listen(new WorkerEvents(registry, hub));
  if (sharedFolder !== undefined) registry.listen(sharedFolder);
  const checkpoints = new CheckpointStore(crash);
  const jobs = new JobService({
    maxRunningJobs: config.maxRunningJobs,
    onDefect: crash,
    spanRequests,
    services: {
      store,
      datasets: new DatasetLocations({
        dataDir: config.dataDir,
        cacheDir: config.cacheDir,
        access: config.datasetAccess,
        indexing: new DatasetIndexing(),
        findCifar10: () => findCifar10(config.cacheDir),
        fetchCifar10: () => fetchCifar10(config.cacheDir),
      }),
      datasetAccess: config.datasetAccess,
      slices,
      queueOf: (classId) => (classId === null ? redis.queueOfAll(() => classesOf(registry)) : redis.queueOf(classId)),
      stagingBytes: Math.floor(config.stagingBytes / config.maxRunningJobs),
      memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
      workers: registry,
      kernelTrials,
      running,
      checkpoints,
      spans,
      hub,
      log,
      versions: { lockstep: version, node: process.versions.node },
    },
  });

  const sharedMemory = sharedFolder?.announcement;
  const control = await startControl(config, tls, {
    registry,
    running,
    slices,
    spanRequests,
    kernelTrials,
    sharedMemory,
    log,
  });
  const board = config.bullBoard ? createQueueBoard() : undefined;
  redis.onQueue = (queue) => board?.add(queue);
  const http = await createHttpApplication(config, {
    queueBoard: board?.router,
    jobs,
    workers: registry,
    readiness: { problems: () => redisProblems(redis) },
    events: hub,
    logger: log,
    version,
    dashboardDir: fileURLToPath(new URL('../../../dashboard', import.meta.url)),
  });
  jobs.start();
  const url = await listenHttp(http, config);
  log.info({ url, grpc: control.port, slices: slices.ports }, `Lockstep ${version} answers at ${url}.`);
  link.tell('ready');

  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info('Stopping: open steps are abandoned, checkpoints are written.');
    setTimeout(() => {
      log.error('Stopping took too long; what is not on the disk yet is computed again at the next start.');
      process.exit(1);
    }, config.graceMs + 2000).unref();
    await jobs.stop();
    hub.close();
    await closeHttp(http, Math.min(2000, config.graceMs));
    control.stop();
    await slices.stop();
    await sharedFolder?.remove();
    await checkpoints.stop();
    await redis.close();
    process.exit(0);
  };
  process.on('SIGTERM', () => void stop());
  if (!link.supervised) process.on('SIGINT', () => void stop());
}

function classesOf(registry: WorkerRegistry): string[] {
  return [...new Set(registry.connected().map(({ classId }) => classId))];
}

async function redisProblems(redis: QueueConnection): Promise<string[]> {
  const silent = sleep(redisSilentMs, `Redis has not answered for ${redisSilentMs} ms (REDIS_URL).`, { ref: false });
  const problem = await Promise.race([redis.problem(), silent]);
  return problem === undefined ? [] : [problem];
}

function openStore(dataDir: string): JobStore {
  try {
    return new JobStore(dataDir);
  } catch (error) {
    const sentence = `The data folder ${dataDir} (LOCKSTEP_DATA_DIR) cannot be used: ${(error as Error).message}`;
    throw new UnavailableError(sentence, { cause: error });
  }
}

interface Pem {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | undefined;
}

/** Undefined where there is no such memory: tensors go over the network then. */
async function openSharedFolder(
  { sharedMemoryDir }: CoordinatorConfig,
  log: Logger,
): Promise<SharedFolder | undefined> {
  if (sharedMemoryDir === undefined) return undefined;
  try {
    return await SharedFolder.make(sharedMemoryDir);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    log.warn(
      { cause },
      'No memory is shared with workers on this host (LOCKSTEP_SHARED_MEMORY_DIR); tensors go over the network.',
    );
    return undefined;
  }
}

function startSlices(config: CoordinatorConfig, tls: Pem | undefined, sharedFolder?: string): Promise<SlicePool> {
  const options = {
    slices: config.reducers,
    host: config.grpcHost,
    firstPort: config.grpcPort === 0 ? 0 : config.grpcPort + 1,
    workerToken: config.workerToken,
    sharedFolder,
    tls,
  };
  return SlicePool.start(options).catch((error: Error) => {
    const { firstPort, slices } = options;
    const ports = slices === 1 ? `port ${firstPort}` : `ports ${firstPort} to ${firstPort + slices - 1}`;
    const cause = error.message.includes('EADDRINUSE') ? 'that is in use' : error.message;
    throw new UnavailableError(
      `The slices cannot listen on ${options.host}, ${ports}: ${cause}. Choose another LOCKSTEP_GRPC_PORT.`,
    );
  });
}

function startControl(
  config: CoordinatorConfig,
  tls: Pem | undefined,
  parts: {
    registry: WorkerRegistry;
    running: RunningJobs;
    slices: SlicePool;
    spanRequests: SpanRequests;
    kernelTrials: KernelTrials;
    sharedMemory: SharedMemory | undefined;
    log: Logger;
  },
): Promise<ControlServer> {
  const host = bracketed(config.advertisedHost);
  const pool = createPoolService({
    registry: parts.registry,
    jobs: parts.running,
    spanRequests: parts.spanRequests,
    kernelTrials: parts.kernelTrials,
    sharedMemory: parts.sharedMemory,
    datasetsUrl: `${config.advertisedUrl ?? defaultUrl(config, host)}/api/v1/datasets`,
    queuePrefix: config.queuePrefix,
    reducerAddresses: config.reducerAddresses ?? parts.slices.ports.map((port) => `${host}:${port}`),
    log: parts.log,
  });
  const pem = tls && {
    certificate: Buffer.from(tls.cert),
    privateKey: Buffer.from(tls.key),
    clientCa: tls.ca === undefined ? undefined : Buffer.from(tls.ca),
  };
  const { grpcHost, grpcPort, workerToken } = config;
  return ControlServer.start({ host: grpcHost, port: grpcPort, workerToken, tls: pem }, pool).catch((error: Error) => {
    const cause = error.message.includes('EADDRINUSE') ? 'it is in use' : error.message;
    throw new UnavailableError(
      `gRPC cannot listen on ${grpcHost}:${grpcPort}: ${cause}. Choose another LOCKSTEP_GRPC_PORT.`,
    );
  });
}

/** Where REST answers, as seen from other hosts. */
function defaultUrl({ tls, httpPort }: CoordinatorConfig, host: string): string {
  return `${tls === undefined ? 'http' : 'https'}://${host}:${httpPort}`;
}

function pemFiles({ cert, key, ca }: TlsFiles): Pem {
  const read = (path: string) => readFileSync(path, 'utf8');
  return { cert: read(cert), key: read(key), ca: ca === undefined ? undefined : read(ca) };
}

function packageVersion(): string {
  const path = join(fileURLToPath(new URL('../../../..', import.meta.url)), 'package.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
