// Workers that die, freeze, crawl, leave and come. Each says at which moment, and who must have noticed.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { TestProcess } from '../test-process.js';
import { allowance, type Cell, handOver, lease } from './cell.js';
import type { Ground } from './ground.js';
import type { PushPhase } from '../push-frames.js';

export const workerCells: readonly Cell[] = [
  {
    fault: 'a worker is killed before its upload',
    harm: async (ground) => void (await killAt(ground, 'begun')),
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a worker is killed during its upload',
    harm: async (ground) => void (await killAt(ground, 'upload')),
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a worker is killed after its upload, before it knows the answer',
    harm: async (ground) => {
      const { victim, step } = await killAt(ground, 'answer');
      await ground.untilStep(step + 2);
      // What it delivered counts, although nobody could tell it so.
      const record = (await ground.steps()).find((each) => each.step === step);
      expect(record?.tasks.map(({ worker }) => worker)).toContain(victim.name);
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'every worker is killed, one comes back',
    harm: async (ground) => {
      await ground.untilStep(3);
      const { workers } = ground.system;
      await Promise.all(workers.map((worker) => worker.killNow()));
      const waiting = await ground.api.untilJob(ground.id, ({ reason }) => reason !== null);
      expect(waiting.state).toBe('running');
      expect(waiting.reason).toMatch(/No worker of its numerics class .* is connected.*lockstep worker/);
      workers[0]!.start();
    },
    longestStepSeconds: handOver + 2 * allowance,
  },
  {
    fault: 'a worker is frozen during its upload, and thaws when the step is long over',
    harm: async (ground) => {
      await ground.untilStep(2);
      const push = await ground.pushes.hold('upload');
      const victim = await ground.worker(push.header.workerId);
      victim.kill('SIGSTOP');
      await ground.untilStep(push.header.key!.step + 3);
      victim.kill('SIGCONT');
      push.pass();
      await refusedOf(ground, victim.name, /stale|duplicate/);
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a worker is frozen, and nobody computes copies of its tasks',
    faults: { faults: { speculation: false } },
    harm: async (ground) => {
      await ground.untilStep(2);
      const push = await ground.pushes.hold('begun');
      const victim = await ground.worker(push.header.workerId);
      victim.kill('SIGSTOP');
      push.pass();
      await ground.api.untilWorkers((pool) => pool.some(({ name, state }) => name === victim.name && state === 'hung'));
      await ground.said(ground.system.coordinator, new RegExp(`${victim.name} sent no heartbeat.*go to others`));
      await ground.untilStep(push.header.key!.step + 2);
      victim.kill('SIGCONT');
    },
    longestStepSeconds: lease + allowance,
  },
  {
    fault: 'a worker is ten times slower than the others',
    harm: async (ground) => {
      const { workers } = ground.system;
      const victim = workers[1]!;
      const done = ground.untilStep(12);
      const until = { over: false };
      void done.finally(() => (until.over = true));
      while (!until.over) {
        victim.kill('SIGSTOP');
        await Promise.race([sleep(270), done]);
        victim.kill('SIGCONT');
        await Promise.race([sleep(30), done]);
      }
      await done;
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a worker is drained in the middle of a step',
    harm: async (ground) => {
      await ground.untilStep(2);
      const push = await ground.pushes.hold('begun');
      const victim = await ground.worker(push.header.workerId);
      const drained = victim.notice('drained');
      await ground.api.expect(202, `/api/v1/workers/${push.header.workerId}/drain`, { method: 'POST' });
      push.pass();
      await drained;
      expect(await victim.ended).toMatchObject({ code: 0 });
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a worker is told to stop, and another joins in the middle of a step',
    harm: async (ground) => {
      await ground.untilStep(2);
      const push = await ground.pushes.hold('begun');
      const victim = await ground.worker(push.header.workerId);
      const ended = victim.terminate();
      push.pass();
      expect(await ended).toMatchObject({ code: 0 });
      victim.start();
      await ground.said(ground.system.coordinator, new RegExp(`${victim.name} joined`));
    },
    longestStepSeconds: handOver + allowance,
  },
];

/** Kills the worker whose push is at this point; the coordinator says that it is gone. */
async function killAt(ground: Ground, phase: PushPhase): Promise<{ victim: TestProcess; step: number }> {
  await ground.untilStep(2);
  const push = await ground.pushes.hold(phase);
  const victim = await ground.worker(push.header.workerId);
  await victim.killNow();
  push.pass();
  await ground.said(ground.system.coordinator, new RegExp(`Worker ${victim.name} (is gone|ended its session)`));
  return { victim, step: push.header.key!.step };
}

/**
 * Waits until the ledger says that the worker was refused for such a reason: also where it has joined anew since, and the
 * pool's list counts from the beginning.
 */
export async function refusedOf(ground: Ground, name: string, reason: RegExp): Promise<void> {
  let seen = 0;
  for (;;) {
    const job = await ground.api.untilJob(ground.id, ({ step, state }) => step > seen || state === 'completed');
    const refused = (await ground.steps()).flatMap((record) => record.refused);
    if (refused.some((one) => one.worker === name && reason.test(one.reason))) return;
    if (job.state === 'completed')
      throw new Error(`${name} was never refused for ${reason.source}: ${JSON.stringify(refused)}`);
    seen = job.step;
  }
}
