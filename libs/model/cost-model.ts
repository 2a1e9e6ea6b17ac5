// Owns: what a step takes, from compute, bytes, bandwidths, workers and slices: the formula of docs/performance.md.
// Refuses to know: how its inputs were measured; test/bench/cost-model.ts does that and holds the result against real steps.

/** Seconds, bytes and bytes per second throughout. */
export interface StepCosts {
  /** Of one task on one worker, from its images to its last gradient, the others computing beside it. */
  readonly taskSeconds: number;
  /** Part of `taskSeconds` before the first gradient exists, 0 to 1. */
  readonly forwardShare: number;
  /** Tasks of a step. */
  readonly tasks: number;
  readonly workers: number;
  /** What each worker pulls per step, and what each task pushes. */
  readonly parameterBytes: number;
  readonly gradientBytes: number;
  /** One direction of a worker's link, and of each reducer host's. */
  readonly workerBytesPerSecond: number;
  readonly reducerBytesPerSecond: number;
  /** Hosts that slices lie on; each has an equal part of every vector. 1 is the star that Lockstep is today. */
  readonly reducerHosts: number;
  /** Slices of a host that run at the same time. */
  readonly slices: number;
  readonly slice: SliceRates;
  /** Part of forward during which a pull may still go on, 0 (parameters must be whole) to 1. */
  readonly pullOverlap: number;
  /** Queue, claims, ledger: what a step takes besides, however small it is. */
  readonly fixedSeconds: number;
  /** Cores that workers and coordinator share; undefined where the coordinator has a machine of its own. */
  readonly sharedCores?: number | undefined;
  /** Cores that one worker computes on; counts where cores are shared. */
  readonly workerCores?: number | undefined;
}

/** What one slice does per second: bytes of the wire, elements of the vector. */
export interface SliceRates {
  /** Receiving, checking and staging a gradient; sending parameters. */
  readonly stageBytesPerSecond: number;
  readonly pullBytesPerSecond: number;
  /** Adding one contribution to another; norms and the optimizer's update. */
  readonly addElementsPerSecond: number;
  readonly updateElementsPerSecond: number;
  /** Length of the vector. */
  readonly elements: number;
}

/** Where a step's time goes; the parts are what is not covered by computing, so that they add up to `stepSeconds`. */
export interface PredictedStep {
  readonly stepSeconds: number;
  /** What the step would take if moving and adding cost nothing. */
  readonly computeSeconds: number;
  readonly pullSeconds: number;
  readonly pushSeconds: number;
  readonly reduceSeconds: number;
  readonly fixedSeconds: number;
  /** What workers and coordinator take from each other on shared cores, beyond the above. */
  readonly contentionSeconds: number;
  /** What bounds the step: computing, a worker's link, the reducers' links or the reducers' cores. */
  readonly boundBy: 'compute' | 'worker link' | 'reducer link' | 'reducer cores';
}

/**
 * The prediction. Workers take tasks in rounds; a round's gradients leave while its backward goes on, so a push costs only what
 * is longer than backward, or, where pushing takes longer than computing, takes the place of computing. Adding begins as
 * contributions come, so only the sums that the last round takes part in are waited for.
 */
export function predictStep(costs: StepCosts): PredictedStep {
  const { taskSeconds, tasks, fixedSeconds, slice } = costs;
  const busy = Math.min(costs.workers, tasks);
  const rounds = Math.ceil(tasks / busy);
  const forward = costs.forwardShare * taskSeconds;
  const backward = taskSeconds - forward;
  const pull = transfer(costs, busy, costs.parameterBytes, slice.pullBytesPerSecond);
  const push = transfer(costs, busy, costs.gradientBytes, slice.stageBytesPerSecond);
  const computeSeconds = rounds * taskSeconds;
  const pullSeconds = Math.max(0, pull.seconds - costs.pullOverlap * forward);
  const pushed = forward + (rounds - 1) * Math.max(taskSeconds, push.seconds) + Math.max(backward, push.seconds);
  const pushSeconds = pushed - computeSeconds;
  const lanes = costs.slices * costs.reducerHosts;
  const lastSums = tasks === 1 ? 0 : busy - 1 + Math.ceil(Math.log2(rounds));
  const additions = (lastSums * slice.elements) / (lanes * slice.addElementsPerSecond);
  const reduceSeconds = additions + slice.elements / (lanes * slice.updateElementsPerSecond);
  const alone = computeSeconds + pullSeconds + pushSeconds + reduceSeconds + fixedSeconds;
  const stepSeconds = Math.max(alone, sharedSeconds(costs));
  return {
    stepSeconds,
    computeSeconds,
    pullSeconds,
    pushSeconds,
    reduceSeconds,
    fixedSeconds,
    contentionSeconds: stepSeconds - alone,
    boundBy: boundOf(computeSeconds, pullSeconds + pushSeconds, reduceSeconds, push.by),
  };
}

interface Transfer {
  readonly seconds: number;
  readonly by: Exclude<PredictedStep['boundBy'], 'compute'>;
}

/** All busy workers moving `bytes` each at once: the slowest of their links, the reducers' links, the slices. */
function transfer(costs: StepCosts, busy: number, bytes: number, sliceRate: number): Transfer {
  const all = busy * bytes;
  const ways: readonly Transfer[] = [
    { seconds: bytes / costs.workerBytesPerSecond, by: 'worker link' },
    { seconds: all / (costs.reducerHosts * costs.reducerBytesPerSecond), by: 'reducer link' },
    { seconds: all / (costs.reducerHosts * costs.slices * sliceRate), by: 'reducer cores' },
  ];
  return ways.reduce((slowest, way) => (way.seconds > slowest.seconds ? way : slowest));
}

/** On shared cores nothing is for nothing: all work of the step over all cores. */
function sharedSeconds(costs: StepCosts): number {
  if (costs.sharedCores === undefined) return 0;
  const { tasks, workers, slice, taskSeconds, workerCores = 1 } = costs;
  const work =
    tasks * taskSeconds * workerCores +
    // Both ends of each stream lie on these cores.
    (2 * Math.min(workers, tasks) * costs.parameterBytes) / slice.pullBytesPerSecond +
    (2 * tasks * costs.gradientBytes) / slice.stageBytesPerSecond +
    ((tasks - 1) * slice.elements) / slice.addElementsPerSecond +
    slice.elements / slice.updateElementsPerSecond;
  return work / costs.sharedCores + costs.fixedSeconds;
}

function boundOf(compute: number, moving: number, reducing: number, by: Transfer['by']): PredictedStep['boundBy'] {
  if (compute >= moving + reducing) return 'compute';
  return moving >= reducing ? by : 'reducer cores';
}

/** Share of the ideal rate that is reached: 1 where every worker computes all the time. */
export function efficiencyOf(step: PredictedStep): number {
  return step.computeSeconds / step.stepSeconds;
}

/** The largest number of workers up to `most`, one task each, whose efficiency is at least `share`; 0 where one alone misses it. */
export function largestPool(costs: Omit<StepCosts, 'workers' | 'tasks'>, share: number, most = 4096): number {
  let [low, high] = [0, most + 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const step = predictStep({ ...costs, workers: middle, tasks: middle });
    if (efficiencyOf(step) >= share) low = middle;
    else high = middle;
  }
  return low;
}
