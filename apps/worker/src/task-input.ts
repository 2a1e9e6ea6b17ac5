// Makes the images of one task, all its shards in one piece of shared memory, and the hash of the sample ids consumed.
// Refuses to know parameters, computing and the coordinator.
import { createHash } from 'node:crypto';
import { elementsOf, isSingleView, viewElements } from '#model/evaluation-views.js';
import type { JobSpec } from '#model/job-spec.js';
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

/**
 * All shards are asked for at once: what reads and decodes images does not run dry between them.
 *
 * Rejects with the signal's reason, or with what the dataset says is wrong.
 */
export async function prepareInput(
  task: TaskEntry,
  { spec, dataset }: JobContext,
  buffers: SharedBuffers,
  signal: AbortSignal,
): Promise<TaskInput> {
  const { shards, epoch } = task;
  const samples = samplesOf(task);
  const train = task.key.kind === 'train';
  const single = train || isSingleView(spec.evaluation);
  const perSample = single
    ? dataset.imageShape.reduce((product, side) => product * side, 1)
    : viewElements(spec.evaluation, spec.model.imageSize);
  const labelsAt = samples * perSample * Float32Array.BYTES_PER_ELEMENT;
  const loan = await buffers.acquire(labelsAt + samples * Int32Array.BYTES_PER_ELEMENT, signal);
  const started = performance.now();
  try {
    const images = new Float32Array(loan.buffer, 0, samples * perSample);
    const labels = new Int32Array(loan.buffer, labelsAt, samples);
    const shardSamples = shards.map((shard) => shard.samples);
    const ids = train ? idsOf(task, spec, dataset.trainCount) : new Uint32Array(0);
    let input: ComputeInput = { images, labels, shardSamples };
    // Test images of a task follow each other.
    const { first } = shards[0]!;
    if (train) {
      await dataset.prepareTrain(ids, spec.training.seed, epoch, spec.dataset.augmentation, images, labels);
    } else if (single) {
      await dataset.prepareTest(first, samples, images, labels);
    } else {
      const views = await dataset.prepareTestViews(spec.evaluation, first, samples, images, labels);
      input = { ...input, images: images.subarray(0, elementsOf(views)), views };
    }
    const seconds = (performance.now() - started) / 1000;
    return { input, sampleIdsSha256: hashOf(ids), seconds, release: loan.release };
  } catch (error) {
    loan.release();
    throw error;
  }
}

/** Those of all shards, in order; between them may be some that are left out. */
function idsOf({ shards, epoch }: TaskEntry, { training }: JobSpec, trainCount: number): Uint32Array {
  return Uint32Array.from(
    shards.flatMap(({ first, samples }) => [...sampleIds(training, epoch, trainCount, first, samples)]),
  );
}

/** Exported for specs. */
export function hashOf(ids: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
  return createHash('sha256').update(bytes).digest();
}
