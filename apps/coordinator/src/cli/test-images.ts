// The test images that `evaluate` names: a folder, a kind of dataset, a spec as JSON, or what the net was trained on.
// Refuses to know what is computed on them.
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { CIFAR10_TEST_FILE } from '#model/datasets/cifar10-files.js';
import { type Dataset, openDataset } from '#model/datasets/dataset.js';
import { DatasetError } from '#model/datasets/dataset-error.js';
import type { StoredModel } from '#model/exchange/stored-model.js';
import { type JobSpec, resolveJobSpec, SpecError } from '#model/job-spec.js';
import { loadConfig } from '../config.js';
import { findCifar10 } from '../setup/cifar10.js';
import { CommandFailed, sentenceOf, WrongUsage } from './exit.js';

export interface TestImages {
  /** A spec of the net on these images; its training means nothing. */
  readonly spec: JobSpec;
  /** Of the training, so that figures are the same as there. */
  readonly shardSize: number;
  readonly dataset: Dataset;
}

/** Images computed at once for a net of which no training is known. */
const USUAL_SHARD_SIZE = 32;

/** Opens them. Throws `WrongUsage` where nobody can know what is meant, `CommandFailed` where they are not there. */
export async function openTestImages(
  stored: StoredModel,
  named: string | undefined,
  evaluation: Partial<JobSpec['evaluation']>,
  environment: NodeJS.ProcessEnv,
): Promise<TestImages> {
  const { dataDir, cacheDir, datasetAccess } = loadConfig(environment);
  const datasetsFolder = path.join(dataDir, 'datasets');
  const found = datasetOf(stored, named);
  const spec = specOf(stored, found.dataset, evaluation);
  const location = found.folder ?? (await locationOf(spec.dataset, datasetsFolder, cacheDir));
  try {
    // Links may lead about in the datasets folder, where there is one.
    const access = existsSync(datasetsFolder) ? datasetAccess : { ...datasetAccess, datasetsFolder: undefined };
    const dataset = await openDataset(spec.dataset, location, { access });
    if (dataset.testCount === 0) throw new CommandFailed(`${location} has no test images.`);
    return { spec, dataset, shardSize: stored.manifest?.spec.training.shardSize ?? USUAL_SHARD_SIZE };
  } catch (error) {
    if (!(error instanceof DatasetError)) throw error;
    throw new CommandFailed(`${sentenceOf(error)}.`, { cause: error });
  }
}

/** The dataset's spec as far as it was said, and where it lies if that was. */
function datasetOf(stored: StoredModel, named: string | undefined): { dataset: object; folder?: string } {
  const trained = stored.manifest?.spec.dataset;
  if (named === undefined) {
    if (trained !== undefined) return { dataset: trained };
    throw new WrongUsage(`${stored.source} does not say what it was trained on; name the images with --dataset.`);
  }
  const { classes, imageSize } = stored.model;
  if (named === 'cifar10' || named === 'synthetic') {
    if (trained?.kind === named) return { dataset: trained };
    return { dataset: named === 'cifar10' ? { kind: named } : { kind: named, classes, imageSize } };
  }
  if (named.startsWith('{')) return { dataset: parsed(named) };
  if (statSync(named, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new WrongUsage(`--dataset: there is no folder ${named}; name one, cifar10, synthetic, or a dataset as JSON.`);
  }
  const folder = path.resolve(named);
  const normalisation =
    trained !== undefined && 'normalisation' in trained ? { normalisation: trained.normalisation } : {};
  if (existsSync(path.join(folder, CIFAR10_TEST_FILE)))
    return { dataset: { kind: 'cifar10', ...normalisation }, folder };
  // The place is known, so that the name in the spec only has to be a valid one.
  return {
    dataset: { kind: 'imagefolder', path: path.basename(folder), classes, imageSize, ...normalisation },
    folder,
  };
}

function parsed(text: string): object {
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    throw new WrongUsage(`--dataset: ${text} is not JSON.`, { cause: error });
  }
}

function specOf({ model }: StoredModel, dataset: object, evaluation: Partial<JobSpec['evaluation']>): JobSpec {
  try {
    // The least that training asks of the number of images.
    return resolveJobSpec({ model, dataset, training: { batchSize: 2 }, evaluation });
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    throw new WrongUsage(`These images and views do not go with the net: ${sentenceOf(error)}.`, { cause: error });
  }
}

async function locationOf(dataset: JobSpec['dataset'], datasetsFolder: string, cacheDir: string): Promise<string> {
  if (dataset.kind === 'synthetic' || dataset.kind === 'webdataset') return datasetsFolder;
  const local = path.join(datasetsFolder, dataset.path);
  if (existsSync(local)) return local;
  const cached = dataset.kind === 'cifar10' ? await findCifar10(cacheDir) : undefined;
  if (cached !== undefined) return cached;
  const remedy =
    dataset.kind === 'cifar10'
      ? 'fetch it with `npx lockstep dataset prepare cifar10`'
      : 'name its folder with --dataset, or the data folder with LOCKSTEP_DATA_DIR';
  throw new CommandFailed(`There is no ${dataset.path} in ${datasetsFolder}; ${remedy}.`);
}
