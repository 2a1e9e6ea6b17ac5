// A Valkey that forgets, stands still, goes away and comes back with old things in it. BullMQ only delivers: what a task's
// state is, the coordinator knows.
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { allowance, type Cell, comeBack, lostEntry } from './cell.js';
import type { Ground } from './ground.js';

export const queueCells: readonly Cell[] = [
  {
    fault: 'Valkey is killed and comes back empty',
    harm: async (ground) => {
      await ground.untilStep(3);
      await ground.system.valkey.restart();
      await ground.said(
        ground.system.coordinator,
        /Redis has trouble|The task queue cannot be used|The queue lost a task/,
      );
      await ground.furtherSteps(3);
    },
    longestStepSeconds: lostEntry + 2 * allowance,
  },
  {
    fault: 'Valkey is flushed',
    harm: async (ground) => {
      await ground.untilStep(3);
      for (let time = 0; time < 2; time += 1) {
        await withValkey(ground, (redis) => redis.flushall());
        await ground.furtherSteps(2);
      }
    },
    longestStepSeconds: lostEntry + allowance,
  },
  {
    fault: 'Valkey stands still for five seconds',
    harm: async (ground) => {
      await ground.untilStep(3);
      const { valkey } = ground.system;
      await valkey.pause();
      try {
        await ground.said(ground.system.coordinator, /Command timed out/);
        await sleep(3_000);
      } finally {
        await valkey.resume();
      }
      await ground.furtherSteps(2);
    },
    longestStepSeconds: 5 + comeBack + allowance,
  },
  {
    fault: 'connections to Valkey break again and again',
    harm: async (ground) => {
      for (const step of [3, 5, 7, 9]) {
        await ground.untilStep(step);
        ground.proxies.redis.cut();
      }
    },
    longestStepSeconds: lostEntry + allowance,
  },
  {
    fault: 'Valkey cannot be reached for three seconds',
    harm: async (ground) => {
      await ground.untilStep(3);
      const { redis } = ground.proxies;
      redis.refusing = true;
      redis.cut();
      await ground.said(ground.system.coordinator, /Redis has trouble/);
      await sleep(3_000);
      redis.heal();
      await ground.said(ground.system.coordinator, /Redis is back/);
      await ground.furtherSteps(2);
    },
    longestStepSeconds: 3 + comeBack + allowance,
  },
  {
    fault: 'Valkey is put back to what it held some steps ago',
    harm: async (ground) => {
      await ground.untilStep(3);
      await withValkey(ground, async (redis) => {
        const keys = await redis.keys('*');
        const held = await Promise.all(keys.map(async (key) => [key, await redis.dumpBuffer(key)] as const));
        await ground.furtherSteps(4);
        await redis.flushall();
        for (const [key, value] of held) if (value !== null) await redis.restore(key, 0, value, 'REPLACE');
      });
      await ground.furtherSteps(3);
    },
    longestStepSeconds: lostEntry + 2 * allowance,
  },
];

async function withValkey(ground: Ground, act: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis(ground.system.valkey.url);
  try {
    await act(redis);
  } finally {
    redis.disconnect();
  }
}
