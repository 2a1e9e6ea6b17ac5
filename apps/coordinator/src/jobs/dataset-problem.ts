// Whether a dataset that was opened is one that the job can be trained on, and the one that it began with. Pure.
import type { Dataset } from '#model/datasets/dataset.js';
import type { JobRecord } from './job-store.js';

/** One sentence where it is not. */
export function datasetProblem(
  { spec, datasetHash, reached }: Pick<JobRecord, 'spec' | 'datasetHash' | 'reached'>,
  { trainCount, testCount, indexHash }: Pick<Dataset, 'trainCount' | 'testCount' | 'indexHash'>,
): string | undefined {
  const { training, evaluation } = spec;
  if (datasetHash !== null && datasetHash !== indexHash && reached.step > 0) {
    return (
      `The dataset is not the one that the job began with (its index has the hash ${indexHash.slice(0, 12)}…, not ` +
      `${datasetHash.slice(0, 12)}…): put it back, or submit a new job`
    );
  }
  if (training.batchSize > trainCount) {
    return `training.batchSize is ${training.batchSize}, and the dataset has ${trainCount} training images: submit the job with a smaller one`;
  }
  if (testCount === 0 && evaluation.everyEpochs > 0) {
    return 'The dataset has no test images to evaluate on: add them, or submit the job with evaluation.everyEpochs 0';
  }
  return undefined;
}

/** Two notes for people as one; what the first says already is not said again. */
export function joined(first: string | null, second: string | null): string | null {
  if (first === null || second === null) return first ?? second;
  return first.includes(second) ? first : `${first} ${second}`;
}
