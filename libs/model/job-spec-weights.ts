// Owns: the fields of a job spec that say which weights a training starts from.
// Refuses to know: whether they are there and fit (the coordinator looks), and how they are read (exchange/initial-weights.ts).
import { z } from 'zod';
import { described, oneOf } from './job-spec-fields.js';

const weightsPath = () =>
  z
    .string("must be a checkpoint's folder, relative to the data folder")
    .min(1, 'must not be empty')
    .max(500, 'must have 500 characters or fewer')
    .refine((path) => !/^([/\\]|[a-zA-Z]:)/.test(path), 'must be relative to the data folder, not absolute')
    .refine((path) => !path.split(/[/\\]/).includes('..'), "must stay inside the data folder: '..' is not allowed")
    .refine((path) => !path.includes('\0'), 'must not contain a zero byte');

export const weightsShape = {
  path: described(
    weightsPath(),
    "Checkpoint whose weights are taken, relative to the data folder: one that `npx lockstep import` made (imported/NAME), or another job's.",
  ),
  head: described(
    oneOf('new', 'keep').default('new'),
    'new: the dense layer starts anew, for other classes; keep: it is taken over too.',
    'new',
  ),
  sha256: described(
    z
      .string('must be a SHA-256 in hex')
      .regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hex')
      .nullable()
      .default(null),
    "parametersSha256 of the checkpoint's manifest, so that the job can be repeated. Default: that of the checkpoint found.",
  ),
};

export const initialWeightsSchema = described(
  z.strictObject(weightsShape, 'must be an object with path').nullable().default(null),
  'Weights that the training starts from, for fine-tuning; what model leaves out is as in their checkpoint. null: random ones.',
  null,
);
