// Owns: the rules of a job spec that join several fields.
// Refuses to know: single fields (job-spec-schema.ts) and whether data, workers or memory are there.
import { isArchitecture, isCifarForm } from './architecture.js';
import { epochsOf, isImageFiles, trainCountOf } from './job-spec-defaults.js';
import type { JobSpec } from './job-spec-schema.js';
import { alternatives, nearNames } from './near-names.js';

export interface FieldError {
  /** Dotted path of the field, '' for the spec as a whole. */
  readonly path: string;
  /** One sentence that goes on from the path: 'must be …'. */
  readonly message: string;
}

type Rule = (spec: JobSpec) => FieldError | undefined;

/** All rules that the spec breaks, in the order of its fields. */
export function checkJobSpec(spec: JobSpec): FieldError[] {
  return rules.map((rule) => rule(spec)).filter((error) => error !== undefined);
}

const rules: readonly Rule[] = [
  ({ model }) => {
    if (isArchitecture(model.architecture)) return undefined;
    return {
      path: 'model.architecture',
      message: `'${model.architecture}' is not known${didYouMean(model.architecture)}`,
    };
  },
  ({ model, dataset }) => {
    const classes = dataset.kind === 'cifar10' ? 10 : dataset.classes;
    return when(model.classes !== classes, 'model.classes', `must be ${classes}, the number of classes in the dataset`);
  },
  ({ model, dataset }) => {
    const imageSize = dataset.kind === 'cifar10' ? 32 : dataset.imageSize;
    return when(
      model.imageSize !== imageSize,
      'model.imageSize',
      `must be ${imageSize}, the size of the dataset's images`,
    );
  },
  ({ model }) => {
    const tooSmall = isArchitecture(model.architecture) && !isCifarForm(model.architecture) && model.imageSize < 32;
    return when(
      tooSmall,
      'model.imageSize',
      `must be 32 or more for ${model.architecture}, which halves images five times`,
    );
  },
  ({ training }) =>
    when(
      training.epochs !== null && training.steps !== null,
      'training.steps',
      'cannot be given together with epochs: leave out one of the two',
    ),
  ({ training }) =>
    when(training.epochs === null && training.steps === null, 'training.epochs', 'must be given where steps is null'),
  ({ training, initialWeights, evaluation }) => {
    const evaluates = initialWeights?.head === 'keep' && evaluation.everyEpochs > 0;
    const message = 'must be 1 or more, except to evaluate initialWeights with their head (head keep)';
    return when(training.steps === 0 && !evaluates, 'training.steps', message);
  },
  ({ training, dataset }) => {
    const count = trainCountOf(dataset);
    const tooLarge = count !== undefined && training.batchSize > count;
    return when(tooLarge, 'training.batchSize', `must be at most ${count}, the number of training images`);
  },
  ({ training }) =>
    when(
      training.shardSize > training.batchSize,
      'training.shardSize',
      `must be at most batchSize, which is ${training.batchSize}`,
    ),
  ({ training }) =>
    when(
      training.optimizer.nesterov && training.optimizer.momentum === 0,
      'training.optimizer.nesterov',
      'needs a momentum above 0',
    ),
  ({ training, dataset }) => {
    const epochs = epochsOf(training, trainCountOf(dataset));
    const { warmupEpochs } = training.schedule;
    const tooLong = warmupEpochs > 0 && warmupEpochs >= epochs;
    const length = epochs === 1 ? '1 epoch' : `${Number(epochs.toPrecision(4))} epochs`;
    return when(tooLong, 'training.schedule.warmupEpochs', `must be shorter than the training, which lasts ${length}`);
  },
  ({ training: { schedule } }) =>
    when(
      schedule.kind === 'cosine' && schedule.finalLearningRate > schedule.learningRate,
      'training.schedule.finalLearningRate',
      'must be at most learningRate',
    ),
  ({ training: { schedule }, evaluation }) =>
    when(
      schedule.kind === 'plateau' && evaluation.everyEpochs === 0,
      'evaluation.everyEpochs',
      'must be 1 or more: the plateau schedule follows the evaluations',
    ),
  ({ training: { schedule } }) =>
    when(
      schedule.kind === 'plateau' && schedule.minimumRate > schedule.learningRate,
      'training.schedule.minimumRate',
      'must be at most learningRate',
    ),
  ({ training, dataset }) =>
    when(
      training.shuffle.kind === 'block' && dataset.kind === 'imagefolder',
      'training.shuffle.kind',
      'must be global for imagefolder: its samples lie class by class, so that a window of blocks would hold few classes',
    ),
  ({ dataset, evaluation }) =>
    when(
      dataset.kind === 'webdataset' && dataset.test === null && evaluation.everyEpochs !== 0,
      'evaluation.everyEpochs',
      'must be 0, as dataset.test names no archives to evaluate on',
    ),
  ({ model }) =>
    when(
      model.zeroLastGamma && !model.batchNorm,
      'model.zeroLastGamma',
      'needs batchNorm: without it there is no gamma',
    ),
  ({ dataset, evaluation }) =>
    when(
      evaluation.scales.length > 0 && !isImageFiles(dataset),
      'evaluation.scales',
      `must be empty for ${dataset.kind}: its images come in one size`,
    ),
  ({ model, evaluation: { crops, scales } }) => {
    const tooSmall = crops === 10 && scales.some((side) => side < model.imageSize);
    return when(tooSmall, 'evaluation.scales', `must be ${model.imageSize} or more, the size of the 10 crops`);
  },
];

function when(broken: boolean, path: string, message: string): FieldError | undefined {
  return broken ? { path, message } : undefined;
}

function didYouMean(architecture: string): string {
  const near = nearNames(architecture, architectureNames());
  if (near.length > 0) return `; did you mean ${alternatives(near)}?`;
  return ': it must be resnet18, 34, 50, 101 or 152, resnetN with N = 6n + 2, or a plain twin such as plain20';
}

/** Names to suggest: every known one up to depth 200. */
function architectureNames(): string[] {
  const names: string[] = [];
  for (let depth = 8; depth <= 200; depth++) {
    names.push(`resnet${depth}`, `plain${depth}`, `resnet${depth}-v1.5`, `plain${depth}-v1.5`);
  }
  return names.filter(isArchitecture);
}
