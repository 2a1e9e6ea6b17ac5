// A coordinator that dies at arbitrary instants, many times, and a job that goes on from any of its checkpoints: the bits of
// the run to which nothing happened. Refuses to aim (fault-matrix.test.ts does): what the files look like after each death
// is only counted, to show that no phase was spared.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import { readLedger } from '../../apps/coordinator/src/training/ledger.js';
import { expectCleanAudit, hashesOf, type Hashes } from '../support/outcomes.js';
import { trainPlainly } from '../support/plain-loop.js';
import { syntheticSpec } from '../support/specs.js';
import { startSystem, type TestSystem } from '../support/system.js';

const steps = 90;
const kills = 40;
/** Enough for several steps and checkpoints; deaths are spread evenly over it. */
const longestLifeMs = 1_200;
const spec = syntheticSpec({ steps, training: { batchSize: 64 }, rest: { checkpoint: { everySteps: 2, keep: 100 } } });

let quiet: Hashes;
beforeAll(async () => {
  quiet = hashesOf(await trainPlainly(spec));
});

const folderOf = (system: TestSystem, id: string): string => join(system.dataDir, 'jobs', id);

/** What a death left behind. */
function remains(system: TestSystem, id: string): string {
  const folder = join(folderOf(system, id), 'checkpoints');
  const names = existsSync(folder) ? readdirSync(folder) : [];
  if (names.some((name) => name.startsWith('.writing-'))) return 'a checkpoint half written';
  const path = join(folderOf(system, id), 'ledger.txt');
  const { records, goodBytes } = readLedger(path);
  if (existsSync(path) && goodBytes < readFileSync(path).length) return 'a ledger with a torn tail';
  const newest = Math.max(0, ...names.map((name) => Number(name.replace('step-', ''))));
  const ahead = records.length - newest;
  return ahead > 0 ? 'steps beyond the newest checkpoint' : 'a checkpoint of the last step';
}

it('survives deaths at any instant', async () => {
  const system = await startSystem({ workers: 2, reducers: 2 });
  const { api, coordinator } = system;
  const id = await api.submit(spec);
  const seen = new Map<string, number>();
  for (let kill = 0; kill < kills; kill += 1) {
    await api.untilJob(id, ({ state, step }) => state === 'completed' || (state === 'running' && step > 0));
    await sleep((longestLifeMs * ((kill * 7) % kills)) / kills);
    await coordinator.killNow();
    const what = remains(system, id);
    seen.set(what, (seen.get(what) ?? 0) + 1);
    await system.restartCoordinator();
  }
  const job = await api.untilState(id, 'completed', 300_000);
  console.log('after deaths:', Object.fromEntries(seen));
  expect(hashesOf(job)).toEqual(quiet);
  await expectCleanAudit(system, id, steps);
  expect(seen.get('steps beyond the newest checkpoint')).toBeGreaterThan(0);
});

it('goes on from any checkpoint to the same bits', async () => {
  const system = await startSystem({ workers: 2, reducers: 2 });
  const { api, coordinator } = system;
  const id = await api.submit(spec);
  await api.untilJob(id, ({ step }) => step >= 20);
  await coordinator.killNow();
  const folder = folderOf(system, id);
  const copy = `${folder}-copy`;
  cpSync(folder, copy, { recursive: true });
  const all = readdirSync(join(copy, 'checkpoints')).filter((name) => name.startsWith('step-'));
  expect(all.length).toBeGreaterThan(8);
  for (const last of all.toSorted()) {
    rmSync(folder, { recursive: true });
    cpSync(copy, folder, { recursive: true });
    for (const name of all) if (name > last) rmSync(join(folder, 'checkpoints', name), { recursive: true });
    await system.restartCoordinator();
    const job = await api.untilState(id, 'completed', 120_000);
    expect(hashesOf(job), last).toEqual(quiet);
    await expectCleanAudit(system, id, steps);
    await coordinator.killNow();
  }
});
