// Looks at everything that Lockstep needs on this machine and says for each what is there and what to do.
// Refuses to change anything: what is missing is `setup`'s to get.
import { access, constants, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { release } from 'node:os';
import { dirname, resolve } from 'node:path';
import { Redis } from 'ioredis';
import { describeBfloat16 } from '#model/precision.js';
import { inspectAddon, probeAddon } from './addon.js';
import { listCudaDevices, readCpu } from './cpu.js';
import { freeBytes } from './disk.js';
import { findPip } from './download.js';
import { lockHolder } from './lock.js';
import { chooseFlavour, findNativeLibrary, type NativeLibrary } from './native-library.js';
import type { Flavour } from './pinned-packages.js';
import { formatBytes } from './progress.js';
import { askCoordinator } from './running-coordinator.js';
import { SetupError, systemCode } from './setup-error.js';
import { findProgram, inheritedEnvironment, runCommand, type Environment } from './subprocess.js';
import { findValkey } from './valkey-binary.js';

export interface DoctorOptions {
  readonly cacheDir: string;
  readonly dataDir: string;
  readonly tensorflowDir?: string | undefined;
  readonly flavour?: Flavour | undefined;
  readonly redisUrl?: string | undefined;
  readonly httpHost: string;
  readonly httpPort: number;
  readonly grpcHost: string;
  readonly grpcPort: number;
  /** Slices: as many gRPC ports follow `grpcPort`. */
  readonly reducers: number;
  /** Certificates, where the coordinator has them. */
  readonly tls?: object | undefined;
  readonly environment?: Environment;
  readonly packageDir?: string | undefined;
}

export interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What to do; null where all is well. */
  readonly remedy: string | null;
}

/** Purpose of the lock that one `up` holds on its data folder. */
export const dataFolderLock = 'up';

const libraryRoomBytes = 1.5e9;
const dataRoomBytes = 1e9;

/** One finding per thing, in the order in which a person would repair them. Never throws for what it finds. */
export async function runDoctor(options: DoctorOptions): Promise<Finding[]> {
  const environment = options.environment ?? inheritedEnvironment;
  const library = await examine('TensorFlow library', async () => await lookAtLibrary(options));
  return [
    checkNode(process.versions.node),
    await finding('C++ compiler', async () => await checkCompiler(environment)),
    await finding('pip', async () => (await findPip(environment)).join(' ')),
    library.finding,
    await finding('native addon', async () => await checkAddon(library.value, options.packageDir, environment)),
    await finding('device', async () => await describeDevice(library.value, environment)),
    await finding('Redis', async () => await checkRedis(options, environment)),
    ...(await checkPorts(options)),
    await finding('disk', async () => await checkDisk(options, library.value !== undefined)),
    await finding('data folder', async () => await checkDataFolder(options.dataDir)),
  ];
}

/** Whether Lockstep runs on a Node of this version: 20.19, 22.12 and 24 or newer. */
export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const ok = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major >= 24;
  return { name: 'Node', ok, detail: version, remedy: ok ? null : 'Install Node 20.19, 22.12, 24 or newer.' };
}

async function checkCompiler(environment: Environment): Promise<string> {
  const compiler = await findProgram(['g++', 'c++', 'clang++'], environment);
  if (compiler === undefined) {
    throw new SetupError('There is no C++ compiler on the search path.', 'Install g++ (Debian: apt-get install g++).');
  }
  const result = await runCommand(compiler, ['--version'], { environment, timeoutMs: 10_000 });
  return `${compiler}: ${result.stdout.split('\n')[0]}`;
}

async function lookAtLibrary(options: DoctorOptions): Promise<[NativeLibrary, string]> {
  const { cacheDir, tensorflowDir } = options;
  const flavour = await chooseFlavour(cacheDir, options.flavour);
  const library = await findNativeLibrary({ cacheDir, tensorflowDir, flavour });
  if (library === undefined) throw new SetupError(`It is not in the cache (${cacheDir}).`, 'Run `npx lockstep setup`.');
  return [library, `${library.flavour}, in ${library.libraryDir}`];
}

