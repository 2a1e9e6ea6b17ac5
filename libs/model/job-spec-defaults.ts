// Owns: how a preset and what was sent are laid over each other, and the defaults that depend on other fields.
// Refuses to know: whether values are valid; whatever has the wrong type is passed on for the schema to name.
import { isCifarForm } from './architecture.js';
import { stepsPerEpoch } from './sampler.js';

export type Fields = Record<string, unknown>;

export const CIFAR10_TRAIN_COUNT = 50_000;
export const CIFAR10_NORMALISATION = { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] };
export const IMAGENET_NORMALISATION = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a dataset consists of image files, whose number and classes the spec alone does not tell. */
export function isImageFiles(dataset: unknown): dataset is Fields {
  return isFields(dataset) && (dataset.kind === 'imagefolder' || dataset.kind === 'webdataset');
}

/** What was sent over the preset's spec: objects are merged field by field, all else is replaced. */
export function overlay(preset: Fields, sent: Fields): Fields {
  const base = structuredClone(preset);
  const baseTraining = asFields(base.training);
  const sentTraining = asFields(sent.training);
  // Two fields that say the same thing in different units: naming one takes back the preset's other.
  forget(baseTraining, sentTraining, 'steps', 'epochs');
  const baseSchedule = asFields(baseTraining.schedule);
  const sentSchedule = asFields(sentTraining.schedule);
  forget(baseSchedule, sentSchedule, 'milestoneSteps', 'milestones');
  // A warm-up that was chosen for another length of training may not even fit into this one.
  if (sentTraining.steps !== undefined || sentTraining.epochs !== undefined) delete baseSchedule.warmupEpochs;
  // Fields of another kind would not fit: another kind starts from the defaults.
  if (differs(baseSchedule.kind ?? 'constant', sentSchedule.kind)) delete baseTraining.schedule;
  if (differs(asFields(base.dataset).kind, asFields(sent.dataset).kind)) delete base.dataset;
  if (differs(asFields(baseTraining.shuffle).kind ?? 'global', asFields(sentTraining.shuffle).kind)) {
    delete baseTraining.shuffle;
  }
  return merge(base, sent);
}

/** Fills every field that is still missing. The kind of dataset and the architecture have no default. */
export function withDefaults(given: Fields): Fields {
  const dataset = datasetDefaults(given.dataset, asFields(given.model).classes);
  const model = modelDefaults(given.model, dataset);
  const training = trainingDefaults(given.training, trainCountOf(dataset));
  const datasetKind = asFields(dataset).kind;
  const architecture = asFields(model).architecture;
  const name = typeof given.preset === 'string' ? given.preset : `${String(architecture)}-${String(datasetKind)}`;
  return merge(
    {
      name,
      priority: 0,
      faults: { reproducibility: 'strict', onNotFinite: 'pause', speculation: true, proofShare: 0 },
      evaluation: { everyEpochs: asFields(dataset).test === null ? 0 : 1, crops: 1, scales: [] },
      checkpoint: { everySteps: 500, keep: 3 },
      initialWeights: null,
    },
    { ...given, dataset, model, training },
  );
}

/** Number of training images, where the spec alone tells it. */
export function trainCountOf(dataset: unknown): number | undefined {
  const { kind, size } = asFields(dataset);
  if (kind === 'cifar10') return CIFAR10_TRAIN_COUNT;
  return kind === 'synthetic' && isWhole(size) ? size : undefined;
}

/** @param classes number of classes of the model, where it was given */
function datasetDefaults(given: unknown, classes: unknown): unknown {
  if (given !== undefined && !isFields(given)) return given;
  const { kind, size } = asFields(given);
  if (kind === 'cifar10') {
    return merge(
      { path: 'cifar-10-batches-bin', augmentation: 'pad-crop', normalisation: CIFAR10_NORMALISATION },
      asFields(given),
    );
  }
  if (kind === 'synthetic') {
    const count = isWhole(size) ? size : 4096;
    const testSize = Math.min(1000, Math.max(1, Math.ceil(count / 4)));
    return merge({ size: 4096, testSize, classes: 10, imageSize: 32, seed: 1, augmentation: 'none' }, asFields(given));
  }
  if (isImageFiles(given)) {
    const common = { classes, imageSize: 224, augmentation: 'paper', normalisation: IMAGENET_NORMALISATION };
    const own = kind === 'webdataset' ? { test: null } : {};
    return merge({ ...common, brokenFiles: 'skip', ...own }, asFields(given));
  }
  return asFields(given);
}

