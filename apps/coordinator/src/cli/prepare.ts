// Set-up as the verbs call it: settings from the configuration, progress on standard error, an end at Ctrl-C.
// Refuses to know what is fetched and built.
import type { CoordinatorConfig } from '../config.js';
import { prepareCifar10 } from '../setup/cifar10.js';
import { prepareImagenetSample } from '../setup/imagenet-sample.js';
import type { Flavour } from '../setup/pinned-packages.js';
import { type Reporter, streamReporter } from '../setup/progress.js';
import { setup, type SetupResult } from '../setup/setup.js';
import { Interrupted } from './exit.js';
import { aborted } from './interruption.js';

export interface PrepareOptions {
  readonly config: Pick<CoordinatorConfig, 'cacheDir' | 'tensorflowDir' | 'redisUrl'>;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** @default the one that was asked for last, else cpu */
  readonly flavour?: Flavour | undefined;
  /** Fetch nothing. @default false */
  readonly offline?: boolean;
}

/** Native library, addon, Valkey. Throws `SetupError` and, at Ctrl-C, `Interrupted`: what runs ends with this process. */
export async function prepareMachine(options: PrepareOptions): Promise<SetupResult> {
  const { config, environment, flavour, offline = false } = options;
  return reported(options.signal, (report) =>
    setup({
      cacheDir: config.cacheDir,
      tensorflowDir: config.tensorflowDir,
      redisUrl: config.redisUrl,
      flavour,
      offline,
      environment,
      report,
    }),
  );
}

/** Folder of CIFAR-10 in the cache. Throws like `prepareMachine`. */
export async function prepareDataset(options: Omit<PrepareOptions, 'flavour'>): Promise<string> {
  const { config, environment, offline = false } = options;
  return reported(options.signal, (report) =>
    prepareCifar10({ cacheDir: config.cacheDir, offline, environment, report }),
  );
}

/** Makes the folder of photographs. Throws like `prepareMachine`. */
export async function prepareSample(folder: string, options: Omit<PrepareOptions, 'flavour'>): Promise<string> {
  const { config, environment, offline = false } = options;
  return reported(options.signal, (report) =>
    prepareImagenetSample({ folder, cacheDir: config.cacheDir, offline, environment, report }),
  );
}

async function reported<Result>(signal: AbortSignal, work: (report: Reporter) => Promise<Result>): Promise<Result> {
  const report = streamReporter(process.stderr);
  try {
    return await Promise.race([
      work(report),
      aborted(signal).then(() => {
        throw new Interrupted();
      }),
    ]);
  } finally {
    report.finish();
  }
}
