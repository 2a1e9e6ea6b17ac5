// Makes the images of one task, all its shards in one piece of shared memory, and the hash of the sample ids consumed.
// Refuses to know parameters, computing and the coordinator.
import { createHash } from 'node:crypto';
import { sampleIds } from '#model/sampler.js';
import { samplesOf, type TaskEntry } from '#proto/task-entry.js';
import type { ComputeInput } from './compute-protocol.js';
import type { JobContext } from './job-contexts.js';
import type { SharedBuffers } from './shared-buffers.js';

export interface TaskInput {
  readonly input: ComputeInput;
  /** SHA-256 over the sample ids, little-endian uint32 each, in order; of no ids for evaluation. */
  readonly sampleIdsSha256: Uint8Array;
  /** What making them took. */
  readonly seconds: number;
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
  const { shards, epoch } = task;
  const { seed } = spec.training;
  const samples = samplesOf(task);
  const imageElements = dataset.imageShape.reduce((product, side) => product * side, 1);
  const labelsAt = samples * imageElements * Float32Array.BYTES_PER_ELEMENT;
  const loan = await buffers.acquire(labelsAt + samples * Int32Array.BYTES_PER_ELEMENT, signal);
  const started = performance.now();
  try {
    const images = new Float32Array(loan.buffer, 0, samples * imageElements);
    const labels = new Int32Array(loan.buffer, labelsAt, samples);
    const train = task.key.kind === 'train';
    const ids = new Uint32Array(train ? samples : 0);
    let at = 0;
    for (const shard of shards) {
      const end = at + shard.samples;
      const own = images.subarray(at * imageElements, end * imageElements);
      if (train) {
        const shardIds = sampleIds(seed, epoch, dataset.trainCount, shard.first, shard.samples);
        ids.set(shardIds, at);
        await dataset.prepareTrain(shardIds, seed, epoch, spec.dataset.augmentation, own, labels.subarray(at, end));
      } else await dataset.prepareTest(shard.first, shard.samples, own, labels.subarray(at, end));
      at = end;
    }
    const shardSamples = shards.map((shard) => shard.samples);
    const seconds = (performance.now() - started) / 1000;
    return { input: { images, labels, shardSamples }, sampleIdsSha256: hashOf(ids), seconds, release: loan.release };
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
