// What a step consumes and how it is cut into tasks: a pure function of the job spec, the number of samples and the
// shards that are left out. Refuses to know workers, queues and what has happened so far.
import { createHash } from 'node:crypto';
import type { JobSpec } from '#model/job-spec.js';
import { EVALUATION_SHARDS_PER_TASK } from '#model/evaluation.js';
import { shardsOf, tasksOf } from '#model/reduction.js';
import { miniBatchPositions, sampleIds } from '#model/sampler.js';

export interface ShardPlan {
  /** Index in the whole mini-batch, whether or not others are left out. */
  readonly shard: number;
  /** Position of its first sample in the epoch's order; for evaluation the index in the test images. */
  readonly first: number;
  readonly samples: number;
}

export interface TaskPlan {
  readonly task: number;
  readonly shards: readonly ShardPlan[];
  readonly samples: number;
  /** SHA-256 over the ids, little-endian uint32 each, in order; hexadecimal. Empty for evaluation. */
  readonly sampleIdsSha256: string;
}

export interface StepPlan {
  readonly step: number;
  readonly epoch: number;
  /** Positions [first, first + samples) of the epoch's order are the whole mini-batch. */
  readonly first: number;
  readonly samples: number;
  /** Samples that are computed: all but those of `excludedShards`. Gradients are scaled by this number. */
  readonly samplesLeft: number;
  readonly excludedShards: readonly number[];
  /** Ids of the samples that these hold. */
  readonly excluded: readonly number[];
  readonly tasks: readonly TaskPlan[];
  /** SHA-256 over the tasks' hashes (as bytes), in task order; hexadecimal. */
  readonly sampleIdsSha256: string;
}

type Training = Pick<JobSpec['training'], 'batchSize' | 'shardSize' | 'shardsPerTask' | 'seed' | 'shuffle'>;

/**
 * @param trainCount samples of an epoch
 * @param excludedShards shards of the mini-batch that are left out; the others move together in the tree
 */
export function planStep(
  training: Training,
  trainCount: number,
  step: number,
  excludedShards: readonly number[] = [],
): StepPlan {
  const { epoch, first, count } = miniBatchPositions(trainCount, training.batchSize, step);
  const all = shardsOf(count, training.shardSize).map((shard, index) => ({
    shard: index,
    first: first + shard.first,
    samples: shard.count,
  }));
  const shards = all.filter(({ shard }) => !excludedShards.includes(shard));
  const idsOf = idsReader(training, trainCount, { epoch, first, samples: count });
  const groups = shards.length === 0 ? [] : tasksOf(shards.length, training.shardsPerTask);
  const tasks = groups.map(({ firstShard, shardCount }, task) =>
    taskOf(task, shards.slice(firstShard, firstShard + shardCount), idsOf),
  );
  const excluded = all.filter((shard) => !shards.includes(shard)).flatMap((shard) => [...idsOf(shard)]);
  return { step, epoch, first, samples: count, excludedShards, excluded, ...totalsOf(tasks) };
}

/** The same step with each shard of some of its tasks as a task of its own: to find out which one is to blame. */
export function planShardsSingly(
  training: Training,
  trainCount: number,
  plan: StepPlan,
  of: readonly number[],
): StepPlan {
  const idsOf = idsReader(training, trainCount, plan);
  const shards = plan.tasks.filter(({ task }) => of.includes(task)).flatMap((task) => task.shards);
  const tasks = shards.map((shard, task) => taskOf(task, [shard], idsOf));
  return { ...plan, ...totalsOf(tasks), samplesLeft: plan.samplesLeft };
}

/** Ids of the samples of a shard, in order. */
export function idsOfShard(training: Training, trainCount: number, plan: StepPlan, shard: number): number[] {
  const found = shardsOf(plan.samples, training.shardSize)[shard];
  if (found === undefined) throw new RangeError(`Step ${plan.step} has no shard ${shard}.`);
  return [...sampleIds(training, plan.epoch, trainCount, plan.first + found.first, found.count)];
}

/** Tasks that a step of a whole mini-batch has: how many workers can help at once. */
export function tasksPerStep(training: Training, trainCount: number): number {
  const samples = Math.min(training.batchSize, trainCount);
  return tasksOf(shardsOf(samples, training.shardSize).length, training.shardsPerTask).length;
}

/** Evaluation tasks over `testCount` images. Running statistics are used, so the cut does not show in the result. */
export function planEvaluation(shardSize: number, testCount: number): readonly TaskPlan[] {
  const perTask = EVALUATION_SHARDS_PER_TASK;
  const shards = shardsOf(testCount, shardSize);
  return Array.from({ length: Math.ceil(shards.length / perTask) }, (_, task) => {
    const own = shards
      .slice(task * perTask, (task + 1) * perTask)
      .map(({ first, count }, index) => ({ shard: task * perTask + index, first, samples: count }));
    return { task, shards: own, samples: samplesOf(own), sampleIdsSha256: '' };
  });
}

/** As the queue carries them. */
export function entryShards(shards: readonly ShardPlan[]): { first: number; samples: number }[] {
  return shards.map(({ first, samples }) => ({ first, samples }));
}

function idsReader(training: Training, trainCount: number, batch: { epoch: number; first: number; samples: number }) {
  const ids = sampleIds(training, batch.epoch, trainCount, batch.first, batch.samples);
  return ({ first, samples }: ShardPlan) => ids.subarray(first - batch.first, first - batch.first + samples);
}

function taskOf(task: number, shards: readonly ShardPlan[], idsOf: (shard: ShardPlan) => Uint32Array): TaskPlan {
  const hash = createHash('sha256');
  for (const shard of shards) {
    const ids = idsOf(shard);
    hash.update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
  }
  return { task, shards, samples: samplesOf(shards), sampleIdsSha256: hash.digest('hex') };
}

function totalsOf(tasks: readonly TaskPlan[]): Pick<StepPlan, 'tasks' | 'samplesLeft' | 'sampleIdsSha256'> {
  const hash = createHash('sha256');
  for (const { sampleIdsSha256 } of tasks) hash.update(Buffer.from(sampleIdsSha256, 'hex'));
  return { tasks, samplesLeft: samplesOf(tasks), sampleIdsSha256: hash.digest('hex') };
}

function samplesOf(parts: readonly { readonly samples: number }[]): number {
  return parts.reduce((sum, part) => sum + part.samples, 0);
}
