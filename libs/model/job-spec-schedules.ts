// Owns: the fields of every kind of learning-rate schedule: type, limits, meaning, unit and default.
// Refuses to know: the rest of the job spec, and how a rate follows from them (schedule.ts).
import { z } from 'zod';
import { described, positive, notNegative, whole, oneOf } from './job-spec-fields.js';

const rateFields = {
  learningRate: described(positive(), 'Learning rate after warm-up (for one-cycle: the peak).', 0.1),
  warmupEpochs: described(
    notNegative(),
    'Length of the linear warm-up in epochs, fractions allowed. Default: 0; for one-cycle 30 % of the training.',
  ),
};
const epochList = 'must be a list of rising numbers above 0, in epochs';
const stepList = 'must be a list of rising whole numbers above 0, in steps';
const rising = (values: number[]): boolean => values.every((value, index) => index === 0 || value > values[index - 1]!);
export const finalLearningRate = described(notNegative(), 'Learning rate that the cosine ends at.', 0);

export const scheduleShapes = {
  constant: { kind: z.literal('constant'), ...rateFields },
  step: {
    kind: z.literal('step'),
    ...rateFields,
    milestones: described(
      z
        .array(z.number(epochList).gt(0, epochList), epochList)
        .max(100, 'must have 100 entries or fewer')
        .refine(rising, epochList),
      'Epochs at which the rate is multiplied by gamma.',
      [],
    ),
    milestoneSteps: described(
      z
        .array(z.int(stepList).gt(0, stepList), stepList)
        .max(100, 'must have 100 entries or fewer')
        .refine(rising, stepList),
      'Steps at which the rate is multiplied by gamma, where a recipe counts in iterations.',
      [],
    ),
    gamma: described(positive(), 'What the rate is multiplied by at each milestone.', 0.1),
  },
  cosine: { kind: z.literal('cosine'), ...rateFields, finalLearningRate },
  'one-cycle': {
    kind: z.literal('one-cycle'),
    ...rateFields,
    anneal: described(oneOf('linear', 'cosine'), 'How the rate falls from its peak to 0.', 'linear'),
  },
  plateau: {
    kind: z.literal('plateau'),
    ...rateFields,
    metric: described(
      oneOf('error', 'loss'),
      'What an evaluation must lower to count as better: the top-1 error or the loss on the test images.',
      'error',
    ),
    patience: described(
      whole(1, 1_000_000),
      'Evaluations in a row that are no better before the rate is multiplied by gamma.',
      5,
    ),
    threshold: described(
      z
        .number('must be a number from 0 to below 1')
        .min(0, 'must be a number from 0 to below 1')
        .lt(1, 'must be a number from 0 to below 1'),
      'Share of the best value by which an evaluation must be lower to count as better.',
      0.001,
    ),
    gamma: described(
      z
        .number('must be a number above 0 and below 1')
        .gt(0, 'must be a number above 0 and below 1')
        .lt(1, 'must be a number above 0 and below 1'),
      'What the rate is multiplied by on a plateau.',
      0.1,
    ),
    minimumRate: described(notNegative(), 'The rate never falls below this one.', 0),
  },
};

const scheduleKinds = 'must be one of constant, step, cosine, one-cycle, plateau';
export const scheduleSchema = z.discriminatedUnion(
  'kind',
  [
    z.strictObject(scheduleShapes.constant),
    z.strictObject(scheduleShapes.step),
    z.strictObject(scheduleShapes.cosine),
    z.strictObject(scheduleShapes['one-cycle']),
    z.strictObject(scheduleShapes.plateau),
  ],
  scheduleKinds,
);
