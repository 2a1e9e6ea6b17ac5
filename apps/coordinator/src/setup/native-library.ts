// Gets TensorFlow's native library and its C headers: from the pinned Python wheel, or from a folder the user names.
// Refuses to know how the addon is compiled. No Python runs once the wheel is there.
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { requireFreeBytes } from './disk.js';
import { dropDownload, fetchWheel, type DownloadOptions } from './download.js';
import { checkFolder, makeFolder, type Marker } from './marker.js';
import { nvidiaWheels, tensorflowWheels, type Flavour, type PinnedWheel } from './pinned-packages.js';
import type { Reporter } from './progress.js';
import { explainFileError, SetupError, systemCode } from './setup-error.js';
import { ArchiveError, extractZipEntry, readZipDirectory, type ZipEntry } from './zip-archive.js';

export interface NativeLibrary {
  /** Folder of the shared libraries. */
  readonly libraryDir: string;
  /** File names to link against. */
  readonly libraries: readonly string[];
  /** Folder that holds `tensorflow/c/c_api.h`. */
  readonly includeDir: string;
  readonly flavour: Flavour | 'given';
  /** Changes whenever another library lies there; part of the addon's key. */
  readonly identity: string;
}

export interface NativeLibraryOptions extends DownloadOptions {
  readonly tensorflowDir?: string | undefined;
  readonly flavour: Flavour;
}

const headerFolders = ['tensorflow/c/', 'tensorflow/core/platform/ctstring', 'tsl/platform/ctstring', 'xla/tsl/c/'];
const libraryNames = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];
/** Room that each flavour takes once unpacked, with the wheels that lie beside it meanwhile; bytes. */
const roomBytes: Readonly<Record<Flavour, number>> = { cpu: 1.2e9, cuda: 9e9 };

/**
 * The flavour to use: the one asked for, else the one that was asked for last (CUDA's runs on a machine without a device as
 * well), else the CPU's.
 */
export async function chooseFlavour(cacheDir: string, asked: Flavour | undefined): Promise<Flavour> {
  if (asked !== undefined) return asked;
  try {
    return (await readFile(choiceFile(cacheDir), 'utf8')).trim() === 'cuda' ? 'cuda' : 'cpu';
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 'cpu';
    throw explainFileError(error, cacheDir);
  }
}

/** Remembers which flavour was asked for, for whoever does not say: `up`, tests, the doctor. */
export async function rememberFlavour(cacheDir: string, asked: Flavour | undefined): Promise<void> {
  if (asked === undefined || (await chooseFlavour(cacheDir, undefined)) === asked) return;
  await writeFile(choiceFile(cacheDir), `${asked}\n`);
}

const choiceFile = (cacheDir: string): string => join(resolve(cacheDir), 'flavour');

/** The library where it is ready for use, without fetching anything; undefined where something is missing. */
export async function findNativeLibrary(
  options: Pick<NativeLibraryOptions, 'cacheDir' | 'tensorflowDir' | 'flavour'>,
): Promise<NativeLibrary | undefined> {
  if (options.tensorflowDir !== undefined) return await inspectGivenFolder(options.tensorflowDir);
  const folder = cacheFolder(options);
  const marker = await checkFolder(folder, originOf(options.flavour));
  return marker === undefined ? undefined : describe(folder, options.flavour, marker);
}

/** The library, fetched and unpacked where it is not there yet. The caller holds the cache's lock. */
export async function ensureNativeLibrary(options: NativeLibraryOptions): Promise<NativeLibrary> {
  const found = await findNativeLibrary(options);
  if (found !== undefined) return found;
  const folder = cacheFolder(options);
  const { flavour, report } = options;
  const wheels = wheelsOf(flavour);
  requireLinuxX64();
  if (!options.offline) await requireFreeBytes(options.cacheDir, roomBytes[flavour], 'TensorFlow');
  report.say(`TensorFlow (${flavour}) is not in the cache yet; it goes to ${folder}.`);
  const archives: string[] = [];
  const marker = await makeFolder(folder, originOf(flavour), async (draft) => {
    const files: { path: string; sha256: string }[] = [];
    for (const wheel of wheels) {
      const archive = await fetchWheel(wheel, options);
      archives.push(archive);
      files.push(...(await unpackWheel(archive, draft, report)));
    }
    return files;
  });
  for (const archive of archives) await dropDownload(archive);
  return describe(folder, flavour, marker);
}

/** Where a file of a TensorFlow or NVIDIA wheel goes, below the library's folder; undefined: not needed. */
export function placeOf(name: string): string | undefined {
  const library = libraryNames.find((file) => name === `tensorflow/${file}`);
  if (library !== undefined) return `lib/${library}`;
  const header = /^tensorflow\/(include\/(.+\.h))$/.exec(name);
  if (header?.[1] !== undefined && header[2] !== undefined) {
    const below = header[2];
    return headerFolders.some((prefix) => below.startsWith(prefix)) ? header[1] : undefined;
  }
  // TensorFlow's libraries look for NVIDIA's in ../nvidia/*/lib from where they lie, as wheels install them.
  return /^nvidia\/[^/]+\/(lib|bin|nvvm)\/./.test(name) ? name : undefined;
}

