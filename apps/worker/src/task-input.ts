// Makes the images of one task, all its shards in one piece of shared memory, and the hash of the sample ids consumed.
// Refuses to know parameters, computing and the coordinator.
import { createHash } from 'node:crypto';
import { elementsOf, isSingleView, viewElements, type ViewGroup } from '#model/evaluation-views.js';
import { sampleIds } from '#model/sampler.js';
import { samplesOf, type TaskEntry } from '#proto/task-entry.js';
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
  context: JobContext,
  buffers: SharedBuffers,
  signal: AbortSignal,
): Promise<TaskInput> {
  const { spec, dataset } = context;
  if (task.key.kind === 'evaluate' && !isSingleView(spec.evaluation))
    return prepareViews(task, context, buffers, signal);
  const { shards, epoch } = task;
  const { seed } = spec.training;
  const samples = samplesOf(task);
  const imageElements = dataset.imageShape.reduce((product, side) => product * side, 1);
  const labelsAt = samples * imageElements * Float32Array.BYTES_PER_ELEMENT;
  const loan = await buffers.acquire(labelsAt + samples * Int32Array.BYTES_PER_ELEMENT, signal);
  try {
    const images = new Float32Array(loan.buffer, 0, samples * imageElements);
    const labels = new Int32Array(loan.buffer, labelsAt, samples);
    const train = task.key.kind === 'train';
    const ids = new Uint32Array(train ? samples : 0);
    let at = 0;
    for (const { first, samples: count } of shards) {
      const end = at + count;
      if (train) ids.set(sampleIds(spec.training, epoch, dataset.trainCount, first, count), at);
      else
        await dataset.prepareTest(
          first,
          count,
          images.subarray(at * imageElements, end * imageElements),
          labels.subarray(at, end),
        );
      at = end;
    }
    // All shards at once: what decodes images does not run dry between them.
    if (train) await dataset.prepareTrain(ids, seed, epoch, spec.dataset.augmentation, images, labels);
    const shardSamples = shards.map((shard) => shard.samples);
    return { input: { images, labels, shardSamples }, sampleIdsSha256: hashOf(ids), release: loan.release };
  } catch (error) {
    loan.release();
    throw error;
  }
}

/** Several views of each test image, as they lie without holes. */
async function prepareViews(
  task: TaskEntry,
  { spec, dataset }: JobContext,
  buffers: SharedBuffers,
  signal: AbortSignal,
): Promise<TaskInput> {
  const samples = samplesOf(task);
  const most = samples * viewElements(spec.evaluation, spec.model.imageSize);
  const labelsAt = most * Float32Array.BYTES_PER_ELEMENT;
  const loan = await buffers.acquire(labelsAt + samples * Int32Array.BYTES_PER_ELEMENT, signal);
  try {
    const images = new Float32Array(loan.buffer, 0, most);
    const labels = new Int32Array(loan.buffer, labelsAt, samples);
    const views: (readonly ViewGroup[])[] = [];
    let at = 0;
    for (const { first, samples: count } of task.shards) {
      const own = labels.subarray(views.length, views.length + count);
      const seen = await dataset.prepareTestViews(spec.evaluation, first, count, images.subarray(at), own);
      views.push(...seen);
      at += elementsOf(seen);
    }
    const shardSamples = task.shards.map((shard) => shard.samples);
    const input = { images: images.subarray(0, at), labels, shardSamples, views };
    return { input, sampleIdsSha256: hashOf(new Uint32Array(0)), release: loan.release };
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
