// Owns: a trained net at rest, wherever it comes from: a checkpoint's folder, or a bare safetensors file of this or another library.
// Refuses to know: what is done with it, and images.
import { statSync } from 'node:fs';
import path from 'node:path';
import {
  CheckpointError,
  listCheckpoints,
  MANIFEST_FILE,
  MODEL_METADATA,
  readCheckpointModel,
  type CheckpointManifest,
} from '../checkpoint.js';
import { jobSpecSchema, type ModelSpec } from '../job-spec.js';
import { loadModelTensors } from '../model-tensors.js';
import { layoutOf } from '../parameters.js';
import { readSafetensors, SafetensorsError, type SafetensorsFile } from '../safetensors.js';
import { NotRecognisedError, recogniseModel, type Recognised } from './recognise.js';
import { isCounter, namingOf, type Naming } from './tensor-names.js';

export interface StoredModel {
  /** The checkpoint's folder or the file. */
  readonly source: string;
  readonly model: ModelSpec;
  /** Flat, in the layout's order. */
  readonly parameters: Float32Array;
  readonly statistics: Float32Array;
  /** What the checkpoint says of itself; undefined for a bare file. */
  readonly manifest: CheckpointManifest | undefined;
  /** Whose names the tensors have. */
  readonly library: string;
  /** What had to be assumed, a sentence for people. */
  readonly note: string | undefined;
}

/**
 * Reads a net and its weights.
 *
 * @param place a checkpoint's folder, a job's folder or its folder of checkpoints (the newest is taken), or a safetensors file
 * @param architecture what it is to be, where shapes leave it open
 * @throws CheckpointError or SafetensorsError: one sentence that names the file and what is wrong with it
 */
export function readStoredModel(place: string, architecture?: string): StoredModel {
  const found = statSync(place, { throwIfNoEntry: false });
  if (found === undefined)
    throw new CheckpointError(`there is no ${place}: name a checkpoint's folder or a safetensors file`);
  return found.isDirectory() ? fromCheckpoint(checkpointIn(place), architecture) : fromFile(place, architecture);
}

function checkpointIn(folder: string): string {
  if (statSync(path.join(folder, MANIFEST_FILE), { throwIfNoEntry: false }) !== undefined) return folder;
  const newest = [folder, path.join(folder, 'checkpoints')].map((each) => listCheckpoints(each).at(-1)?.path);
  return newest.find((each) => each !== undefined) ?? folder;
}

function fromCheckpoint(checkpoint: string, architecture: string | undefined): StoredModel {
  const { manifest, parameters, statistics } = readCheckpointModel(checkpoint);
  const { model } = manifest.spec;
  if (architecture !== undefined && architecture !== model.architecture) {
    throw new CheckpointError(
      `${checkpoint} holds a ${model.architecture}, not a ${architecture}; leave --architecture out`,
    );
  }
  return { source: checkpoint, model, parameters, statistics, manifest, library: 'Lockstep', note: undefined };
}

function fromFile(file: string, architecture: string | undefined): StoredModel {
  const { tensors, metadata } = readSafetensors(file);
  const naming = namingOf([...tensors.keys()]);
  if (naming === undefined) {
    throw new SafetensorsError(`${file} holds no residual net with the names of torchvision, timm or Hugging Face`);
  }
  const { model, note } = modelOf(file, { tensors, metadata }, naming, architecture);
  const layout = layoutOf(model);
  const parameters = new Float32Array(layout.parameterCount);
  const statistics = new Float32Array(layout.statisticCount);
  loadModelTensors(layout, tensors, parameters, statistics, file, naming.fromTorchvision);
  return { source: file, model, parameters, statistics, manifest: undefined, library: naming.library, note };
}

function modelOf(file: string, content: SafetensorsFile, naming: Naming, architecture: string | undefined): Recognised {
  const own = ownModel(content.metadata);
  if (own !== undefined && (architecture === undefined || architecture === own.architecture)) {
    return { model: own, note: undefined };
  }
  const shapes = new Map<string, readonly number[]>();
  for (const [name, { shape }] of content.tensors) {
    if (!isCounter(name)) shapes.set(naming.toTorchvision(name), shape);
  }
  try {
    return recogniseModel(shapes, architecture);
  } catch (error) {
    if (!(error instanceof NotRecognisedError)) throw error;
    throw new SafetensorsError(`${file} ${error.message}`, { cause: error });
  }
}

/** What Lockstep wrote into its own files; anybody else's metadata is passed over. */
function ownModel(metadata: SafetensorsFile['metadata']): ModelSpec | undefined {
  const text = metadata[MODEL_METADATA];
  if (text === undefined) return undefined;
  try {
    return jobSpecSchema.shape.model.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // not JSON: not ours, so shapes tell
  }
}
