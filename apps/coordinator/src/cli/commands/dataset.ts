// `dataset prepare`: CIFAR-10 in the cache, or a copy of it elsewhere; a sample of photographs among the coordinator's datasets.
// Refuses to know where it comes from and what its files hold.
import { cp } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { loadConfig } from '../../config.js';
import { imagenetSampleName } from '../../setup/imagenet-sample.js';
import { CommandFailed, exitCodes, sentenceOf } from '../exit.js';
import { interruption } from '../interruption.js';
import { printJson, printLines } from '../output.js';
import { prepareDataset, prepareSample } from '../prepare.js';

export async function prepareDatasetCommand(
  name: 'cifar10' | 'imagenet-sample',
  options: { readonly to?: string; readonly offline?: boolean; readonly json?: boolean },
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  const config = loadConfig(environment);
  const preparation = { config, environment, signal: stop.signal, offline: options.offline === true };
  const to = options.to === undefined ? undefined : resolve(options.to);
  let path;
  if (name === 'imagenet-sample') {
    path = await prepareSample(to ?? join(config.dataDir, 'datasets', imagenetSampleName), preparation);
  } else {
    const cached = await prepareDataset(preparation);
    path = to === undefined ? cached : await copy(cached, to);
  }
  if (options.json === true) {
    printJson({ path });
  } else {
    printLines([path]);
  }
  return exitCodes.good;
}

async function copy(from: string, to: string): Promise<string> {
  try {
    await cp(from, to, { recursive: true });
    return to;
  } catch (error) {
    throw new CommandFailed(`The dataset cannot be copied to ${to}: ${sentenceOf(error)}`, { cause: error });
  }
}
