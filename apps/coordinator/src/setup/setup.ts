// Set-up as one call: native library, addon, Valkey, in the cache and in node_modules, each only where it is not good.
// Refuses to read the environment; whoever calls says where things lie and how to report.
import { resolve } from 'node:path';
import { ensureAddon, inspectAddon, type Addon } from './addon.js';
import { waitForLock } from './lock.js';
import {
  chooseFlavour,
  ensureNativeLibrary,
  findNativeLibrary,
  type NativeLibrary,
  rememberFlavour,
} from './native-library.js';
import type { Flavour } from './pinned-packages.js';
import { silentReporter, type Reporter } from './progress.js';
import { explainFileError } from './setup-error.js';
import { inheritedEnvironment, type Environment } from './subprocess.js';
import { ensureValkey, findValkey, type ValkeyBinary } from './valkey-binary.js';

export interface SetupOptions {
  /** Folder that downloads and what is made of them lie in, for all clones of this user. */
  readonly cacheDir: string;
  /** An existing TensorFlow: an installed Python `tensorflow` folder or an unpacked C archive. */
  readonly tensorflowDir?: string | undefined;
  /** @default the one that was asked for last, else 'cpu' */
  readonly flavour?: Flavour | undefined;
  /** A Redis or Valkey that is running already; none is fetched then. */
  readonly redisUrl?: string | undefined;
  /** Fetch nothing. @default false */
  readonly offline?: boolean;
  /** Where to tell what is being done; silent by default. */
  readonly report?: Reporter;
  /** What pip, npm and the compiler run with. @default this process's own */
  readonly environment?: Environment;
  /** Where tfjs-node-gpu is installed; found by Node's resolution by default. */
  readonly packageDir?: string | undefined;
}

export type QueueServer =
  { readonly kind: 'running'; readonly url: string } | { readonly kind: 'binary'; readonly binary: ValkeyBinary };

export interface SetupResult {
  readonly library: NativeLibrary;
  readonly addon: Addon;
  readonly queue: QueueServer;
  /** Whether everything was good already. */
  readonly unchanged: boolean;
}

const lockWaitMs = 30 * 60 * 1000;

/**
 * Makes this machine ready to compute. Idempotent: where all is good it only looks, in less than 300 ms. Two at once
 * do not harm each other: the second waits. Throws a `SetupError` that says what to do.
 */
export async function setup(options: SetupOptions): Promise<SetupResult> {
  const good = await inspectSetup(options);
  if (good !== undefined) {
    await rememberFlavour(options.cacheDir, options.flavour);
    return good;
  }
  const report = options.report ?? silentReporter;
  const cacheDir = resolve(options.cacheDir);
  const lock = await waitForLock(cacheDir, 'setup', {
    deadlineMs: lockWaitMs,
    onWait: (holder) => report.say(`Waiting for process ${holder ?? '?'}, which is setting up ${cacheDir} …`),
  }).catch((error: unknown) => {
    throw explainFileError(error, cacheDir);
  });
  try {
    const settings = {
      cacheDir,
      tensorflowDir: options.tensorflowDir,
      flavour: await chooseFlavour(cacheDir, options.flavour),
      offline: options.offline ?? false,
      report,
      environment: options.environment ?? inheritedEnvironment,
      packageDir: options.packageDir,
    };
    const library = await ensureNativeLibrary(settings);
    const addon = await ensureAddon(library, settings);
    await rememberFlavour(cacheDir, options.flavour);
    const queue: QueueServer =
      options.redisUrl === undefined
        ? { kind: 'binary', binary: await ensureValkey(settings) }
        : { kind: 'running', url: options.redisUrl };
    return { library, addon, queue, unchanged: false };
  } finally {
    await lock.release();
  }
}

/** What `setup` would return where nothing is left to do; undefined otherwise. Changes nothing. */
export async function inspectSetup(options: SetupOptions): Promise<SetupResult | undefined> {
  const environment = options.environment ?? inheritedEnvironment;
  const { cacheDir } = options;
  const library = await findNativeLibrary({
    cacheDir,
    tensorflowDir: options.tensorflowDir,
    flavour: await chooseFlavour(cacheDir, options.flavour),
  });
  if (library === undefined) return undefined;
  const addon = await inspectAddon(library, options.packageDir);
  if (addon.kind !== 'good') return undefined;
  if (options.redisUrl !== undefined) {
    return { library, addon: addon.addon, queue: { kind: 'running', url: options.redisUrl }, unchanged: true };
  }
  const binary = await findValkey({ cacheDir, environment });
  if (binary === undefined) return undefined;
  return { library, addon: addon.addon, queue: { kind: 'binary', binary }, unchanged: true };
}
