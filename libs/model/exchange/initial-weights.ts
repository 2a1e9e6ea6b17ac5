// Owns: the state that a training starts from when weights are given: those of a checkpoint, with its head or a new one.
// Refuses to know: who checks that they fit the job, and where the data folder is.
import { CheckpointError, parametersSha256, readCheckpointModel } from '../checkpoint.js';
import type { ModelSpec } from '../job-spec.js';
import { initialState, layoutOf, type TensorEntry } from '../parameters.js';
import { planOf } from '../resnet.js';

export interface InitialWeights {
  /** The checkpoint's folder. */
  readonly checkpoint: string;
  /** new: the dense layer starts from random numbers of the job's seed. */
  readonly head: 'new' | 'keep';
  /** `parametersSha256` that the checkpoint must have. */
  readonly sha256: string;
}

/**
 * Version 0 of parameters and running statistics.
 * @throws CheckpointError where the checkpoint is not the one that was named, or belongs to another net
 */
export function stateFromWeights(
  model: ModelSpec,
  seed: number,
  { checkpoint, head, sha256 }: InitialWeights,
): { parameters: Float32Array; statistics: Float32Array } {
  const found = readCheckpointModel(checkpoint);
  if (parametersSha256(found.parameters) !== sha256) {
    throw new CheckpointError(
      `${checkpoint} holds other weights than when the job was submitted; put those back, or submit it anew`,
    );
  }
  const source = layoutOf(found.manifest.spec.model);
  const layout = layoutOf(model);
  const isHead = headOf(model);
  // Random numbers are keyed by tensor, so those of the head can be made alone.
  const headAlone = { ...layout, parameters: layout.parameters.filter(isHead) };
  const fresh = head === 'new' ? initialState(model, headAlone, seed).parameters : undefined;
  const parameters = new Float32Array(layout.parameterCount);
  for (const entry of layout.parameters) {
    const target = parameters.subarray(entry.offset, entry.offset + entry.size);
    if (fresh !== undefined && isHead(entry)) target.set(fresh.subarray(entry.offset, entry.offset + entry.size));
    else target.set(valuesOf(found.parameters, source.parameters, entry, checkpoint));
  }
  const statistics = new Float32Array(layout.statisticCount);
  for (const entry of layout.statistics) {
    statistics.set(valuesOf(found.statistics, source.statistics, entry, checkpoint), entry.offset);
  }
  return { parameters, statistics };
}

/** Whether a tensor belongs to the dense layer. */
export function headOf(model: ModelSpec): (entry: Pick<TensorEntry, 'name'>) => boolean {
  const { name } = planOf(model).dense;
  return (entry) => entry.name.startsWith(`${name}.`);
}

function valuesOf(
  flat: Float32Array,
  entries: readonly TensorEntry[],
  wanted: TensorEntry,
  checkpoint: string,
): Float32Array {
  const found = entries.find(({ name }) => name === wanted.name);
  if (found === undefined || found.shape.join() !== wanted.shape.join()) {
    const has = found === undefined ? 'none' : `one of shape [${found.shape.join(', ')}]`;
    throw new CheckpointError(
      `${checkpoint} does not fit: ${wanted.name} must have shape [${wanted.shape.join(', ')}], it has ${has}`,
    );
  }
  return flat.subarray(found.offset, found.offset + found.size);
}
