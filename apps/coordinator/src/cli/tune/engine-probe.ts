// A program that computes tasks of a job as a worker's compute thread does, and tells its parent how long they took.
// Refuses to know other processes; engine-runs.ts starts as many at once as there would be workers.
import { Network } from '#model/network.js';
import type { JobSpec } from '#model/job-spec.js';
import { initialState } from '#model/parameters.js';
import { randomStream } from '#model/random.js';
import { computeTask } from '#model/task-computation.js';

/** What to compute; the first message from the parent. */
export interface ProbeOrder {
  readonly model: JobSpec['model'];
  readonly training: Pick<JobSpec['training'], 'shardSize' | 'shardsPerTask' | 'precision' | 'wire'>;
  readonly warmUpTasks: number;
  /** Computed whatever the time. */
  readonly leastTasks: number;
  /** After this much time no further task is begun, milliseconds. */
  readonly budgetMs: number;
}

export interface ProbeResult {
  /** Of each task after those that warm up. */
  readonly taskSeconds: readonly number[];
  /** Median share of a task before its first gradient. */
  readonly forwardShare: number;
  readonly peakBytes: number;
}

/** `ready` when warm; then the parent says `go`, so that all processes measure at the same time. */
export type FromProbe = { readonly type: 'ready' } | { readonly type: 'done'; readonly result: ProbeResult };

process.once('message', (order: ProbeOrder) => {
  const step = taskOf(order);
  for (let task = 0; task < order.warmUpTasks; task += 1) step();
  say({ type: 'ready' });
  process.once('message', () => {
    say({ type: 'done', result: measure(step, order) });
    process.disconnect();
  });
});
// A parent that is gone has no use for the rest.
process.once('disconnect', () => process.exit());

function say(message: FromProbe): void {
  process.send?.(message);
}

/** Computes one task and returns the share of it before the first gradient. */
function taskOf({ model, training }: ProbeOrder): () => number {
  const network = Network.create(model, training.precision);
  const { layout } = network;
  const { parameters, statistics } = initialState(model, layout, 1);
  const random = randomStream(1, 'tune');
  const { shardSize, shardsPerTask } = training;
  const shards = Array.from({ length: shardsPerTask }, () => ({
    images: Float32Array.from({ length: shardSize * model.imageSize ** 2 * 3 }, () => random.normal()),
    labels: Int32Array.from({ length: shardSize }, () => random.below(model.classes)),
  }));
  const count = layout.parameterCount;
  const gradient = training.wire === 'bfloat16' ? new Uint16Array(count) : new Float32Array(count);
  const batchStatistics = new Float32Array(layout.statisticCount);
  return () => {
    const start = performance.now();
    let firstGradient: number | undefined;
    const onProgress = (): void => void (firstGradient ??= performance.now());
    network.loadParameters(parameters, statistics);
    const target = { gradient, statistics: batchStatistics, onProgress };
    computeTask(network, shards, shardSize * shardsPerTask, target);
    return ((firstGradient ?? performance.now()) - start) / (performance.now() - start);
  };
}

function measure(step: () => number, { leastTasks, budgetMs }: ProbeOrder): ProbeResult {
  const taskSeconds: number[] = [];
  const forwardShares: number[] = [];
  const begun = performance.now();
  while (taskSeconds.length < leastTasks || performance.now() - begun < budgetMs) {
    const start = performance.now();
    forwardShares.push(step());
    taskSeconds.push((performance.now() - start) / 1000);
  }
  const forwardShare = forwardShares.toSorted((a, b) => a - b)[forwardShares.length >> 1] ?? 0;
  return { taskSeconds, forwardShare, peakBytes: process.resourceUsage().maxRSS * 1024 };
}