async function checkAddon(
  library: NativeLibrary | undefined,
  packageDir: string | undefined,
  environment: Environment,
): Promise<string> {
  if (library === undefined) throw new SetupError('Its TensorFlow library is missing.', 'Run `npx lockstep setup`.');
  const state = await inspectAddon(library, packageDir);
  switch (state.kind) {
    case 'good':
      return `TensorFlow ${await probeAddon(state.addon.path, environment)} answers, ${state.addon.path}`;
    case 'missing':
      throw new SetupError(`${state.path} is missing.`, 'Run `npx lockstep setup`.');
    case 'foreign':
      throw new SetupError(`${state.path} was not made by Lockstep.`, 'Run `npx lockstep setup` to replace it.');
    case 'out-of-date':
      throw new SetupError(
        `${state.path} belongs to another TensorFlow or release.`,
        'Run `npx lockstep setup` to replace it.',
      );
  }
}

async function describeDevice(library: NativeLibrary | undefined, environment: Environment): Promise<string> {
  const cpu = await readCpu();
  const known = cpu.instructionSets.length > 0;
  const bfloat16 = known ? describeBfloat16(cpu.instructionSets) : 'whether it computes in bfloat16 is not known';
  const cuda = await listCudaDevices(environment);
  const devices = cuda.length > 0 ? `; NVIDIA: ${cuda.join(', ')}${cudaUse(library)}` : noDevice(library);
  return `${cpu.model} (${cpu.instructionSets.join(' ')}), ${bfloat16}${devices}; Linux ${release()}`;
}

function cudaUse(library: NativeLibrary | undefined): string {
  return library?.flavour === 'cpu'
    ? ' (not used: the TensorFlow in the cache is for CPUs; `npx lockstep setup --cuda`)'
    : '';
}

function noDevice(library: NativeLibrary | undefined): string {
  return library?.flavour === 'cuda' ? '; no NVIDIA device answers, so that the CPU computes' : '';
}

async function checkRedis(options: DoctorOptions, environment: Environment): Promise<string> {
  if (options.redisUrl !== undefined) return await askRedis(options.redisUrl);
  const binary = await findValkey({ cacheDir: options.cacheDir, environment });
  if (binary === undefined) {
    throw new SetupError(
      'REDIS_URL is not set and there is no Valkey or Redis (6.2 or newer) on the search path or in the cache.',
      'Run `npx lockstep setup`.',
    );
  }
  return `${binary.path} ${binary.version}, started by \`npx lockstep up\``;
}

async function askRedis(url: string): Promise<string> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 5000,
    commandTimeout: 5000,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  });
  let reason = 'it cannot be reached';
  redis.on('error', (error: Error) => (reason = error.message));
  try {
    await redis.connect();
    const info = await redis.info();
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? 'unknown';
    const version = (/^valkey_version:(\S+)/m.exec(info) ?? /^redis_version:(\S+)/m.exec(info))?.[1] ?? 'unknown';
    if (policy !== 'noeviction') {
      throw new SetupError(
        `The Redis that REDIS_URL names may drop queue entries: its maxmemory-policy is ${policy}.`,
        'Set maxmemory-policy to noeviction there.',
      );
    }
    return `version ${version} answers at the place that REDIS_URL names`;
  } catch (error) {
    if (error instanceof SetupError) throw error;
    // The URL may hold a password, so it is not shown.
    throw new SetupError(
      `The Redis that REDIS_URL names does not answer: ${reason}.`,
      'Start it, or unset REDIS_URL.',
      {
        cause: error,
      },
    );
  } finally {
    redis.disconnect();
  }
}

