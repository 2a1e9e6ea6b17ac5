// Owns: every field of a job spec: its type, limits, meaning, unit, default and the sentence a wrong value gets.
// Refuses to know: presets, derived defaults and rules that join several fields (job-spec-defaults.ts, job-spec-checks.ts).
import { z } from 'zod';
import {
  datasetInputSchema,
  datasetSchema,
  datasetShapes,
  normalisationSchema,
  shuffleInputSchema,
  shuffleSchema,
  shuffleShapes,
} from './job-spec-datasets.js';
import { described, positive, notNegative, between, whole, oneOf, yesOrNo, seed } from './job-spec-fields.js';
import { initialWeightsSchema, weightsShape } from './job-spec-weights.js';
import { finalLearningRate, scheduleSchema, scheduleShapes } from './job-spec-schedules.js';

const modelShape = {
  architecture: described(
    z.string('must be the name of an architecture'),
    'Network: resnet18, 34, 50, 101, 152 (ImageNet form), resnetN for other N = 6n + 2 (CIFAR form), and their plain twins.',
  ),
  activation: described(oneOf('relu', 'leaky_relu', 'sigmoid', 'tanh'), 'Activation after each batch norm.', 'relu'),
  shortcut: described(
    oneOf('A', 'B', 'C'),
    'Shortcuts of the paper: A pads with zeros, B projects where shapes change, C projects always. Default: A for the CIFAR form, B otherwise.',
  ),
  batchNorm: described(yesOrNo(), 'Whether each convolution is followed by batch normalisation.', true),
  initialisation: described(oneOf('he', 'xavier'), 'How filters and the dense layer start.', 'he'),
  zeroLastGamma: described(yesOrNo(), 'Whether the last batch-norm scale of each residual block starts at 0.', false),
  classes: described(whole(2, 100_000), "Number of classes. Default: the dataset's."),
  imageSize: described(
    whole(8, 1024),
    "Height and width of the images that the network sees, in pixels. Default: the dataset's.",
  ),
};

const optimizerShape = {
  kind: described(oneOf('sgd'), 'Stochastic gradient descent with momentum.', 'sgd'),
  momentum: described(
    z
      .number('must be a number from 0 to below 1')
      .min(0, 'must be a number from 0 to below 1')
      .lt(1, 'must be a number from 0 to below 1'),
    'Momentum factor.',
    0.9,
  ),
  nesterov: described(yesOrNo(), 'Whether the step looks ahead along the momentum (Nesterov).', false),
  weightDecay: described(notNegative(), 'L2 penalty added to the gradient: weightDecay * parameter.', 0.0001),
  decayBatchNorm: described(yesOrNo(), 'Whether batch-norm scales and shifts and the biases decay too.', true),
  clipNorm: described(
    positive().nullable(),
    'Largest norm of the whole gradient; a longer one is scaled down to it. null: never clipped.',
    null,
  ),
};

const trainingFields = {
  epochs: described(whole(1, 1_000_000).nullable(), 'Passes over the training images; null where steps is given.', 1),
  steps: described(
    whole(0, 1_000_000_000).nullable(),
    'SGD updates, in place of epochs; 0: none, so that the initial weights alone are evaluated.',
    null,
  ),
  batchSize: described(whole(2, 1_048_576), 'Samples per mini-batch, that is per step.', 128),
  shardSize: described(
    whole(2, 65_536),
    'Samples per shard, the unit of gradient computation and of batch-norm statistics. Default: 32, or batchSize if smaller.',
  ),
  shardsPerTask: described(
    z
      .int('must be a power of two from 1 to 1024')
      .refine(
        (value) => value >= 1 && value <= 1024 && Number.isInteger(Math.log2(value)),
        'must be a power of two from 1 to 1024',
      ),
    'Shards that one task adds up before it is sent: a power of two.',
    1,
  ),
  seed: described(seed(), 'Seed of everything random: initial parameters, order of samples, augmentation.', 1),
  precision: described(
    oneOf('float32', 'bfloat16'),
    'Precision of convolutions and activations; parameters, batch-norm statistics and the loss are always float32.',
    'float32',
  ),
  wire: described(
    oneOf('float32', 'bfloat16'),
    "Precision of the gradient that a task sends, rounded once at the task's root. Default: the precision.",
  ),
  labelSmoothing: described(between(0, 0.999), 'Share of the target spread evenly over all classes.', 0),
  kernels: described(
    oneOf('measured', 'fixed'),
    'Which kernels serve 1x1 convolutions: measured: the quicker ones, tried when the job is pinned to a numerics class; fixed: by a rule.',
    'measured',
  ),
};

const faultsShape = {
  reproducibility: described(
    oneOf('strict', 'relaxed'),
    'strict: only workers of one numerics class that pass the probe contribute, so bits repeat; relaxed: any worker may.',
    'strict',
  ),
  onNotFinite: described(
    oneOf('pause', 'exclude'),
    'What to do when a gradient is not finite even when computed again: pause the job, or leave the shard out.',
    'pause',
  ),
  speculation: described(yesOrNo(), "Whether idle workers get second copies of a step's oldest tasks.", true),
  proofShare: described(between(0, 1), 'Share of tasks that are computed twice and compared.', 0),
};

