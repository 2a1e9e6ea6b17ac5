// Has the native addon of @tensorflow/tfjs-node-gpu, with our own kernels in it, compiled against our TensorFlow and puts it
// where the package looks. Refuses to know where the library came from. A stamp beside the addon tells ours from a foreign or
// outdated one.
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { addonKey, buildAddon } from './addon-build.js';
import { hashFile } from './marker.js';
import type { NativeLibrary } from './native-library.js';
import type { Reporter } from './progress.js';
import { explainFileError, SetupError, systemCode } from './setup-error.js';
import { findProgram, lastLine, runCommand, type Environment } from './subprocess.js';

export interface AddonOptions {
  readonly cacheDir: string;
  readonly report: Reporter;
  readonly environment: Environment;
  /** Folder of the installed package; found through Node's resolution by default. */
  readonly packageDir?: string | undefined;
}

export interface Addon {
  /** The addon inside the package. */
  readonly path: string;
  /** What TensorFlow calls itself, such as `2.21.0`. */
  readonly tensorflowVersion: string;
}

/** Whether the addon in the package is the one that belongs to a library, and if not why. */
export type AddonState =
  | { readonly kind: 'good'; readonly addon: Addon }
  | { readonly kind: 'missing' | 'foreign' | 'out-of-date'; readonly path: string };

const stampSchema = z.object({ key: z.string(), sha256: z.string(), tensorflowVersion: z.string() });

/** Looks at the addon in the package; compiles nothing. */
export async function inspectAddon(library: NativeLibrary, packageDir = findPackage()): Promise<AddonState> {
  const path = addonPath(packageDir);
  const sha256 = await hashIfThere(path);
  if (sha256 === undefined) return { kind: 'missing', path };
  const stamp = await readStamp(stampPath(path));
  if (stamp?.sha256 !== sha256) return { kind: 'foreign', path };
  if (stamp.key !== (await addonKey(library, packageDir))) return { kind: 'out-of-date', path };
  return { kind: 'good', addon: { path, tensorflowVersion: stamp.tensorflowVersion } };
}

/** The addon, taken from the cache or compiled where the package's is not the right one. The caller holds the cache's lock. */
export async function ensureAddon(library: NativeLibrary, options: AddonOptions): Promise<Addon> {
  const packageDir = options.packageDir ?? findPackage();
  const state = await inspectAddon(library, packageDir);
  if (state.kind === 'good') return state.addon;
  if (state.kind !== 'missing') {
    const reason = state.kind === 'foreign' ? 'was not made by Lockstep' : 'belongs to another TensorFlow or release';
    options.report.say(`The native addon at ${state.path} ${reason}; it is replaced.`);
  }
  const key = await addonKey(library, packageDir);
  const folder = join(resolve(options.cacheDir), 'addons', key);
  const cached = join(folder, 'tfjs_binding.node');
  const stamp = await readStamp(stampPath(cached));
  if (stamp?.key !== key || stamp.sha256 !== (await hashIfThere(cached))) {
    await compileInto(folder, key, library, packageDir, options);
  }
  return await install(cached, state.path);
}

/** Loads an addon in a process of its own and returns TensorFlow's version. Throws a `SetupError` where it does not load. */
export async function probeAddon(path: string, environment: Environment): Promise<string> {
  const script = 'process.stdout.write(require(process.argv[1]).TF_Version)';
  const result = await runCommand(process.execPath, ['-e', script, path], {
    environment: { ...environment, TF_CPP_MIN_LOG_LEVEL: '3' },
    timeoutMs: 60_000,
  });
  if (result.code === 0 && /^\d+\.\d+/.test(result.stdout)) return result.stdout;
  const reason = /Error: (.+)/.exec(result.stderr)?.[1] ?? result.signal ?? lastLine(result.stderr);
  throw new SetupError(
    `The native addon ${path} does not load: ${reason}.`,
    'Run `npx lockstep doctor`; the TensorFlow library may need a newer glibc or a CPU with AVX.',
  );
}

/** Folder of the installed `@tensorflow/tfjs-node-gpu`. */
export function findPackage(): string {
  const require = createRequire(import.meta.url);
  try {
    return dirname(require.resolve('@tensorflow/tfjs-node-gpu/package.json'));
  } catch (error) {
    throw new SetupError('@tensorflow/tfjs-node-gpu is not installed.', 'Run `npm ci`.', { cause: error });
  }
}

async function compileInto(
  folder: string,
  key: string,
  library: NativeLibrary,
  packageDir: string,
  options: AddonOptions,
): Promise<void> {
  const compiler = await findProgram(['g++', 'c++', 'clang++'], options.environment);
  if (compiler === undefined) {
    throw new SetupError(
      'No C++ compiler, which the native addon needs, is on the search path.',
      'Install g++ (Debian: apt-get install g++).',
    );
  }
  options.report.say(`Compiling the native addon with ${compiler} (about 15 s) …`);
  const parent = dirname(folder);
  let draft: string | undefined;
  try {
    await mkdir(parent, { recursive: true });
    for (const name of await readdir(parent)) {
      if (name.startsWith('draft-')) await rm(join(parent, name), { recursive: true, force: true });
    }
    draft = await mkdtemp(join(parent, 'draft-'));
    const output = join(draft, 'tfjs_binding.node');
    await buildAddon(compiler, library, packageDir, output, options.environment);
    for (const name of await readdir(draft)) if (name.endsWith('.o')) await rm(join(draft, name));
    const tensorflowVersion = await probeAddon(output, options.environment);
    const stamp = { key, sha256: await hashFile(output), tensorflowVersion };
    await writeFile(stampPath(output), `${JSON.stringify(stamp)}\n`);
    await rm(folder, { recursive: true, force: true });
    await rename(draft, folder);
  } catch (error) {
    if (draft !== undefined) await rm(draft, { recursive: true, force: true });
    throw explainFileError(error, parent);
  }
}

/** Puts a compiled addon into the package: each file is renamed into place, so that a running worker keeps its own. */
async function install(cached: string, path: string): Promise<Addon> {
  const stamp = await readStamp(stampPath(cached));
  if (stamp === undefined) throw new Error(`${cached} has no stamp although it was just made`);
  try {
    await mkdir(dirname(path), { recursive: true });
    for (const [from, to] of [
      [cached, path],
      [stampPath(cached), stampPath(path)],
    ] as const) {
      const draft = `${to}.${process.pid}`;
      await copyFile(from, draft);
      await rename(draft, to);
    }
  } catch (error) {
    if (systemCode(error) !== 'EACCES' && systemCode(error) !== 'EROFS') throw explainFileError(error, dirname(path));
    throw new SetupError(
      `The native addon cannot be written to ${dirname(path)}.`,
      'Run `npx lockstep setup` as the user who owns node_modules.',
      { cause: error },
    );
  }
  return { path, tensorflowVersion: stamp.tensorflowVersion };
}

function addonPath(packageDir: string): string {
  return join(packageDir, 'lib', 'napi-v8', 'tfjs_binding.node');
}

function stampPath(addon: string): string {
  return addon.replace(/\.node$/, '.lockstep.json');
}

async function readStamp(path: string): Promise<z.infer<typeof stampSchema> | undefined> {
  try {
    return stampSchema.safeParse(JSON.parse(await readFile(path, 'utf8'))).data;
  } catch (error) {
    // No stamp, or a torn one: the addon counts as foreign.
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function hashIfThere(path: string): Promise<string | undefined> {
  try {
    return await hashFile(path);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
