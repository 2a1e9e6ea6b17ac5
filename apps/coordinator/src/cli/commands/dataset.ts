// `dataset prepare cifar10`: the dataset in the cache, or a copy of it elsewhere.
// Refuses to know where it comes from and what its files hold.
import { cp } from 'node:fs/promises';
import { resolve } from 'node:path';
import { loadConfig } from '../../config.js';
import { CommandFailed, exitCodes, sentenceOf } from '../exit.js';
import { interruption } from '../interruption.js';
import { printJson, printLines } from '../output.js';
import { prepareDataset } from '../prepare.js';

export async function prepareDatasetCommand(
  options: { readonly to?: string; readonly offline?: boolean; readonly json?: boolean },
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  const config = loadConfig(environment);
  const cached = await prepareDataset({ config, environment, signal: stop.signal, offline: options.offline === true });
  const path = options.to === undefined ? cached : await copy(cached, resolve(options.to));
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
