// What a step consumes and how it is cut into tasks: a pure function of the job spec and the number of samples.
// Refuses to know workers, queues and what has happened so far.
import { createHash } from 'node:crypto';
import type { JobSpec } from '#model/job-spec.js';
import { shardsOf, tasksOf } from '#model/reduction.js';
import { miniBatchPositions, sampleIds } from '#model/sampler.js';

export interface TaskPlan {
  readonly task: number;
  readonly firstShard: number;
  /** Position of its first sample in the epoch's order; for evaluation the index in the test images. */
  readonly first: number;
  readonly samples: number;
  /** SHA-256 over the ids, little-endian uint32 each, in order; hexadecimal. Empty for evaluation. */
  readonly sampleIdsSha256: string;
}

export interface StepPlan {
  readonly step: number;
  readonly epoch: number;
  readonly first: number;
  readonly samples: number;
  readonly tasks: readonly TaskPlan[];
  /** SHA-256 over the tasks' hashes (as bytes), in task order; hexadecimal. */
  readonly sampleIdsSha256: string;
}

type Training = Pick<JobSpec['training'], 'batchSize' | 'shardSize' | 'shardsPerTask' | 'seed'>;

/** @param trainCount samples of an epoch */
export function planStep(training: Training, trainCount: number, step: number): StepPlan {
  const { epoch, first, count } = miniBatchPositions(trainCount, training.batchSize, step);
  const ids = sampleIds(training.seed, epoch, trainCount, first, count);
  const shards = shardsOf(count, training.shardSize);
  const tasks = tasksOf(shards.length, training.shardsPerTask).map(({ firstShard, shardCount }, task) => {
    const own = shards.slice(firstShard, firstShard + shardCount);
    const offset = own[0]!.first;
    const samples = own.reduce((sum, shard) => sum + shard.count, 0);
    const sampleIdsSha256 = sha256OfIds(ids.subarray(offset, offset + samples));
    return { task, firstShard, first: first + offset, samples, sampleIdsSha256 };
  });
  const sampleIdsSha256 = joinedHash(tasks.map((task) => task.sampleIdsSha256));
  return { step, epoch, first, samples: count, tasks, sampleIdsSha256 };
}

/** Tasks that a step of a whole mini-batch has: how many workers can help at once. */
export function tasksPerStep(training: Training, trainCount: number): number {
  const samples = Math.min(training.batchSize, trainCount);
  return tasksOf(shardsOf(samples, training.shardSize).length, training.shardsPerTask).length;
}

/** Evaluation tasks over `testCount` images. Running statistics are used, so the cut does not show in the result. */
export function planEvaluation(shardSize: number, testCount: number): readonly TaskPlan[] {
  const samples = 4 * shardSize;
  return Array.from({ length: Math.ceil(testCount / samples) }, (_, task) => {
    const first = task * samples;
    return { task, firstShard: 0, first, samples: Math.min(samples, testCount - first), sampleIdsSha256: '' };
  });
}

function sha256OfIds(ids: Uint32Array): string {
  return createHash('sha256').update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength)).digest('hex');
}

function joinedHash(hashes: readonly string[]): string {
  const hash = createHash('sha256');
  for (const each of hashes) hash.update(Buffer.from(each, 'hex'));
  return hash.digest('hex');
}
