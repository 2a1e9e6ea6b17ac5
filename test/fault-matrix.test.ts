// Fault by fault: a job that trains while something goes wrong completes, its audit is clean, its bits are those of the run
// of one worker to which nothing happened, no step waits longer than the fault's bound, and somebody is told what it was.
// Refuses to know how faults are committed (support/faults/).
import { availableParallelism, loadavg } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cell } from './support/faults/cell.js';
import { coordinatorCells } from './support/faults/coordinator-cells.js';
import { Ground, prepareBehindProxies, type Proxies, stopProxies } from './support/faults/ground.js';
import { queueCells } from './support/faults/queue-cells.js';
import { rogueCells } from './support/faults/rogue-cells.js';
import { wireCells } from './support/faults/wire-cells.js';
import { workerCells } from './support/faults/worker-cells.js';
import { expectCleanAudit, hashesOf, type Hashes } from './support/outcomes.js';
import { syntheticSpec } from './support/specs.js';
import { type RogueCompute, startRogueCompute } from './support/rogue-worker.js';
import { distribution, type TestSystem } from './support/test-system.js';

const steps = 24;
const withinMs = 180_000;
const testMs = 300_000;
const spec = (rest: object = {}): object =>
  syntheticSpec({ steps, training: { batchSize: 64 }, rest: { checkpoint: { everySteps: 5, keep: 3 }, ...rest } });

let system: TestSystem;
let proxies: Proxies;
let quiet: Hashes;
let rogueCompute: RogueCompute;

beforeAll(async () => {
  ({ system, proxies } = await prepareBehindProxies({ workers: 1 }));
  await system.start();
  quiet = hashesOf(await system.train(spec()));
  const second = system.addWorker();
  second.start();
  rogueCompute = await startRogueCompute(distribution);
  await system.api.untilWorkers((pool) => pool.length === 2);
});

/** Longest time between two commits under each fault. */
const table: string[] = [];

afterAll(async () => {
  console.log(['Longest step under each fault, and its bound:', ...table].join('\n'));
  await rogueCompute?.client.stop(2_000);
  await system?.stop();
  await stopProxies(proxies);
});

describe.each<[string, readonly Cell[]]>([
  ['workers', workerCells],
  ['the wire', wireCells],
  ['a worker that misbehaves', rogueCells],
  ['the coordinator', coordinatorCells],
  ['the queue', queueCells],
])('%s', (_, cells) => {
  it.each(cells)(
    '$fault',
    async ({ fault, faults, harm, longestStepSeconds }) => {
      const ground = new Ground(system, proxies, await system.api.submit(spec(faults)), rogueCompute);
      try {
        await harm(ground);
        const job = await system.api.untilState(ground.id, 'completed', withinMs);
        expect(hashesOf(job)).toEqual(quiet);
        await expectCleanAudit(system, ground.id, steps);
        const longest = await longestStep(ground);
        const crowd = crowding();
        const much = crowd > 1 ? `, times ${crowd.toFixed(1)} for what else the machine does` : '';
        table.push(`${longest.toFixed(1).padStart(5)} s of ${longestStepSeconds} s${much}  ${fault}`);
        expect(longest).toBeLessThan(longestStepSeconds * crowd);
      } catch (error) {
        console.error(system.tail());
        throw error;
      } finally {
        await ground.restore();
      }
    },
    testMs,
  );
});

/**
 * How many times as long everything may take because others use the machine: the bounds leave room for twice as many
 * processes as there are cores. At least 1.
 */
function crowding(): number {
  return Math.max(1, loadavg()[0]! / (2 * availableParallelism()));
}

/** Longest time between two commits, by the ledger's own times, seconds. */
async function longestStep(ground: Ground): Promise<number> {
  const times = (await ground.steps()).map(({ committedAt }) => Date.parse(committedAt));
  return Math.max(...times.slice(1).map((time, index) => (time - times[index]!) / 1000));
}
