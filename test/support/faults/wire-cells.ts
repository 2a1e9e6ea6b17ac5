// Connections that break, stall, crawl and turn bits, between workers and the coordinator.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { FaultProxy, PassingFrame } from '../fault-proxy.js';
import { frameTypes } from '../http2-frames.js';
import { allowance, type Cell, comeBack, handOver, noCopies, undone } from './cell.js';
import type { Ground } from './ground.js';
import { refusedOf } from './worker-cells.js';

export const wireCells: readonly Cell[] = [
  {
    fault: 'a gradient is cut off in the middle of a chunk',
    faults: noCopies,
    harm: async (ground) => {
      await ground.untilStep(2);
      const push = await ground.pushes.hold('upload');
      const worker = await ground.worker(push.header.workerId);
      push.cut();
      // The broken connection tells it, or the other slice's refusal, which may be there before.
      await ground.said(worker, /(PushGradient with .* for train task .*task given back|"outcome":"INCOMPLETE")/);
      await refusedOf(ground, worker.name, /incomplete/);
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a bit of a gradient flips on the way',
    faults: noCopies,
    harm: async (ground) => {
      await ground.untilStep(2);
      const push = await ground.pushes.hold('upload');
      const victim = await ground.worker(push.header.workerId);
      push.flip();
      await refusedOf(ground, victim.name, /checksum_mismatch/);
      const { step, task } = push.header.key!;
      await ground.untilStep(step + 1);
      const refused = (await ground.steps()).find((record) => record.step === step)?.refused;
      expect(refused).toContainEqual(
        expect.objectContaining({ task, worker: victim.name, reason: 'checksum_mismatch' }),
      );
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'a bit of the parameters flips on the way',
    harm: async (ground) => {
      await ground.untilStep(2);
      const inFront = ground.proxies.slices[0]!;
      const pull = await inFront.hold(carriesParameters);
      pull.flip();
      const { workers } = ground.system;
      await Promise.any(
        workers.map((worker) => ground.said(worker, /slice 0 at .*The parameters did not arrive whole/)),
      );
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'the parameters arrive broken again and again',
    harm: async (ground) => {
      await ground.untilStep(2);
      const stop = ground.proxies.slices[0]!.watch((frame) => {
        if (carriesParameters(frame)) frame.payload[frame.payload.length >> 1]! ^= 0x10;
      });
      try {
        const { state } = await ground.api.untilJob(ground.id, ({ reason }) =>
          /^No task has been done .* could not get the parameters of train task/.test(reason ?? ''),
        );
        expect(state).toBe('running');
      } finally {
        stop();
      }
      await ground.api.untilJob(ground.id, ({ reason }) => reason === null);
    },
    longestStepSeconds: undone + allowance,
  },
  {
    fault: 'all connections to the slices break at once',
    harm: async (ground) => {
      await ground.untilStep(3);
      for (const proxy of ground.proxies.slices) proxy.cut();
      await ground.furtherSteps(3);
      for (const proxy of ground.proxies.slices) proxy.cut();
    },
    longestStepSeconds: handOver + allowance,
  },
  {
    fault: 'the sessions of all workers break',
    harm: async (ground) => {
      await ground.untilStep(3);
      ground.proxies.control.cut();
      for (const worker of ground.system.workers) await ground.said(worker, /The session is over/);
      await ground.said(ground.system.coordinator, /Worker worker-1 (is gone|ended its session)/);
    },
    longestStepSeconds: comeBack + allowance,
  },
  {
    fault: 'the coordinator cannot be reached for two seconds',
    harm: async (ground) => {
      await ground.untilStep(3);
      const all = connectionsOf(ground);
      for (const proxy of all) {
        proxy.refusing = true;
        proxy.cut();
      }
      await sleep(2_000);
      for (const proxy of all) proxy.heal();
      await ground.furtherSteps(2);
    },
    longestStepSeconds: 2 + comeBack + allowance,
  },
  {
    fault: 'the slices cannot be reached for three seconds, although the sessions stay',
    harm: async (ground) => {
      await ground.untilStep(3);
      for (const proxy of ground.proxies.slices) {
        proxy.refusing = true;
        proxy.cut();
      }
      await sleep(3_000);
      for (const proxy of ground.proxies.slices) proxy.heal();
    },
    longestStepSeconds: 3 + comeBack + allowance,
  },
  {
    fault: 'nothing passes for three seconds, but no connection breaks',
    harm: async (ground) => {
      await ground.untilStep(3);
      const all = connectionsOf(ground);
      for (const proxy of all) proxy.stall();
      await sleep(3_000);
      for (const proxy of all) proxy.flow();
    },
    longestStepSeconds: 3 + handOver + allowance,
  },
  {
    fault: 'a slow network with long ways',
    harm: async (ground) => {
      await ground.untilStep(2);
      for (const proxy of connectionsOf(ground)) {
        proxy.latencyMs = 15;
        proxy.bytesPerSecond = 2_000_000;
      }
      await ground.untilStep(8);
      for (const proxy of connectionsOf(ground)) proxy.heal();
    },
    longestStepSeconds: handOver + 2 * allowance,
  },
];

function carriesParameters({ from, type, payload }: PassingFrame): boolean {
  return from === 'server' && type === frameTypes.data && payload.length > 8_000;
}

function connectionsOf({ proxies }: Ground): FaultProxy[] {
  return [proxies.control, ...proxies.slices];
}