const evaluationShape = {
  everyEpochs: described(whole(0, 1_000_000), 'Epochs between evaluations on the test images; 0: never.', 1),
  crops: described(
    z.union([z.literal(1), z.literal(10)], 'must be 1 or 10'),
    'Crops per test image whose scores are averaged: 1: the middle; 10: four corners, the middle, and their mirror images.',
    1,
  ),
  scales: described(
    z
      .array(whole(32, 2048), 'must be a list of whole numbers from 32 to 2048')
      .max(10, 'must have 10 entries or fewer')
      .default([]),
    'Shorter sides, in pixels, that test images are resized to; scores are averaged over them. With 1 crop the network sees whole images, ' +
      'fully convolutionally. Empty: the usual size alone.',
    [],
  ),
};

const checkpointShape = {
  everySteps: described(
    whole(0, 1_000_000_000),
    'Steps between checkpoints; 0: only the initial and the final one.',
    500,
  ),
  keep: described(whole(1, 100_000), 'Checkpoints kept, besides the initial one.', 3),
};

const outerFields = {
  name: described(
    z.string('must be a text').trim().min(1, 'must not be empty').max(100, 'must have 100 characters or fewer'),
    'Name shown to people. Default: the preset, or architecture and dataset.',
  ),
  priority: described(whole(-1000, 1000), 'Jobs of higher priority are served first.', 0),
};
const presetField = described(z.string('must be the name of a preset'), 'Preset that fills the fields left out.');

const object = 'must be an object';
/** A fully resolved job spec: every field is there. */
export const jobSpecSchema = z.strictObject(
  {
    name: outerFields.name,
    preset: presetField.optional(),
    model: z.strictObject(modelShape, object),
    dataset: datasetSchema,
    training: z.strictObject(
      {
        ...trainingFields,
        // Jobs of before there was a choice go on as they began.
        kernels: trainingFields.kernels.default('fixed'),
        optimizer: z.strictObject(optimizerShape, object),
        schedule: scheduleSchema,
        shuffle: shuffleSchema,
      },
      object,
    ),
    faults: z.strictObject(faultsShape, object),
    evaluation: z.strictObject(evaluationShape, object),
    checkpoint: z.strictObject(checkpointShape, object),
    initialWeights: initialWeightsSchema,
    priority: outerFields.priority,
  },
  object,
);

export type JobSpec = z.infer<typeof jobSpecSchema>;

/** What may be sent: any field may be left out. For OpenAPI (`z.toJSONSchema`) and documentation; `resolveJobSpec` validates. */
export const jobSpecInputSchema = z
  .strictObject({
    ...outerFields,
    preset: presetField,
    model: z.strictObject(modelShape).partial().describe('The network.'),
    dataset: datasetInputSchema,
    training: z
      .strictObject({
        ...trainingFields,
        optimizer: z.strictObject(optimizerShape).partial().describe('The optimizer.'),
        schedule: z
          .strictObject({
            ...scheduleShapes.step,
            finalLearningRate,
            anneal: scheduleShapes['one-cycle'].anneal,
            metric: scheduleShapes.plateau.metric,
            patience: scheduleShapes.plateau.patience,
            threshold: scheduleShapes.plateau.threshold,
            minimumRate: scheduleShapes.plateau.minimumRate,
            kind: described(
              oneOf('constant', 'step', 'cosine', 'one-cycle', 'plateau'),
              'How the learning rate changes.',
              'constant',
            ),
          })
          .partial()
          .describe(
            'The learning rate. milestones and milestoneSteps belong to step, gamma to step and plateau, finalLearningRate to cosine, ' +
              'anneal to one-cycle, metric, patience, threshold and minimumRate to plateau.',
          ),
        shuffle: shuffleInputSchema,
      })
      .partial()
      .describe('How the network is trained.'),
    faults: z.strictObject(faultsShape).partial().describe('What happens when something goes wrong.'),
    evaluation: z.strictObject(evaluationShape).partial().describe('When the test images are evaluated.'),
    checkpoint: z.strictObject(checkpointShape).partial().describe('When the state is saved.'),
    initialWeights: initialWeightsSchema,
  })
  .partial()
  .meta({
    title: 'JobSpecInput',
    description: 'One training run. Any field may be left out: the preset, then defaults fill it.',
  });

export type JobSpecInput = z.input<typeof jobSpecInputSchema>;

/** The fields that an object of the spec may have, by its path; for messages about unknown ones. */
export function fieldsAt(path: string, kind: unknown): string[] {
  const schedule = Object.entries(scheduleShapes).find(([name]) => name === kind)?.[1] ?? scheduleShapes.constant;
  const shapes: Record<string, object> = {
    '': jobSpecSchema.shape,
    model: modelShape,
    dataset: Object.entries(datasetShapes).find(([name]) => name === kind)?.[1] ?? datasetShapes.cifar10,
    'dataset.normalisation': normalisationSchema.shape,
    training: jobSpecSchema.shape.training.shape,
    'training.optimizer': optimizerShape,
    'training.schedule': schedule,
    'training.shuffle': kind === 'block' ? shuffleShapes.block : shuffleShapes.global,
    faults: faultsShape,
    evaluation: evaluationShape,
    checkpoint: checkpointShape,
    initialWeights: weightsShape,
  };
  return Object.keys(shapes[path] ?? {});
}
