// Owns: the named presets: job specs as data, each with a line on what it shows and where the recipe comes from.
// Refuses to know: defaults and validation (job-spec.ts).
import type { JobSpecInput } from './job-spec-schema.js';
import { imagenetPresets } from './presets-imagenet.js';

export interface Preset {
  readonly name: string;
  /** One line for lists and help. */
  readonly description: string;
  /** Where the recipe comes from. */
  readonly source: string;
  readonly spec: JobSpecInput;
}

const HE_2015 = 'He et al. 2015, section 4.2';

/** The paper's CIFAR recipe: rate 0.1, a tenth at 32,000 and again at 48,000 of 64,000 steps, in batches of 128 over two devices. */
function paperCifar(architecture: string, warmupEpochs = 0): JobSpecInput {
  return {
    model: { architecture, shortcut: 'A' },
    dataset: { kind: 'cifar10', augmentation: 'pad-crop' },
    training: {
      steps: 64_000,
      batchSize: 128,
      shardSize: 64,
      optimizer: { momentum: 0.9, weightDecay: 0.0001 },
      schedule: { kind: 'step', learningRate: 0.1, warmupEpochs, milestoneSteps: [32_000, 48_000], gamma: 0.1 },
    },
    evaluation: { everyEpochs: 2 },
  };
}

const list: readonly Preset[] = [
  {
    name: 'fine-tune',
    description:
      'ResNet-50 from imported weights with a new head, on a folder of images; set initialWeights.path and dataset.path.',
    source:
      'Kornblith, Shlens, Le 2019, section 3: SGD with Nesterov momentum, a cosine from 0.01 for batches of 256; shorter here, at the rate in proportion',
    spec: {
      model: { architecture: 'resnet50-v1.5' },
      dataset: { kind: 'imagefolder', path: 'fine-tune', augmentation: 'random-resized-crop' },
      initialWeights: { path: 'imported/resnet50', head: 'new' },
      training: {
        epochs: 20,
        batchSize: 64,
        shardSize: 16,
        precision: 'bfloat16',
        optimizer: { momentum: 0.9, nesterov: true, weightDecay: 0.0001 },
        schedule: { kind: 'cosine', learningRate: 0.0025, warmupEpochs: 1 },
      },
      evaluation: { everyEpochs: 1 },
    },
  },
  {
    name: 'resnet20-cifar10-demo',
    description: 'ResNet-20 on CIFAR-10 in 3 epochs and bfloat16: real learning within minutes on two cores.',
    source: 'One-cycle rates after Smith, Topin 2018; the network and augmentation of He et al. 2015, section 4.2',
    spec: {
      model: { architecture: 'resnet20', shortcut: 'A' },
      dataset: { kind: 'cifar10', augmentation: 'pad-crop' },
      training: {
        epochs: 3,
        batchSize: 128,
        shardSize: 64,
        shardsPerTask: 1,
        precision: 'bfloat16',
        optimizer: { momentum: 0.9, weightDecay: 0.0005 },
        schedule: { kind: 'one-cycle', learningRate: 0.4, warmupEpochs: 0.75, anneal: 'linear' },
      },
      evaluation: { everyEpochs: 1 },
    },
  },
  {
    name: 'resnet20-cifar10',
    description: "ResNet-20 on CIFAR-10 by the paper's recipe; the paper reports 8.75 % error.",
    source: HE_2015,
    spec: paperCifar('resnet20'),
  },
  {
    name: 'resnet56-cifar10',
    description: "ResNet-56 on CIFAR-10 by the paper's recipe; the paper reports 6.97 % error.",
    source: HE_2015,
    spec: paperCifar('resnet56'),
  },
  {
    name: 'resnet110-cifar10',
    description: "ResNet-110 on CIFAR-10 by the paper's recipe; the paper reports 6.43 % error.",
    source: `${HE_2015}, with one epoch of linear warm-up in place of rate 0.01 until the training error is below 80 %`,
    spec: paperCifar('resnet110', 1),
  },
  {
    name: 'plain20-cifar10',
    description: 'ResNet-20 without its shortcuts, by the same recipe: the twin to compare with.',
    source: HE_2015,
    spec: paperCifar('plain20'),
  },
  {
    name: 'plain56-cifar10',
    description:
      'ResNet-56 without its shortcuts: its training error stays above that of plain20, which is the degradation that residuals cure.',
    source: HE_2015,
    spec: paperCifar('plain56'),
  },
  ...imagenetPresets,
  {
    name: 'resnet152-synthetic',
    description: 'ResNet-152 at 224x224 on synthetic images for a few steps: speed and memory at full size.',
    source: 'The network of He et al. 2015, table 1; images made on the fly, so no accuracy is claimed',
    spec: {
      model: { architecture: 'resnet152' },
      dataset: { kind: 'synthetic', size: 1024, testSize: 16, classes: 1000, imageSize: 224 },
      training: {
        steps: 4,
        batchSize: 16,
        shardSize: 8,
        shardsPerTask: 1,
        precision: 'bfloat16',
        schedule: { learningRate: 0.01 },
      },
      evaluation: { everyEpochs: 0 },
      checkpoint: { everySteps: 0, keep: 1 },
    },
  },
  {
    name: 'resnet20-synthetic',
    description: 'ResNet-20 on a few hundred synthetic 32x32 images: a whole job in seconds, for trying things out.',
    source: 'Made for tests; images made on the fly, so no accuracy is claimed',
    spec: {
      model: { architecture: 'resnet20' },
      dataset: { kind: 'synthetic', size: 256, testSize: 64, classes: 10, imageSize: 32 },
      training: { epochs: 2, batchSize: 32, shardSize: 8, shardsPerTask: 1, schedule: { learningRate: 0.05 } },
      checkpoint: { everySteps: 4 },
    },
  },
];

/** All presets in the order in which they are listed to people. */
export const presets: readonly Preset[] = list;

export const presetNames: readonly string[] = list.map((preset) => preset.name);

export function presetOf(name: string): Preset | undefined {
  return list.find((preset) => preset.name === name);
}
