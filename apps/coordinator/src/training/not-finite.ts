// Finds out which shards make a step not finite, and what then becomes of the job: it pauses, or the shards are left
// out. Pure; refuses to know how tasks are computed.
import { planShardsSingly, idsOfShard, type StepPlan } from './step-plan.js';
import type { NotFiniteTask } from './step-collector.js';
import { type TrainingJob, TrainingPausedError } from './training-job.js';

/** Ids named in a message; more are only counted. */
const namedIds = 16;

export class NotFiniteTasks {
  readonly #job: Pick<TrainingJob, 'spec' | 'dataset'>;
  /** Times that a step was not finite and all of its shards were. */
  #unexplained = 0;
  #lastWorker = '';

  constructor(job: Pick<TrainingJob, 'spec' | 'dataset'>) {
    this.#job = job;
  }

  /** A plan that computes the shards of these tasks singly. */
  planSingly(plan: StepPlan, tasks: readonly NotFiniteTask[]): StepPlan {
    this.#lastWorker = tasks[0]?.worker ?? '';
    const { training } = this.#job.spec;
    return planShardsSingly(
      training,
      this.#job.dataset.trainCount,
      plan,
      tasks.map(({ task }) => task),
    );
  }

  /**
   * Which shards the step is to leave out from now on, where the job allows that.
   * @throws TrainingPausedError naming samples, worker and layer: the job asks for it, nothing would be left, or no shard
   * alone is to blame
   */
  exclude(plan: StepPlan, singly: StepPlan, found: readonly NotFiniteTask[]): number[] {
    const shards = found.map(({ task }) => singly.tasks[task]!.shards[0]!.shard);
    if (shards.length === 0) {
      // Each shard alone is finite. That may have been a worker's fault, so the step is tried once more.
      this.#unexplained += 1;
      if (this.#unexplained === 1) return [...plan.excludedShards];
      throw new TrainingPausedError(
        `The gradient of step ${plan.step} is not finite, although each of its shards alone is: their sum overflows, or a worker computes wrongly ` +
          `(last ${this.#lastWorker}). ${remedy}`,
      );
    }
    const excluded = [...plan.excludedShards, ...shards].toSorted((a, b) => a - b);
    const lost = found.reduce((sum, { task }) => sum + singly.tasks[task]!.samples, 0);
    const nothingLeft = plan.samplesLeft === lost;
    if (this.#job.spec.faults.onNotFinite === 'exclude' && !nothingLeft) return excluded;
    const { training } = this.#job.spec;
    const ids = shards.flatMap((shard) => idsOfShard(training, this.#job.dataset.trainCount, plan, shard));
    const { worker, detail } = found[0]!;
    throw new TrainingPausedError(
      `The gradient of step ${plan.step} is not finite, also when computed again (last by worker ${worker}): ${detail} ` +
        `It comes from the samples ${listed(ids)} (shard ${shards.join(', ')}). ${remedy}`,
    );
  }
}

const remedy =
  'Lower the learning rate, clip the gradient (optimizer.clipNorm), train in float32, or leave such samples out (faults.onNotFinite: "exclude").';

function listed(ids: readonly number[]): string {
  const named = ids.slice(0, namedIds).join(', ');
  return ids.length > namedIds ? `${named} and ${ids.length - namedIds} more` : named;
}
