// Owns: from what a user sent to a job spec in which every field is there and valid, or to all its errors at once.
// Refuses to know: HTTP and files, and whether the dataset is there.
import type { z } from 'zod';
import { checkJobSpec, type FieldError } from './job-spec-checks.js';
import { asFields, isFields, isImageFiles, overlay, withDefaults, type Fields } from './job-spec-defaults.js';
import { fieldsAt, jobSpecSchema, type JobSpec } from './job-spec-schema.js';
import { alternatives, nearNames } from './near-names.js';
import { presetNames, presetOf } from './presets.js';

export { jobSpecInputSchema, jobSpecSchema, type JobSpec, type JobSpecInput } from './job-spec-schema.js';
export type { FieldError } from './job-spec-checks.js';
export type ModelSpec = JobSpec['model'];
export type DatasetSpec = JobSpec['dataset'];
export type TrainingSpec = JobSpec['training'];
export type NormalisationSpec = Extract<DatasetSpec, { kind: 'cifar10' }>['normalisation'];

/** A job spec that cannot be run; `errors` names every field that is wrong, one sentence each. */
export class SpecError extends Error {
  readonly errors: readonly FieldError[];

  constructor(errors: readonly FieldError[]) {
    super(errors.map(({ path, message }) => (path === '' ? message : `${path} ${message}`)).join('; '));
    this.name = 'SpecError';
    this.errors = errors;
  }
}

/**
 * Resolves a job spec: preset, then derived defaults, then validation. A resolved spec resolves to itself.
 *
 * @param input what was parsed from JSON or YAML
 * @param classes number of classes that a dataset of image files has, where the spec does not say (see `datasetWithoutClasses`)
 * @throws SpecError with all errors found
 */
export function resolveJobSpec(input: unknown, classes?: number): JobSpec {
  if (!isFields(input)) throw new SpecError([{ path: '', message: 'the job spec must be an object' }]);
  const given = overlay(presetFields(input.preset), input);
  if (isImageFiles(given.dataset) && given.dataset.classes === undefined) given.dataset = { ...given.dataset, classes };
  const missing = missingBasics(given);
  if (missing.length > 0) throw new SpecError(missing);

  const filled = withDefaults(given);
  const parsed = jobSpecSchema.safeParse(filled);
  if (!parsed.success)
    throw new SpecError(
      causesAmong(
        parsed.error.issues.flatMap((issue) => fieldErrors(issue, filled)),
        given,
      ),
    );
  const errors = causesAmong(checkJobSpec(parsed.data), given);
  if (errors.length > 0) throw new SpecError(errors);
  return parsed.data;
}

/** The dataset of image files of a spec that leaves it to the files how many classes there are; undefined for any other spec. */
export function datasetWithoutClasses(input: unknown): Readonly<Fields> | undefined {
  if (!isFields(input)) return undefined;
  const { dataset, model } = overlay(presetFields(input.preset), input);
  const told = asFields(dataset).classes ?? asFields(model).classes;
  return isImageFiles(dataset) && told === undefined ? dataset : undefined;
}

function presetFields(name: unknown): Fields {
  if (name === undefined) return {};
  if (typeof name !== 'string') throw new SpecError([{ path: 'preset', message: 'must be the name of a preset' }]);
  const preset = presetOf(name);
  if (preset) return preset.spec;
  const near = nearNames(name, presetNames);
  const hint = near.length > 0 ? `; did you mean ${alternatives(near)}?` : `; there are ${presetNames.join(', ')}`;
  throw new SpecError([{ path: 'preset', message: `'${name}' is not known${hint}` }]);
}

/** Without a preset the dataset and the architecture are needed: nothing else can be derived before they are there. */
function missingBasics(given: Fields): FieldError[] {
  const missing: FieldError[] = [];
  const { dataset, model } = given;
  if (model === undefined || (isFields(model) && model.architecture === undefined)) {
    missing.push({
      path: 'model.architecture',
      message: 'is missing: name an architecture (such as resnet20) or a preset',
    });
  }
  if (dataset === undefined || (isFields(dataset) && dataset.kind === undefined)) {
    missing.push({
      path: 'dataset.kind',
      message: 'is missing: name cifar10, imagefolder, webdataset or synthetic, or a preset',
    });
  } else if (isImageFiles(dataset) && !('classes' in asFields(model)) && dataset.classes === undefined) {
    missing.push({
      path: 'dataset.classes',
      message: 'is missing: the number of classes of these images is not known yet',
    });
  }
  return missing;
}

function fieldErrors(issue: z.core.$ZodIssue, spec: Fields): FieldError[] {
  const path = issue.path.join('.');
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
  const fields = fieldsAt(path, valueAt(spec, [...issue.path, 'kind']));
  return issue.keys.map((key) => {
    const near = nearNames(key, fields);
    const hint = near.length > 0 ? `did you mean ${alternatives(near)}?` : `the fields here are ${fields.join(', ')}`;
    return { path: path === '' ? key : `${path}.${key}`, message: `is not a known field; ${hint}` };
  });
}

/** Of several errors, those of fields that were given: a derived field is wrong only because another one is. */
function causesAmong(errors: readonly FieldError[], given: Fields): readonly FieldError[] {
  const causes = errors.filter(({ path }) => valueAt(given, path.split('.')) !== undefined);
  return causes.length > 0 ? causes : errors;
}

function valueAt(spec: Fields, path: readonly PropertyKey[]): unknown {
  let value: unknown = spec;
  for (const key of path) value = isFields(value) ? value[String(key)] : undefined;
  return value;
}