async function unpackWheel(
  archive: string,
  draft: string,
  report: Reporter,
): Promise<{ path: string; sha256: string }[]> {
  const label = `Unpacking ${basename(archive).split('-', 2).join(' ')}`;
  try {
    const wanted: [ZipEntry, string][] = [];
    for (const entry of await readZipDirectory(archive)) {
      const place = placeOf(entry.name);
      if (place !== undefined) wanted.push([entry, place]);
    }
    const total = wanted.reduce((sum, [entry]) => sum + entry.bytes, 0);
    let done = 0;
    const files: { path: string; sha256: string }[] = [];
    for (const [entry, path] of wanted) {
      const sha256 = await extractZipEntry(archive, entry, join(draft, path), (bytes) => {
        report.progress(label, (done += bytes), total);
      });
      files.push({ path, sha256 });
    }
    return files;
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    await dropDownload(archive);
    throw new SetupError(`${error.message}.`, 'It was removed; try again to fetch it anew.', { cause: error });
  } finally {
    report.finish();
  }
}

function wheelsOf(flavour: Flavour): readonly PinnedWheel[] {
  return flavour === 'cpu' ? [tensorflowWheels.cpu] : [tensorflowWheels.cuda, ...nvidiaWheels];
}

function originOf(flavour: Flavour): string {
  return wheelsOf(flavour)
    .map((wheel) => `${wheel.file} ${wheel.sha256}`)
    .join('; ');
}

function cacheFolder({ cacheDir, flavour }: { readonly cacheDir: string; readonly flavour: Flavour }): string {
  return join(resolve(cacheDir), `tensorflow-${tensorflowWheels[flavour].version}-${flavour}`);
}

function describe(folder: string, flavour: Flavour, marker: Marker): NativeLibrary {
  return {
    libraryDir: join(folder, 'lib'),
    libraries: libraryNames,
    includeDir: join(folder, 'include'),
    flavour,
    identity: marker.origin,
  };
}

/**
 * Finds library and headers in an installed Python `tensorflow` folder (libraries at its top) or in an unpacked C archive
 * (libraries in `lib`, `libtensorflow.so.2`). Throws a `SetupError` where either is missing.
 */
async function inspectGivenFolder(given: string): Promise<NativeLibrary> {
  const folder = resolve(given);
  const includeDir = join(folder, 'include');
  if (!(await exists(join(includeDir, 'tensorflow/c/eager/c_api.h')))) {
    throw new SetupError(
      `LOCKSTEP_TENSORFLOW_DIR (${folder}) holds no include/tensorflow/c/eager/c_api.h.`,
      "Point it at an installed Python package's `tensorflow` folder or at an unpacked libtensorflow C archive.",
    );
  }
  for (const libraryDir of [folder, join(folder, 'lib')]) {
    const present = new Set(await namesIn(libraryDir));
    for (const main of ['libtensorflow_cc.so.2', 'libtensorflow.so.2']) {
      const libraries = [main, 'libtensorflow_framework.so.2'];
      if (!libraries.every((name) => present.has(name))) continue;
      const sizes = await Promise.all(libraries.map(async (name) => await stat(join(libraryDir, name))));
      const identity = sizes.map(({ size, mtimeMs }, i) => `${libraries[i]} ${size} ${Math.trunc(mtimeMs)}`).join('; ');
      return { libraryDir, libraries, includeDir, flavour: 'given', identity };
    }
  }
  throw new SetupError(
    `LOCKSTEP_TENSORFLOW_DIR (${folder}) holds neither libtensorflow_cc.so.2 nor libtensorflow.so.2 with libtensorflow_framework.so.2.`,
    "Point it at an installed Python package's `tensorflow` folder or at an unpacked libtensorflow C archive.",
  );
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return false;
    throw error;
  }
}

function requireLinuxX64(): void {
  if (process.platform === 'linux' && process.arch === 'x64' && isGlibc()) return;
  throw new SetupError(
    `There is no pinned TensorFlow for ${process.platform} on ${process.arch}${isGlibc() ? '' : ' without glibc'}.`,
    'Use Linux on x86-64 with glibc, or set LOCKSTEP_TENSORFLOW_DIR to a TensorFlow for this machine.',
  );
}

function isGlibc(): boolean {
  const report = process.report.getReport();
  return (
    typeof report === 'object' && 'header' in report && JSON.stringify(report.header).includes('"glibcVersionRuntime"')
  );
}
