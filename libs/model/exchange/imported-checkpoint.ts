// Owns: the checkpoint that an imported file becomes: its weights as the initial state of a job that has not begun.
// Refuses to know: files of other libraries (stored-model.ts).
import { writeCheckpoint, type CheckpointManifest } from '../checkpoint.js';
import { isCifarForm } from '../architecture.js';
import { resolveJobSpec, type JobSpec } from '../job-spec.js';
import { layoutOf } from '../parameters.js';
import { scheduleStateAtStart } from '../schedule.js';
import type { StoredModel } from './stored-model.js';

/**
 * Writes `<folder>/step-00000000`. Its spec names the images that the net is taken to be for, with their usual
 * normalisation; a job that starts from it has a spec of its own.
 *
 * @param about versions and time, for the manifest
 * @throws CheckpointError
 */
export function writeImportedCheckpoint(
  stored: StoredModel,
  folder: string,
  name: string,
  about: Pick<CheckpointManifest, 'versions' | 'createdAt'>,
): { path: string; manifest: CheckpointManifest } {
  const { model, parameters, statistics } = stored;
  const spec = specOf(stored, name);
  const layout = layoutOf(model);
  const momentum = new Float32Array(layout.parameterCount);
  const scheduleState = scheduleStateAtStart(spec.training.schedule);
  return writeCheckpoint(
    folder,
    layout,
    { parameters, statistics, momentum, scheduleState },
    { jobId: null, spec, step: 0, epoch: 0, datasetIndexHash: null, metrics: {}, numericsClass: null, ...about },
  );
}

function specOf({ model, manifest }: StoredModel, name: string): JobSpec {
  if (manifest !== undefined) return manifest.spec;
  const cifar10 = isCifarForm(model.architecture) && model.classes === 10 && model.imageSize === 32;
  const { classes, imageSize } = model;
  return resolveJobSpec({
    name: name.slice(0, 100),
    model,
    dataset: cifar10 ? { kind: 'cifar10' } : { kind: 'imagefolder', path: 'imagenet', classes, imageSize },
  });
}
