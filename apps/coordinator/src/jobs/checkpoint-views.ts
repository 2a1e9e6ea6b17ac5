// A job's checkpoints as people see them. Reads manifests; refuses to know tensors.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, checkpointName, listCheckpoints, readManifest } from '#model/checkpoint.js';
import { NotFoundError } from '../errors.js';
import type { CheckpointView } from './ports.js';

const manifestFile = 'manifest.json';

/** Whole checkpoints in order of steps; one that was pruned meanwhile, or whose manifest is damaged, is left out. */
export function listCheckpointViews(folder: string): CheckpointView[] {
  return listCheckpoints(folder).flatMap(({ step, path }) => {
    try {
      const { epoch, parametersSha256, stateSha256, createdAt, files } = readManifest(path);
      const manifest = { name: manifestFile, bytes: statSync(join(path, manifestFile)).size };
      const listed = [...Object.entries(files).map(([name, { bytes }]) => ({ name, bytes })), manifest];
      return [{ step, epoch, path, parametersSha256, stateSha256, createdAt, files: listed }];
    } catch (error) {
      if (error instanceof CheckpointError) return [];
      throw error;
    }
  });
}

/** @throws NotFoundError where there is no such checkpoint or file */
export function checkpointFilePath(folder: string, step: number, name: string): string {
  const path = join(folder, checkpointName(step));
  const view = listCheckpointViews(folder).find((candidate) => candidate.step === step);
  if (view === undefined) throw new NotFoundError(`There is no checkpoint of step ${step}.`);
  if (!view.files.some((file) => file.name === name)) {
    throw new NotFoundError(`The checkpoint of step ${step} has no file ${name}.`);
  }
  const file = join(path, name);
  if (!existsSync(file)) throw new NotFoundError(`The checkpoint of step ${step} was removed.`);
  return file;
}
