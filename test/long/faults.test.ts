// The basic faults: a worker and the coordinator killed with -9 in the middle of a run change nothing but time.
// Refuses to go through the whole matrix of faults; bits of runs without faults are equivalence.test.ts's.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { contributors, expectCleanAudit, hashesOf, type Hashes } from '../support/outcomes.js';
import { trainPlainly } from '../support/plain-loop.js';
import { syntheticSpec } from '../support/specs.js';
import { cliEntry, startSystem, type TestSystem } from '../support/system.js';

const steps = 60;
/** Checkpoints in between, so that a restart has something to go on from and steps to run again. */
const spec = syntheticSpec({ steps, rest: { checkpoint: { everySteps: 25 } } });

let undisturbed: Hashes;
beforeAll(async () => {
  undisturbed = hashesOf(await trainPlainly(spec));
});

/** What the run must have come to, whatever happened on the way. */
async function expectNothingLost(system: TestSystem, id: string): Promise<void> {
  const job = await system.api.untilState(id, 'completed');
  expect(hashesOf(job)).toEqual(undisturbed);
  await expectCleanAudit(system, id, steps);
  const audit = await promisify(execFile)(process.execPath, [cliEntry, 'audit', id, '--url', system.url]);
  expect(audit.stdout).toContain('committed exactly once');
}

describe('kill -9', () => {
  it('of a worker in mid step changes nothing but time', async () => {
    const system = await startSystem();
    const [victim, survivor] = [system.workers[0]!, system.workers[1]!];
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ step, workers }) => step >= 5 && workers.includes('worker-1'));
    await victim.killNow();
    const { step } = await system.api.job(id);
    expect(step).toBeLessThan(steps);
    await expectNothingLost(system, id);
    expect(await contributors(system, id)).toEqual(['worker-1', 'worker-2']);
    expect(survivor.running).toBe(true);
    expect((await system.api.workers()).map(({ name }) => name)).toEqual(['worker-2']);
  });

  it('of every worker leaves the job running, says so, and a new one goes on', async () => {
    const system = await startSystem();
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ step }) => step >= 5);
    await Promise.all(system.workers.map((worker) => worker.killNow()));
    const waiting = await system.api.untilJob(id, ({ reason }) => reason !== null);
    expect(waiting.state).toBe('running');
    expect(waiting.reason).toMatch(/worker/i);
    system.workers[1]!.start();
    await expectNothingLost(system, id);
  });

  it('of the coordinator: started again it goes on by itself', async () => {
    const system = await startSystem();
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ step }) => step >= 30);
    await system.coordinator.killNow();
    await system.restartCoordinator();
    await expectNothingLost(system, id);
    const entries = await system.api.ledger(id);
    expect(entries.map(({ step }) => step)).toEqual(Array.from({ length: steps }, (_, step) => step));
    for (const worker of system.workers) expect(worker.running).toBe(true);
  });

  it('of coordinator and worker at once, before the first checkpoint but the initial one', async () => {
    const system = await startSystem();
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ step }) => step >= 3);
    await Promise.all([system.coordinator.killNow(), system.workers[0]!.killNow()]);
    await system.restartCoordinator();
    await expectNothingLost(system, id);
  });
});

describe('SIGTERM', () => {
  it('a worker finishes its task, leaves, exits 0, and nothing is refused for it', async () => {
    const system = await startSystem();
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ step, workers }) => step >= 5 && workers.includes('worker-1'));
    expect(await system.workers[0]!.terminate()).toEqual({ code: 0, signal: null });
    await expectNothingLost(system, id);
  });

  it('the coordinator exits 0, and its successor goes on', async () => {
    const system = await startSystem();
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ step }) => step >= 5);
    expect(await system.coordinator.terminate()).toEqual({ code: 0, signal: null });
    await system.restartCoordinator();
    await expectNothingLost(system, id);
  });
});