function modelDefaults(given: unknown, dataset: unknown): unknown {
  if (given !== undefined && !isFields(given)) return given;
  const { architecture } = asFields(given);
  const { kind, classes, imageSize } = asFields(dataset);
  const sizes = kind === 'cifar10' ? { classes: 10, imageSize: 32 } : { classes, imageSize };
  const shortcut = typeof architecture === 'string' && isCifarForm(architecture) ? 'A' : 'B';
  return merge(
    { activation: 'relu', shortcut, batchNorm: true, initialisation: 'he', zeroLastGamma: false, ...sizes },
    asFields(given),
  );
}

function trainingDefaults(given: unknown, trainCount: number | undefined): unknown {
  if (given !== undefined && !isFields(given)) return given;
  const sent = asFields(given);
  const batchSize = sent.batchSize ?? 128;
  const lasts = isSet(sent.steps) ? { epochs: null } : { epochs: 1, steps: null };
  const filled = merge(
    {
      ...lasts,
      batchSize,
      shardSize: isWhole(batchSize) ? Math.min(32, batchSize) : 32,
      shardsPerTask: 1,
      seed: 1,
      precision: 'float32',
      wire: sent.precision ?? 'float32',
      labelSmoothing: 0,
      kernels: 'measured',
      optimizer: {
        kind: 'sgd',
        momentum: 0.9,
        nesterov: false,
        weightDecay: 0.0001,
        decayBatchNorm: true,
        clipNorm: null,
      },
    },
    sent,
  );
  return {
    ...filled,
    schedule: scheduleDefaults(sent.schedule, filled, trainCount),
    shuffle: shuffleDefaults(sent.shuffle),
  };
}

function scheduleDefaults(given: unknown, training: Fields, trainCount: number | undefined): unknown {
  if (given !== undefined && !isFields(given)) return given;
  const sent = asFields(given);
  const kind = sent.kind ?? 'constant';
  const common = { kind, learningRate: 0.1, warmupEpochs: 0 };
  if (kind === 'step') return merge({ ...common, milestones: [], milestoneSteps: [], gamma: 0.1 }, sent);
  if (kind === 'cosine') return merge({ ...common, finalLearningRate: 0 }, sent);
  if (kind === 'one-cycle') {
    return merge({ ...common, warmupEpochs: 0.3 * epochsOf(training, trainCount), anneal: 'linear' }, sent);
  }
  if (kind === 'plateau') {
    return merge({ ...common, metric: 'error', patience: 5, threshold: 0.001, gamma: 0.1, minimumRate: 0 }, sent);
  }
  return merge(common, sent);
}

function shuffleDefaults(given: unknown): unknown {
  if (given !== undefined && !isFields(given)) return given;
  const sent = asFields(given);
  const kind = sent.kind ?? 'global';
  return merge(kind === 'block' ? { kind, blockSamples: 1024, windowBlocks: 16 } : { kind }, sent);
}

/** Length of the training in epochs, 0 where the spec alone does not tell it. */
export function epochsOf(training: unknown, trainCount: number | undefined): number {
  const { epochs, steps, batchSize } = asFields(training);
  if (isWhole(epochs)) return epochs;
  if (isWhole(steps) && isWhole(batchSize) && trainCount !== undefined)
    return steps / stepsPerEpoch(trainCount, batchSize);
  return 0;
}

function merge(base: Fields, over: Fields): Fields {
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const below = base[key];
    merged[key] = isFields(below) && isFields(value) ? merge(below, value) : value;
  }
  return merged;
}

function forget(base: Fields, sent: Fields, one: string, other: string): void {
  if (isSet(sent[one])) delete base[other];
  if (isSet(sent[other])) delete base[one];
}

function differs(base: unknown, sent: unknown): boolean {
  return base !== undefined && sent !== undefined && base !== sent;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

export function asFields(value: unknown): Fields {
  return isFields(value) ? value : {};
}
