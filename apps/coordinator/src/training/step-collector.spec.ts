import { describe, expect, it } from 'vitest';
import { resolveJobSpec } from '#model/job-spec.js';
import type { TaskKey } from '#proto/task-entry.js';
import { type CollectorServices, StepCollector } from './step-collector.js';
import { planStep } from './step-plan.js';
import { StepTasks } from './step-tasks.js';

const spec = resolveJobSpec({
  model: { architecture: 'resnet8' },
  dataset: { kind: 'synthetic', size: 64 },
  training: { batchSize: 32, shardSize: 16, steps: 4 },
});
const id = { jobId: 'job', lineage: 0, step: 1, round: 0, kind: 'train' } as const;

function collectorOf(): StepCollector {
  const plan = planStep(spec.training, 64, 1, []);
  const services = { slices: { count: 1 }, proofShare: 0, seed: 1, stagedAtOnce: 4, contributionsPerSum: 1 };
  return new StepCollector(plan, new StepTasks(id, plan.tasks.length), services as unknown as CollectorServices);
}

describe('a task that cannot be computed', () => {
  const fail = (collector: StepCollector, key: TaskKey, times: number): void => {
    for (let index = 0; index < times; index += 1) collector.failed(key, 'worker-1', 'The image is broken');
  };

  it('pauses the job after some attempts, by name', async () => {
    const collector = collectorOf();
    fail(collector, { ...id, task: 1 }, 5);
    await expect(collector.done).rejects.toThrow(
      'Task 1 of step 1 failed 5 times, last on worker worker-1: The image is broken.',
    );
  });

  it('is charged to its own step: one that is prepared ahead, or of an earlier round, pauses nothing', async () => {
    const collector = collectorOf();
    fail(collector, { ...id, step: 2, task: 1 }, 20);
    fail(collector, { ...id, round: 1, task: 1 }, 20);
    fail(collector, { ...id, task: 1 }, 4);
    await expect(Promise.race([collector.done, Promise.resolve('goes on')])).resolves.toBe('goes on');
  });
});
