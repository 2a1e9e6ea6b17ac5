// The worker process: settings, the compute thread, signals, exit codes.
// Refuses to know what is computed and how tasks arrive.
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { pino } from 'pino';
import { imageLibrary } from '#model/images/image-library.js';
import { clientCredentials } from '#proto/channel.js';
import { installHttp2Settings } from '#proto/http2-settings.js';
import { linkToParent } from '#proto/parent-link.js';
import { coordinatorGet } from './coordinator-get.js';
import { ComputeClient } from './compute-client.js';
import { ConfigError, kernelFlags, loadConfig, tensorflowEnvironment, type WorkerConfig } from './config.js';
import { ImagePool } from './image-pool.js';
import { ComputeHangs } from './let-go.js';
import { numericsClassOf } from './numerics-class.js';
import { lockstepVersion } from './package-version.js';
import { exitWithInput } from './parent-watch.js';
import { TaskQueue } from './queue.js';
import { messageOf } from './withdrawal.js';
import { PoolWorker } from './worker.js';

/** Of the gRPC services; the coordinator turns away a worker that speaks another one. */
const protocolVersion = 2;
const computeStopMs = 500;
/** Part of the grace period that is kept for saying goodbye. */
const farewellMs = 500;

process.title = 'lockstep-worker';
const parent = linkToParent();
try {
  await main(loadConfig(process.env));
} catch (error) {
  // A person reads this one, before there is a log.
  process.stderr.write(`${messageOf(error)}\n`);
  // `process.exit` waits for the other threads, and one that hangs in a kernel cannot be stopped.
  if (error instanceof ComputeHangs) process.kill(process.pid, 'SIGKILL');
  // A supervisor need not try again with the same settings.
  process.exit(error instanceof ConfigError ? 2 : 1);
}

async function main(config: WorkerConfig): Promise<void> {
  const log = pino({ level: config.logLevel, base: { name: config.name, pid: process.pid } });
  if (config.exitWithParent) exitWithInput();
  // TensorFlow reads these from the process's environment, which only the main thread can write to.
  Object.assign(process.env, tensorflowEnvironment(config.threads));
  installHttp2Settings();
  const pem = config.tls && pemFiles(config.tls);
  const credentials = clientCredentials(pem);
  const { client: compute, facts } = await ComputeClient.start();
  const images = new ImagePool({
    threads: config.imageThreads,
    cacheBytes: config.imageCacheBytes,
    // A context of TensorFlow for each thread would be one on the GPU.
    jpegKernel: facts.deviceKind === 'cpu',
  });
  const worker = new PoolWorker({
    coordinator: config.coordinator,
    access: { credentials, token: config.token },
    openQueue: (queue) => new TaskQueue({ ...queue, redisUrl: config.redisUrl, log }),
    introduction: {
      protocolVersion,
      lockstepVersion: lockstepVersion(),
      name: config.name,
      numericsClass: numericsClassOf(facts, kernelFlags, config.threads, imageLibrary()),
      memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Infinity),
      pid: process.pid,
    },
    compute,
    images,
    datasets: { access: config.datasetAccess, get: coordinatorGet(config.token, pem) },
    log,
  });
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signals += 1;
    if (signals > 1) process.exit(1);
    log.info({ signal }, 'stopping');
    worker.stop(Math.max(0, config.graceMs - farewellMs));
  };
  process.on('SIGTERM', onSignal);
  // Ctrl-C reaches the whole process group; a parent that supervises stops its children in order.
  if (!parent.supervised) process.on('SIGINT', onSignal);
  const running = worker.run();
  const died = compute.ended.then((error) => Promise.reject(error));
  const end = await Promise.race([running, died]);
  died.catch(() => undefined);
  if (end === 'drained') parent.tell('drained');
  await compute.stop(computeStopMs);
  log.info('stopped');
  process.exit(0);
}

function pemFiles({ ca, cert, key }: NonNullable<WorkerConfig['tls']>) {
  const read = (variable: string, path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new ConfigError(`The worker cannot start: the file of ${variable} cannot be read.`, { cause: error });
    }
  };
  return {
    ca: read('LOCKSTEP_TLS_CA', ca),
    certificate: cert === undefined ? undefined : read('LOCKSTEP_TLS_CERT', cert),
    privateKey: key === undefined ? undefined : read('LOCKSTEP_TLS_KEY', key),
  };
}
