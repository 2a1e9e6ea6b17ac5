// What `tune` tries and what it makes of the figures: pure. One choice at a time, each with the best of those before.
// Refuses to know how anything is measured.
import type { JobSpec } from '#model/job-spec.js';
import { contributionBytes, estimateCoordinatorMemory, estimateWorkerMemory } from '#model/memory.js';
import { layoutOf } from '#model/parameters.js';

export interface Setting {
  readonly workers: number;
  /** TensorFlow threads per worker. */
  readonly threads: number;
  readonly shardSize: number;
  readonly shardsPerTask: number;
}

export interface Measured extends Setting {
  /** Median over the workers' tasks. */
  readonly taskSeconds: number;
  /** Of a whole step: tasks in rounds, and what it takes to bring their gradients in. */
  readonly imagesPerSecond: number;
  /** Peak of one worker. */
  readonly workerBytes: number;
}

/**
 * What the coordinator takes per byte of gradient on the same machine, seconds: receiving, checking, adding. A round figure, so
 * that of two equal settings the one that sends less wins; docs/performance.md has measured ones.
 */
const secondsPerGradientByte = 1e-9;

/** Ways of sharing `cores` among workers of equal size: from one per core to one with all. */
export function shares(cores: number): Pick<Setting, 'workers' | 'threads'>[] {
  const threads = Array.from({ length: cores }, (_, index) => index + 1).filter((count) => cores % count === 0);
  // A few will do on a machine with many divisors.
  const few = threads.filter((count) => count === cores || Number.isInteger(Math.log2(count)));
  return few.map((count) => ({ workers: cores / count, threads: count }));
}

/** Shard sizes around the spec's own, powers of two apart, that leave every worker a shard. */
export function shardSizes({ batchSize, shardSize }: JobSpec['training'], workers: number): number[] {
  const most = Math.max(shardSize, Math.floor(batchSize / workers));
  return [shardSize / 2, shardSize * 2, shardSize * 4].filter(
    (size) => Number.isInteger(size) && size >= 2 && size <= most && size <= batchSize,
  );
}

/** Further shards per task, powers of two, that leave every worker a task. */
export function shardsPerTask({ batchSize }: JobSpec['training'], { workers, shardSize }: Setting): number[] {
  const shards = Math.ceil(batchSize / shardSize);
  return [2, 4, 8, 16].filter((count) => count <= shards && Math.ceil(shards / count) >= workers);
}

export function withSetting(spec: JobSpec, { shardSize, shardsPerTask: perTask }: Setting): JobSpec {
  return { ...spec, training: { ...spec.training, shardSize, shardsPerTask: perTask } };
}

/** Images per second of a whole step, from the time of one task with all workers at it. */
export function stepRate(spec: JobSpec, setting: Setting, taskSeconds: number): number {
  const { batchSize } = spec.training;
  const tasks = tasksOf(spec, setting);
  const rounds = Math.ceil(tasks / setting.workers);
  const gradients = tasks * contributionBytes(layoutOf(spec.model), spec.training) * secondsPerGradientByte;
  // A last shard that is short takes less; rates are compared with each other, and this is the same for all.
  return batchSize / (rounds * taskSeconds + gradients);
}

export function tasksOf(spec: JobSpec, { shardSize, shardsPerTask: perTask }: Setting): number {
  return Math.ceil(Math.ceil(spec.training.batchSize / shardSize) / perTask);
}

/** Memory that all workers and the coordinator need together, by the estimates that admission uses; bytes. */
export function memoryOf(spec: JobSpec, setting: Setting): number {
  const tried = withSetting(spec, setting);
  const staging = setting.workers * contributionBytes(layoutOf(spec.model), spec.training);
  const coordinator = estimateCoordinatorMemory(tried, tasksOf(spec, setting), staging);
  return setting.workers * estimateWorkerMemory(tried) + coordinator;
}

/** The quickest; of those within 2 % of it, which is noise, the one whose figures come first: what the spec says already. */
export function best(measured: readonly Measured[]): Measured | undefined {
  const most = Math.max(...measured.map(({ imagesPerSecond }) => imagesPerSecond));
  return measured.find(({ imagesPerSecond }) => imagesPerSecond >= 0.98 * most);
}