/** What a Lockstep that runs here holds is as it should be: whoever asks twice wants to know the rest. */
async function checkPorts(options: DoctorOptions): Promise<Finding[]> {
  const { httpHost, httpPort, grpcHost, grpcPort, reducers } = options;
  let runsHere = false;
  const http = await finding('HTTP port', async () => {
    const place = `${httpHost}:${httpPort}`;
    const problem = await tryToListen(httpHost, httpPort);
    if (problem === undefined) return `${place} is free`;
    const state = problem === inUse && (await askCoordinator(httpHost, httpPort, options.tls !== undefined));
    if (state === 'ready' || state === 'not ready') {
      runsHere = true;
      return `${place}: a Lockstep coordinator answers there${state === 'ready' ? '' : ', and is not ready'}`;
    }
    throw new SetupError(
      problem === inUse ? `${place} is in use by another program.` : `${place} cannot be used (${problem}).`,
      'End what uses it, or take another: `npx lockstep up --http-port 9000`, or LOCKSTEP_HTTP_PORT.',
    );
  });
  const grpc = Array.from({ length: reducers + 1 }, async (_, i) => {
    const place = `${grpcHost}:${grpcPort + i}`;
    return await finding(i === 0 ? 'gRPC port' : `gRPC port of slice ${i - 1}`, async () => {
      const problem = await tryToListen(grpcHost, grpcPort + i);
      if (problem === undefined) return `${place} is free`;
      if (problem === inUse && runsHere) return `${place} is in use, as a Lockstep runs here`;
      throw new SetupError(`${place} cannot be used (${problem}).`, 'End what uses it, or set LOCKSTEP_GRPC_PORT.');
    });
  });
  return [http, ...(await Promise.all(grpc))];
}

const inUse = 'EADDRINUSE';

async function tryToListen(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return await new Promise((settle) => {
    server.once('error', (error) => settle(systemCode(error) ?? error.message));
    server.listen(port, host, () => server.close(() => settle(undefined)));
  });
}

async function checkDisk(options: DoctorOptions, hasLibrary: boolean): Promise<string> {
  const needed = hasLibrary ? 0 : libraryRoomBytes;
  const cache = await freeBytes(await nearestFolder(options.cacheDir));
  const data = await freeBytes(await nearestFolder(options.dataDir));
  if (cache < needed || data < dataRoomBytes) {
    throw new SetupError(
      `${formatBytes(cache)} free for the cache, ${formatBytes(data)} for the data folder.`,
      `Free some space: ${formatBytes(needed)} and ${formatBytes(dataRoomBytes)} are needed.`,
    );
  }
  return `${formatBytes(cache)} free for the cache, ${formatBytes(data)} for the data folder`;
}

async function checkDataFolder(dataDir: string): Promise<string> {
  const folder = resolve(dataDir);
  const nearest = await nearestFolder(folder);
  try {
    await access(nearest, constants.W_OK);
  } catch (error) {
    throw new SetupError(`${nearest} is not writable.`, 'Make it writable, or set LOCKSTEP_DATA_DIR.', {
      cause: error,
    });
  }
  if (nearest !== folder) return `${folder} will be made`;
  const holder = await lockHolder(folder, dataFolderLock);
  return holder === undefined ? `${folder} is writable` : `${folder} is in use by process ${holder}`;
}

/** The folder, or the nearest one above it that exists. */
async function nearestFolder(path: string): Promise<string> {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    try {
      if ((await stat(folder)).isDirectory() || folder === dirname(folder)) return folder;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'ENOTDIR') throw error;
    }
  }
}

async function finding(name: string, check: () => Promise<string>): Promise<Finding> {
  return (await examine(name, async () => [undefined, await check()])).finding;
}

/** Runs a check that gives a value and a detail; a failure becomes a finding with its remedy. */
async function examine<T>(
  name: string,
  check: () => Promise<readonly [T, string]>,
): Promise<{ readonly finding: Finding; readonly value?: T }> {
  try {
    const [value, detail] = await check();
    return { finding: { name, ok: true, detail, remedy: null }, value };
  } catch (error) {
    if (error instanceof SetupError) {
      return { finding: { name, ok: false, detail: error.problem, remedy: error.remedy } };
    }
    const detail = error instanceof Error ? error.message : String(error);
    return { finding: { name, ok: false, detail, remedy: 'This was not expected: please report it.' } };
  }
}
