// Makes the images of one task, all its shards in one piece of shared memory, and the hash of the sample ids consumed.
// Refuses to know parameters, computing and the coordinator.
import { createHash } from 'node:crypto';
import { shardsOf } from '#model/reduction.js';
import { sampleIds } from '#model/sampler.js';
import type { TaskEntry } from '#proto/task-entry.js';
import type { ComputeInput } from './compute-protocol.js';
import type { JobContext } from './job-contexts.js';
import type { SharedBuffers } from './shared-buffers.js';

export interface TaskInput {
  readonly input: ComputeInput;
  /** SHA-256 over the sample ids, little-endian uint32 each, in order; of no ids for evaluation. */
  readonly sampleIdsSha256: Uint8Array;
  /** Gives the memory back; idempotent. */
  release(): void;
}

/** Rejects with the signal's reason, or with what the dataset says is wrong. */
export async function prepareInput(
  task: TaskEntry,
  { spec, dataset }: JobContext,
  buffers: SharedBuffers,
  signal: AbortSignal,
): Promise<TaskInput> {
  const { samples, first, epoch } = task;
  const { seed, shardSize } = spec.training;
  const imageElements = dataset.imageShape.reduce((product, side) => product * side, 1);
  const labelsAt = samples * imageElements * Float32Array.BYTES_PER_ELEMENT;
  const loan = await buffers.acquire(labelsAt + samples * Int32Array.BYTES_PER_ELEMENT, signal);
  try {
    const images = new Float32Array(loan.buffer, 0, samples * imageElements);
    const labels = new Int32Array(loan.buffer, labelsAt, samples);
    const train = task.key.kind === 'train';
    const ids = train ? sampleIds(seed, epoch, dataset.trainCount, first, samples) : new Uint32Array(0);
    if (train) await dataset.prepareTrain(ids, seed, epoch, spec.dataset.augmentation, images, labels);
    else await dataset.prepareTest(first, samples, images, labels);
    // A task begins where a shard does, so its own shards are those of the mini-batch, the last one included.
    const shardSamples = shardsOf(samples, shardSize).map(({ count }) => count);
    return { input: { images, labels, shardSamples }, sampleIdsSha256: hashOf(ids), release: loan.release };
  } catch (error) {
    loan.release();
    throw error;
  }
}

/** Exported for specs. */
export function hashOf(ids: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
  return createHash('sha256').update(bytes).digest();
}
