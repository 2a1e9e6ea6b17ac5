// Owns: what the native addon is made of (the package's binding, our own kernels) and the compiler's part in making it.
// Refuses to know: where the addon goes and when it is out of date.
import { createHash, type Hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { NativeLibrary } from './native-library.js';
import { SetupError } from './setup-error.js';
import { lastLine, runCommand, type CommandResult, type Environment } from './subprocess.js';

/** No fused multiply-add: a number must not depend on which instruction set it was computed with. */
const flags = ['-std=c++17', '-O2', '-fPIC', '-ffp-contract=off', '-DNAPI_VERSION=8', '-w', '-Wno-psabi'];
/** Of the package's binding; our own binding.cc includes the rest of it. */
const packageSources = ['tfjs_backend.cc'];
const compileLimitMs = 10 * 60 * 1000;

/** Compiles and links the addon to `output`; what is made on the way goes beside it. Throws a `SetupError` where it fails. */
export async function buildAddon(
  compiler: string,
  library: NativeLibrary,
  packageDir: string,
  output: string,
  environment: Environment,
): Promise<void> {
  const folder = dirname(output);
  const settings = { environment: { ...environment, TMPDIR: folder }, timeoutMs: compileLimitMs };
  const includes = [library.includeDir, nodeHeadersDir(), join(packageDir, 'binding')].map((path) => `-I${path}`);
  const version = `-DLOCKSTEP_KERNELS_VERSION=${await kernelsVersion()}`;
  const pending = await sourcesOf(packageDir);
  const objects: string[] = [];
  const compileSome = async (): Promise<void> => {
    for (let source = pending.pop(); source !== undefined; source = pending.pop()) {
      const object = join(folder, `${basename(source, '.cc')}.o`);
      objects.push(object);
      check(await runCommand(compiler, [...flags, version, ...includes, '-c', source, '-o', object], settings));
    }
  };
  const check = (result: CommandResult): void => {
    if (result.code === 0) return;
    pending.length = 0; // no more are begun
    throw explainCompiler(compiler, result.stderr, folder);
  };
  const compiled = await Promise.allSettled(Array.from({ length: availableParallelism() }, compileSome));
  for (const end of compiled) if (end.status === 'rejected') throw end.reason;
  const libraries = library.libraries.map((name) => `-l:${name}`);
  const search = [`-L${library.libraryDir}`, `-Wl,-rpath,${library.libraryDir}`];
  check(
    await runCommand(
      compiler,
      ['-shared', '-pthread', ...objects.sort(), ...search, ...libraries, '-o', output],
      settings,
    ),
  );
}

/** Everything that decides what the compiled addon is: sources, headers of Node, flags, library and where it lies. */
export async function addonKey(library: NativeLibrary, packageDir: string): Promise<string> {
  const hash = createHash('sha256');
  await addFiles(hash, join(packageDir, 'binding'));
  await addFiles(hash, nativeDir());
  const headers = z
    .object({ version: z.string() })
    .parse(JSON.parse(await readFile(join(nodeHeadersDir(), '../package.json'), 'utf8')));
  hash.update(JSON.stringify([headers.version, flags, library.libraryDir, library.libraries, library.identity]));
  return hash.digest('hex').slice(0, 32);
}

/** A number that other kernels do not have: part of the class of workers whose gradients have the same bits. */
async function kernelsVersion(): Promise<number> {
  const hash = createHash('sha256').update(JSON.stringify(flags));
  await addFiles(hash, nativeDir());
  return hash.digest().readUInt32LE() >>> 1;
}

async function addFiles(hash: Hash, folder: string): Promise<void> {
  for (const name of (await readdir(folder)).sort()) hash.update(name).update(await readFile(join(folder, name)));
}

async function sourcesOf(packageDir: string): Promise<string[]> {
  const own = (await readdir(nativeDir())).filter((name) => name.endsWith('.cc')).sort();
  return [
    ...own.map((name) => join(nativeDir(), name)),
    ...packageSources.map((name) => join(packageDir, 'binding', name)),
  ];
}

/** Folder of our own kernels: beside this file's tree, or above `dist` in a built one. */
function nativeDir(): string {
  for (let folder = new URL('./', import.meta.url); folder.pathname !== '/'; folder = new URL('../', folder)) {
    const path = fileURLToPath(new URL('libs/model/native', folder));
    if (existsSync(join(path, 'op.cc'))) return path;
  }
  throw new SetupError('The sources of the kernels (libs/model/native) are missing.', 'Install Lockstep anew.');
}

function nodeHeadersDir(): string {
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve('node-api-headers/package.json')), 'include');
}

function explainCompiler(compiler: string, stderr: string, folder: string): SetupError {
  if (/No space left on device/i.test(stderr)) {
    return new SetupError(
      `The disk is full: the compiler could not write to ${folder}.`,
      'Free some space, or point LOCKSTEP_CACHE_DIR at a folder on another disk.',
    );
  }
  const reason = /error: (.+)/.exec(stderr)?.[1] ?? lastLine(stderr);
  return new SetupError(
    `${compiler} could not compile the native addon: ${reason}.`,
    'The compiler must know C++17 (g++ 8 or newer) and the C++ standard library headers must be installed.',
  );
}
