// Weights that a job starts from: finds their checkpoint in the data folder, lets the model follow it, checks that both fit.
// Refuses to know tensors' numbers: a manifest says all that is asked here.
import { realpathSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { CheckpointError, listCheckpoints, readManifest, type CheckpointManifest } from '#model/checkpoint.js';
import { headOf, type InitialWeights } from '#model/exchange/initial-weights.js';
import { type JobSpec, SpecError } from '#model/job-spec.js';
import { asFields, isFields, overlay } from '#model/job-spec-defaults.js';
import { layoutOf } from '#model/parameters.js';
import { presetOf } from '#model/presets.js';

/** Of the model: what a net's tensors and their meaning depend on. */
const followed = ['architecture', 'activation', 'shortcut', 'batchNorm'] as const;

/**
 * What was sent, with the model's fields and the hash that follow from the weights filled in; as it is where there are none.
 * @throws SpecError where the weights are not there
 */
export function followWeights(input: unknown, dataDir: string): unknown {
  if (!isFields(input)) return input;
  const preset = typeof input['preset'] === 'string' ? (presetOf(input['preset'])?.spec ?? {}) : {};
  const weights = overlay(preset, input)['initialWeights'];
  if (!isFields(weights) || typeof weights['path'] !== 'string') return input;
  const { path, manifest } = checkpointAt(weights['path'], dataDir);
  const { model } = manifest.spec;
  const following = Object.fromEntries(followed.map((field) => [field, model[field]]));
  return {
    ...input,
    model: { ...following, ...asFields(input['model']) },
    initialWeights: { ...weights, path, sha256: weights['sha256'] ?? manifest.parametersSha256 },
  };
}

/** @throws SpecError where the weights are not the job's net's, naming what differs */
export function checkWeights(spec: JobSpec, dataDir: string): void {
  const { initialWeights: weights, model } = spec;
  if (weights === null) return;
  const { manifest } = checkpointAt(weights.path, dataDir);
  const theirs = manifest.spec.model;
  const errors = followed
    .filter((field) => model[field] !== theirs[field])
    .map((field) => ({ path: `model.${field}`, message: `must be ${String(theirs[field])}, as in ${weights.path}` }));
  if (errors.length > 0) throw new SpecError(errors);
  if (weights.sha256 !== manifest.parametersSha256) {
    const message = `is not that of ${weights.path}, which is ${manifest.parametersSha256}`;
    throw new SpecError([{ path: 'initialWeights.sha256', message }]);
  }
  if (weights.head === 'keep' && theirs.classes !== model.classes) {
    const [found, needed] = [manifest.spec.model, model].map(headShape);
    const message = `must be new: fc.weight has shape ${found} in ${weights.path}, the network needs ${needed}`;
    throw new SpecError([{ path: 'initialWeights.head', message }]);
  }
}

/** What the training is told; undefined where it starts from random weights. */
export function weightsOf({ initialWeights: weights }: JobSpec, dataDir: string): InitialWeights | undefined {
  if (weights === null || weights.sha256 === null) return undefined;
  return { checkpoint: join(dataDir, weights.path), head: weights.head, sha256: weights.sha256 };
}

/** The checkpoint that a path leads to, or the newest of those in a folder; as a path relative to the data folder. */
function checkpointAt(path: string, dataDir: string): { path: string; manifest: CheckpointManifest } {
  const fail = (message: string): SpecError => new SpecError([{ path: 'initialWeights.path', message }]);
  const folder = resolve(dataDir, path);
  let real: string;
  let root: string;
  try {
    [root, real] = [realpathSync(dataDir), realpathSync(folder)];
  } catch {
    throw fail(`names no folder in ${dataDir}; make one of a file with \`npx lockstep import\``);
  }
  if (real !== root && !real.startsWith(`${root}${sep}`)) throw fail('leads outside the data folder');
  const checkpoint = listCheckpoints(folder).at(-1)?.path ?? folder;
  try {
    return { path: relative(resolve(dataDir), checkpoint), manifest: readManifest(checkpoint) };
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw fail(`cannot be used: ${error.message}`);
  }
}

function headShape(model: JobSpec['model']): string {
  const weight = layoutOf(model).parameters.find((entry) => headOf(model)(entry));
  return `[${[...(weight?.shape ?? [])].reverse().join(', ')}]`;
}
