// A coordinator that is killed with -9: in each phase of a step and of a checkpoint, at once again, and told to stop.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from 'vitest';
import type { PushPhase } from '../push-frames.js';
import { allowance, type Cell, comeBack } from './cell.js';
import type { Ground } from './ground.js';

const longestStepSeconds = comeBack + 2 * allowance;

export const coordinatorCells: readonly Cell[] = [
  {
    fault: 'the coordinator is killed while tasks are computed',
    harm: (ground) => crashAt(ground, 'begun'),
    longestStepSeconds,
  },
  {
    fault: 'the coordinator is killed while gradients arrive',
    harm: (ground) => crashAt(ground, 'upload'),
    longestStepSeconds,
  },
  {
    fault: 'the coordinator is killed while it accepts a gradient',
    harm: (ground) => crashAt(ground, 'answer'),
    longestStepSeconds,
  },
  {
    fault: 'the coordinator is killed just after it wrote to the ledger',
    harm: async (ground) => {
      await ground.untilStep(7);
      const committed = ground.touched(dirname(ground.ledgerFile), (name) => name === 'ledger.txt');
      await committed;
      await crash(ground);
    },
    longestStepSeconds,
  },
  {
    fault: 'the coordinator is killed while it writes a checkpoint',
    harm: async (ground) => {
      await ground.touched(ground.checkpoints, (name) => name.startsWith('.writing-step-0000001'));
      await crash(ground);
    },
    longestStepSeconds,
  },
  {
    fault: 'the coordinator is killed as soon as a checkpoint has its name',
    harm: async (ground) => {
      await ground.touched(ground.checkpoints, (name) => name === 'step-00000010' && existsSync(ground.checkpoints));
      await crash(ground);
    },
    longestStepSeconds,
  },
  {
    fault: 'the coordinator is killed three times, the second and third while it starts',
    harm: async (ground) => {
      await ground.untilStep(6);
      const { coordinator } = ground.system;
      coordinator.kill('SIGKILL');
      await coordinator.ended;
      for (const moment of [/answers at/, /Checkpoint|joined/]) {
        const from = coordinator.lines.length;
        coordinator.start();
        await Promise.race([coordinator.line(moment, { from }), coordinator.notice('ready')]);
        await coordinator.killNow();
      }
      await ground.system.restartCoordinator();
    },
    longestStepSeconds: 3 * longestStepSeconds,
  },
  {
    fault: 'the coordinator is told to stop, and starts again',
    harm: async (ground) => {
      await ground.untilStep(7);
      expect(await ground.system.coordinator.terminate()).toMatchObject({ code: 0 });
      await ground.system.restartCoordinator();
      const job = await ground.job();
      expect(job.step).toBeGreaterThanOrEqual(7);
    },
    longestStepSeconds,
  },
];

async function crashAt(ground: Ground, phase: PushPhase): Promise<void> {
  await ground.untilStep(7);
  const push = await ground.pushes.hold(phase);
  ground.system.coordinator.kill('SIGKILL');
  push.pass();
  await crash(ground);
}

/** Dead, and started again: the job goes on from a checkpoint by itself. */
async function crash(ground: Ground): Promise<void> {
  const { coordinator } = ground.system;
  if (coordinator.running) await coordinator.killNow();
  await ground.system.restartCoordinator();
  const { workers } = ground.system;
  for (const worker of workers) await ground.said(worker, /The session is over; joining the pool again/);
}
