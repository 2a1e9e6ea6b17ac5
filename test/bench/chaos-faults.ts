// What `chaos` does to a running system. Each fault undoes what a person or a supervisor would undo: processes are started
// again, connections are possible again. Refuses to know when each is due and how long recovery takes.
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { FaultProxy } from '../support/fault-proxy.js';
import type { Ground } from '../support/faults/ground.js';
import { frameTypes } from '../support/http2-frames.js';
import type { TestProcess } from '../support/test-process.js';

export interface ChaosFault {
  readonly fault: string;
  /** `random` gives numbers in [0, 1). */
  readonly harm: (ground: Ground, random: () => number) => Promise<void>;
}

export const chaosFaults: readonly ChaosFault[] = [
  {
    fault: 'a worker is killed',
    harm: async (ground, random) => {
      const victim = oneOf(ground.system.workers, random);
      await victim.killNow();
      victim.start();
    },
  },
  {
    fault: 'a worker is killed in the middle of its upload',
    harm: async (ground) => {
      const push = await ground.pushes.hold('upload');
      const victim = await ground.worker(push.header.workerId);
      await victim.killNow();
      push.pass();
      victim.start();
    },
  },
  {
    fault: 'all workers are killed',
    harm: async ({ system }) => {
      await Promise.all(system.workers.map((worker) => worker.killNow()));
      for (const worker of system.workers) worker.start();
    },
  },
  { fault: 'a worker is frozen for 3 s', harm: (ground, random) => freeze(oneOf(ground.system.workers, random), 3) },
  {
    fault: 'a gradient is cut off in mid chunk',
    harm: async (ground) => (await ground.pushes.hold('upload')).cut(),
  },
  {
    fault: 'a bit of a gradient flips',
    harm: async (ground) => (await ground.pushes.hold('upload')).flip(),
  },
  {
    fault: 'a bit of the parameters flips',
    harm: async ({ proxies }) => {
      const pull = await proxies.slices[0]!.hold(
        ({ from, type, payload }) => from === 'server' && type === frameTypes.data && payload.length > 8_000,
      );
      pull.flip();
    },
  },
  { fault: 'all sessions break', harm: async ({ proxies }) => proxies.control.cut() },
  {
    fault: 'all connections to the slices break',
    harm: async ({ proxies }) => {
      for (const proxy of proxies.slices) proxy.cut();
    },
  },
  { fault: 'the slices cannot be reached for 2 s', harm: (ground) => unreachable(ground.proxies.slices, 2) },
  {
    fault: 'the coordinator cannot be reached for 2 s',
    harm: ({ proxies }) => unreachable([proxies.control, ...proxies.slices], 2),
  },
  {
    fault: 'nothing passes for 2 s',
    harm: async ({ proxies }) => {
      const all = [proxies.control, ...proxies.slices];
      for (const proxy of all) proxy.stall();
      await sleep(2_000);
      for (const proxy of all) proxy.flow();
    },
  },
  { fault: 'the coordinator is killed', harm: (ground) => ground.crashCoordinator() },
  { fault: 'the coordinator is frozen for 3 s', harm: ({ system }) => freeze(system.coordinator, 3) },
  {
    fault: 'the coordinator is killed, and its newest checkpoint is cut short',
    harm: async ({ system, checkpoints }) => {
      await system.coordinator.killNow();
      const newest = readdirSync(checkpoints)
        .filter((name) => name.startsWith('step-'))
        .toSorted()
        .at(-1)!;
      const file = join(checkpoints, newest, 'optimizer.safetensors');
      if (newest !== 'step-00000000') truncateSync(file, statSync(file).size >> 1);
      await system.restartCoordinator();
    },
  },
  {
    fault: 'coordinator, workers and Valkey are killed at once',
    harm: async ({ system }) => {
      await Promise.all([system.coordinator, ...system.workers].map((process) => process.killNow()));
      await system.valkey.restart();
      await system.restartCoordinator();
      for (const worker of system.workers) worker.start();
    },
  },
  { fault: 'Valkey is killed and comes back empty', harm: ({ system }) => system.valkey.restart() },
  {
    fault: 'Valkey is flushed',
    harm: async ({ system }) => {
      const redis = new Redis(system.valkey.url);
      await redis.flushall();
      redis.disconnect();
    },
  },
  {
    fault: 'Valkey stands still for 3 s',
    harm: async ({ system }) => {
      await system.valkey.pause();
      await sleep(3_000);
      await system.valkey.resume();
    },
  },
  { fault: 'all connections to Valkey break', harm: async ({ proxies }) => proxies.redis.cut() },
];

async function freeze(process: TestProcess, seconds: number): Promise<void> {
  process.kill('SIGSTOP');
  await sleep(1000 * seconds);
  process.kill('SIGCONT');
}

async function unreachable(proxies: readonly FaultProxy[], seconds: number): Promise<void> {
  for (const proxy of proxies) {
    proxy.refusing = true;
    proxy.cut();
  }
  await sleep(1000 * seconds);
  for (const proxy of proxies) proxy.heal();
}

function oneOf<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)]!;
}
