// Owns: the presets that train on photographs at ImageNet's size: the paper's recipe, today's large batches, and a small trial.
// Refuses to know: other presets, defaults and validation (job-spec.ts).
import type { JobSpecInput } from './job-spec-schema.js';
import type { Preset } from './presets.js';

/** Errors of He et al. 2015, tables 2 and 3: ImageNet, 10 crops, top-1. Table 2 has ResNet-18 with shortcuts that have no parameters. */
const paperNets: readonly { architecture: string; name: string; error: number; withShortcut?: string }[] = [
  { architecture: 'resnet18', name: 'ResNet-18', error: 27.88, withShortcut: 'A' },
  { architecture: 'resnet34', name: 'ResNet-34', error: 24.52 },
  { architecture: 'resnet50', name: 'ResNet-50', error: 22.85 },
  { architecture: 'resnet101', name: 'ResNet-101', error: 21.75 },
  { architecture: 'resnet152', name: 'ResNet-152', error: 21.43 },
  { architecture: 'plain18', name: 'ResNet-18 without its shortcuts', error: 27.94 },
  { architecture: 'plain34', name: 'ResNet-34 without its shortcuts', error: 28.54 },
];

const imagenet = { kind: 'imagefolder', path: 'imagenet', classes: 1000 } as const;

/** The paper's recipe with 16 shards per step, so that 16 workers can help. */
function paperRecipe(architecture: string): JobSpecInput {
  return {
    model: { architecture },
    dataset: { ...imagenet, augmentation: 'paper' },
    training: {
      epochs: 90,
      batchSize: 256,
      shardSize: 16,
      shardsPerTask: 1,
      precision: 'bfloat16',
      optimizer: { momentum: 0.9, weightDecay: 0.0001 },
      schedule: { kind: 'step', learningRate: 0.1, milestones: [30, 60, 80], gamma: 0.1 },
    },
    evaluation: { everyEpochs: 1 },
  };
}

const paperPresets: readonly Preset[] = paperNets.map(({ architecture, name, error, withShortcut }) => ({
  name: `${architecture}-imagenet`,
  description: `${name} on ImageNet by the paper's recipe; the paper reports ${error.toFixed(2)} % error over 10 crops${withShortcut === undefined ? '' : ` with shortcut ${withShortcut}`}.`,
  source:
    'He et al. 2015, section 3.4, with the rate divided by 10 at epochs 30, 60 and 80 (Goyal et al. 2017, section 5.1) ' +
    'in place of by hand on plateaus, and 16 bits for convolutions',
  spec: paperRecipe(architecture),
}));

export const imagenetPresets: readonly Preset[] = [
  ...paperPresets,
  {
    name: 'resnet50-imagenet-1hour',
    description: 'ResNet-50 on ImageNet in batches of 8,192 for up to 256 workers; its authors report 23.74 % error.',
    source:
      'Goyal et al. 2017, sections 2.2, 5.1 and 5.2: rate 3.2 after 5 epochs of warm-up, last gammas from zero, no decay of ' +
      'batch norm, statistics over 32 images, stride in the 3x3 convolutions',
    spec: {
      model: { architecture: 'resnet50-v1.5', zeroLastGamma: true },
      dataset: { ...imagenet, augmentation: 'random-resized-crop' },
      training: {
        epochs: 90,
        batchSize: 8192,
        shardSize: 32,
        shardsPerTask: 1,
        precision: 'bfloat16',
        optimizer: { momentum: 0.9, nesterov: true, weightDecay: 0.0001, decayBatchNorm: false },
        schedule: { kind: 'step', learningRate: 3.2, warmupEpochs: 5, milestones: [30, 60, 80], gamma: 0.1 },
      },
      evaluation: { everyEpochs: 1 },
      checkpoint: { everySteps: 157 },
    },
  },
  {
    name: 'resnet152-sample',
    description:
      'ResNet-152 at 224x224 on a few photographs for some steps: the whole way from JPEG files on two cores.',
    source:
      'The network of He et al. 2015, table 1; crops of six photographs (`npx lockstep dataset prepare imagenet-sample`), ' +
      'so no accuracy is claimed',
    spec: {
      model: { architecture: 'resnet152', zeroLastGamma: true },
      dataset: { kind: 'imagefolder', path: 'imagenet-sample', classes: 6, augmentation: 'random-resized-crop' },
      training: {
        steps: 10,
        batchSize: 16,
        shardSize: 8,
        shardsPerTask: 1,
        precision: 'bfloat16',
        optimizer: { momentum: 0.9, weightDecay: 0.0001 },
        schedule: { learningRate: 0.01 },
      },
      evaluation: { everyEpochs: 0 },
      checkpoint: { everySteps: 0, keep: 1 },
    },
  },
];
