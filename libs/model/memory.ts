// Owns: how much memory a job will need in a worker and in the coordinator, before it starts: for admission.
// Refuses to know: how much there is, and who decides. test/memory.test.ts holds it against measured processes.

import { peakTensorBytes } from './device-memory.js';
import type { JobSpec, TrainingSpec } from './job-spec.js';
import { layoutOf } from './parameters.js';
import type { ParameterLayout } from './parameters.js';

const FLOAT32 = 4;
const MIB = 2 ** 20;
/** Images, versions of the parameters and contributions: one in use, one being got ready or on its way. */
const HELD_BY_A_WORKER = 2;
/** Versions in the coordinator: the present one, the next one, and one that a checkpoint still reads. */
const STATE_BUFFERS = 3;

/** A worker without a job: Node, TensorFlow's library, the packages for queue and wire. Measured. */
const IDLE_WORKER_BYTES = 400 * MIB;

type MemorySpec = Pick<JobSpec, 'model' | 'training'>;

/**
 * Peak resident memory of a worker that computes this job's tasks, within 15 % of what is measured: the idle process, its
 * shared buffers, the tensors of one shard's pass, the partial sums of a task of several shards, and what kernels and the
 * allocator keep beside those (as much as the parameters; measured).
 */
export function estimateWorkerMemory({ model, training }: MemorySpec): number {
  const layout = layoutOf(model);
  const { shardSize, shardsPerTask, precision } = training;
  const vector = FLOAT32 * (layout.parameterCount + layout.statisticCount);
  // Kernels read the version that they compute with where it lies: it is among the tensors.
  const versions = (HELD_BY_A_WORKER - 1) * (precision === 'bfloat16' ? 2 : FLOAT32) * layout.parameterCount;
  const images = FLOAT32 * shardSize * shardsPerTask * model.imageSize ** 2 * 3;
  const buffers = versions + HELD_BY_A_WORKER * (images + contributionBytes(layout, training));
  const sums = partialSums(shardsPerTask) * vector;
  const slack = (precision === 'float32' ? FLOAT32 : 2) * layout.parameterCount;
  return IDLE_WORKER_BYTES + buffers + peakTensorBytes(model, shardSize, precision) + sums + slack;
}

/**
 * What a job adds to the coordinator's memory while it trains: versions of its state, the partial sums of the tree, and the
 * contributions that are staged at once.
 * @param tasks tasks per step
 * @param stagingBytes budget of staged contributions; at least one is always admitted
 */
export function estimateCoordinatorMemory(
  { model, training }: MemorySpec,
  tasks: number,
  stagingBytes: number,
): number {
  const layout = layoutOf(model);
  const { parameterCount, statisticCount } = layout;
  // Where workers pull bits of bfloat16, each version lies here rounded too.
  const rounded = training.precision === 'bfloat16' ? 2 * parameterCount : 0;
  const state = STATE_BUFFERS * (FLOAT32 * (2 * parameterCount + statisticCount) + rounded);
  const sums = (Math.ceil(Math.log2(Math.max(1, tasks))) + 1) * FLOAT32 * (parameterCount + statisticCount);
  const contribution = contributionBytes(layout, training);
  return state + sums + Math.max(contribution, Math.min(stagingBytes, tasks * contribution));
}

/**
 * What versions take up a second time in memory that workers on the coordinator's host see, in the form in which they pull.
 */
export function sharedVersionBytes({ model, training }: MemorySpec): number {
  return STATE_BUFFERS * (training.precision === 'bfloat16' ? 2 : FLOAT32) * layoutOf(model).parameterCount;
}

/** Bytes of one contribution: gradient in the wire's precision, statistics in float32. */
export function contributionBytes(layout: ParameterLayout, { wire }: Pick<TrainingSpec, 'wire'>): number {
  return (wire === 'bfloat16' ? 2 : FLOAT32) * layout.parameterCount + FLOAT32 * layout.statisticCount;
}

/** Sums that wait at once while a task's shards are added: the ones in the binary form of all shards but the last. */
function partialSums(shards: number): number {
  return shards === 1 ? 0 : Math.ceil(Math.log2(shards));
}

/** Why a job does not fit, in one sentence for people; undefined where it does. */
export function memoryProblem(who: string, needed: number, available: number): string | undefined {
  if (needed <= available) return undefined;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
  return (
    `${who} would need ${gigabytes(needed)} of memory and has ${gigabytes(available)}: ` +
    'lower training.shardSize, or use bfloat16.'
  );
}
