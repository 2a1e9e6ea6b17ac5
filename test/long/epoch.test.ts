// A whole epoch of the real CIFAR-10, while a worker or the coordinator is killed every few seconds: the bits and the test
// accuracy of a plain loop to which nothing happened. Refuses to aim faults at phases of a step (fault-matrix.test.ts).
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { expectCleanAudit, hashesOf } from '../support/outcomes.js';
import { trainPlainly } from '../support/plain-loop.js';
import { startSystem } from '../support/system.js';

const minute = 60_000;
/** Between two kills; not a wait for anything, but the rate of misfortune. */
const killEveryMs = 4_000;
const steps = Math.ceil(50_000 / 128);

it(
  'an epoch under kills ends with the bits of the plain loop',
  async () => {
    const spec = {
      preset: 'resnet20-cifar10-demo',
      training: { epochs: 1, shardSize: 32 },
      checkpoint: { everySteps: 25 },
    };
    const system = await startSystem({ workers: 2, reducers: 2 });
    const id = await system.api.submit(spec);
    const done = system.api.untilState(id, 'completed', 20 * minute);
    const over = new AbortController();
    const kills = { worker: 0, coordinator: 0 };
    const misfortune = (async () => {
      for (let turn = 0; ; turn += 1) {
        await sleep(killEveryMs, undefined, { signal: over.signal });
        const kind = turn % 4 === 3 ? 'coordinator' : 'worker';
        const victim = kind === 'coordinator' ? system.coordinator : system.workers[turn % 2]!;
        await victim.killNow();
        kills[kind] += 1;
        victim.start();
      }
    })().catch((error: unknown) => {
      if (!over.signal.aborted) throw error;
    });
    const job = await Promise.race([done, misfortune.then(() => done)]).finally(() => over.abort());
    await misfortune;
    expect(kills.worker).toBeGreaterThan(2);
    expect(kills.coordinator).toBeGreaterThan(0);
    if (!system.coordinator.running) await system.restartCoordinator();
    await expectCleanAudit(system, id, steps);
    const plain = await trainPlainly(job.spec);
    expect(hashesOf(job)).toEqual(hashesOf(plain));
    expect(job.test?.top1).toBe(plain.evaluation!.top1Hits / plain.evaluation!.samples);
    expect(plain.steps).toBe(steps);
  },
  30 * minute,
);
