// Whether a dataset that was opened is one that the job can be trained on, and the one that it began with. Pure.
import type { Dataset } from '#model/datasets/dataset.js';
import type { JobRecord } from './job-store.js';

/** One sentence where it is not. */
export function datasetProblem(
  record: Pick<JobRecord, 'spec' | 'datasetHash' | 'datasetContentsHash' | 'reached'>,
  dataset: Pick<Dataset, 'trainCount' | 'testCount' | 'indexHash' | 'contentsHash'>,
): string | undefined {
  const { training, evaluation } = record.spec;
  const { trainCount, testCount } = dataset;
  const difference = record.reached.step > 0 ? differenceOf(record, dataset) : undefined;
  if (difference !== undefined)
    return `The dataset is not the one that the job began with (${difference}): put it back, or submit a new job`;
  if (training.batchSize > trainCount) {
    return `training.batchSize is ${training.batchSize}, and the dataset has ${trainCount} training images: submit the job with a smaller one`;
  }
  if (testCount === 0 && evaluation.everyEpochs > 0) {
    return 'The dataset has no test images to evaluate on: add them, or submit the job with evaluation.everyEpochs 0';
  }
  return undefined;
}

function differenceOf(
  { datasetHash, datasetContentsHash }: Pick<JobRecord, 'datasetHash' | 'datasetContentsHash'>,
  { indexHash, contentsHash }: Pick<Dataset, 'indexHash' | 'contentsHash'>,
): string | undefined {
  // Records of before there were two hashes have that of the contents as the index's.
  if (datasetHash !== null && datasetHash !== indexHash && datasetHash !== contentsHash)
    return `its index has the hash ${short(indexHash)}, not ${short(datasetHash)}`;
  // Where one side has not read the contents, lengths are all there is to go by.
  if (datasetContentsHash === null || contentsHash === null || datasetContentsHash === contentsHash) return undefined;
  return `files of the same names and lengths have other contents: their hash is ${short(contentsHash)}, not ${short(datasetContentsHash)}`;
}

function short(hash: string): string {
  return `${hash.slice(0, 12)}…`;
}

/** Two notes for people as one; what the first says already is not said again. */
export function joined(first: string | null, second: string | null): string | null {
  if (first === null || second === null) return first ?? second;
  return first.includes(second) ? first : `${first} ${second}`;
}
