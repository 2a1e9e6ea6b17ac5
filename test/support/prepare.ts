// What tests and benchmarks need beyond the packages: native library, addon, Valkey, CIFAR-10, a browser.
// Refuses to know the tests. Run by scripts/bootstrap.mjs before them; a second run finds everything there.
import { ConfigError, loadConfig } from '../../apps/coordinator/src/config.js';
import { prepareCifar10 } from '../../apps/coordinator/src/setup/cifar10.js';
import { streamReporter } from '../../apps/coordinator/src/setup/progress.js';
import { SetupError } from '../../apps/coordinator/src/setup/setup-error.js';
import { setup } from '../../apps/coordinator/src/setup/setup.js';
import { findChromium } from './chromium.js';

try {
  const { cacheDir, tensorflowDir } = loadConfig(process.env);
  const report = streamReporter(process.stderr);
  // Not the Redis of REDIS_URL: each test has a Valkey of its own.
  await setup({ cacheDir, tensorflowDir, report });
  await prepareCifar10({ cacheDir, report });
  await findChromium(cacheDir);
} catch (error) {
  if (!(error instanceof SetupError) && !(error instanceof ConfigError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
