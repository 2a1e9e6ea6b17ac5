// Which kernels serve 1x1 convolutions is tried once, by one worker, kept with the job over kills and sent to all its workers: bits
// are those of the plain loop with the job's table. Refuses to look at which kernels are quicker.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type KernelTable, kernelTableSchema, tableInShort } from '#model/kernel-table.js';
import { contributors, expectCleanAudit, hashesOf } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { syntheticSpec } from './support/specs.js';
import { startSystem, type TestSystem } from './support/system.js';

const specOf = (training: object = {}): object =>
  syntheticSpec({
    architecture: 'resnet20',
    steps: 24,
    training,
    rest: { model: { architecture: 'resnet20', shortcut: 'C' }, checkpoint: { everySteps: 5 } },
  });

const recordPath = ({ dataDir }: TestSystem, id: string): string => join(dataDir, 'jobs', id, 'job.json');

function recordOf(system: TestSystem, id: string): { kernels: unknown } & Record<string, unknown> {
  return JSON.parse(readFileSync(recordPath(system, id), 'utf8')) as { kernels: unknown } & Record<string, unknown>;
}

function tableOf(system: TestSystem, id: string): KernelTable {
  return kernelTableSchema.parse(recordOf(system, id).kernels);
}

/** Every kernel is the other one. */
function inverted(table: KernelTable): KernelTable {
  const text = JSON.stringify(table, (_, value: unknown) =>
    value === 'product' ? 'convolution' : value === 'convolution' ? 'product' : value,
  );
  return kernelTableSchema.parse(JSON.parse(text));
}

it('a job keeps its table over a killed coordinator, and ends with the bits of the plain loop by it', async () => {
  const system = await startSystem({ workers: 2 });
  const { api, coordinator } = system;
  const id = await api.submit(specOf());
  const running = await api.untilJob(id, ({ step }) => step >= 7);
  const table = tableOf(system, id);
  expect(running.kernels).toBe(tableInShort(table));
  coordinator.kill('SIGKILL');
  await system.restartCoordinator();
  const job = await api.untilState(id, 'completed');
  expect(job.kernels).toBe(running.kernels);
  expect(tableOf(system, id)).toEqual(table);
  expect(await contributors(system, id)).toEqual(['worker-1', 'worker-2']);
  await expectCleanAudit(system, id, 24);
  const plain = hashesOf(await trainPlainly(specOf(), { kernels: table }));
  expect(hashesOf(job)).toEqual(plain);
  const manifest = readFileSync(join(job.checkpoint!.path, 'manifest.json'), 'utf8');
  expect(JSON.parse(manifest)).toMatchObject({ numericsClass: `${job.numericsClass}, ${job.kernels}` });

  // As if the trial had found otherwise: the next job of its kind takes that over, and both workers compute by it.
  coordinator.kill('SIGKILL');
  await coordinator.ended;
  const other = inverted(table);
  writeFileSync(recordPath(system, id), JSON.stringify({ ...recordOf(system, id), kernels: other }));
  await system.restartCoordinator();
  const next = await system.train(specOf());
  expect(next.kernels).toBe(tableInShort(other));
  expect(await contributors(system, next.id)).toEqual(['worker-1', 'worker-2']);
  expect(hashesOf(next)).toEqual(hashesOf(await trainPlainly(specOf(), { kernels: other })));
  expect(hashesOf(next)).not.toEqual(plain);
}, 180_000);

it('where the worker that tries dies another one does, and a job by the fixed rule has no table', async () => {
  const system = await startSystem({ workers: 2 });
  const { api, workers } = system;
  for (const worker of workers) worker.kill('SIGSTOP');
  const id = await api.submit(specOf({ steps: 3 }));
  const { reason } = await api.untilJob(id, (job) => job.reason?.includes('tries which kernels') === true);
  const asked = workers.find(({ name }) => reason!.includes(name))!;
  asked.kill('SIGKILL');
  const left = workers.find((worker) => worker !== asked)!;
  left.kill('SIGCONT');
  const job = await api.untilState(id, 'completed');
  expect(await contributors(system, id)).toEqual([left.name]);
  const kernels = tableOf(system, id);
  expect(job).toMatchObject({ kernels: tableInShort(kernels), note: null });
  expect(hashesOf(job)).toEqual(hashesOf(await trainPlainly(specOf({ steps: 3 }), { kernels })));

  const fixed = await system.train(specOf({ steps: 3, kernels: 'fixed' }));
  expect(fixed.kernels).toBeNull();
  expect(recordOf(system, fixed.id).kernels).toBeNull();
  expect(hashesOf(fixed)).toEqual(hashesOf(await trainPlainly(specOf({ steps: 3 }))));
}, 180_000);

it('a job that is pinned to another class tries anew, and goes on from its checkpoint', async () => {
  const system = await startSystem({ workers: 1 });
  const { api } = system;
  const [first] = system.workers;
  const id = await api.submit(specOf({ steps: 400 }));
  await api.untilJob(id, ({ step }) => step >= 3);
  await api.act(id, 'pause');
  await api.untilState(id, 'paused');
  expect(tableOf(system, id)).not.toEqual({});
  first!.kill('SIGTERM');
  await first!.ended;
  const other = system.addWorker({ LOCKSTEP_THREADS: '2', TF_NUM_INTRAOP_THREADS: '2' });
  other.start();
  await api.untilWorkers((pool) => pool.some(({ name }) => name === other.name));
  other.kill('SIGSTOP');
  await api.expect(202, `/api/v1/jobs/${id}/resume?repin=true`, { method: 'POST' });
  await api.untilJob(id, (job) => job.reason === `Worker ${other.name} tries which kernels are the quicker ones.`);
  expect(recordOf(system, id).kernels).toBeNull();
  other.kill('SIGCONT');
  const job = await api.untilJob(id, ({ state, step }) => state === 'running' && step >= 6);
  expect(job.kernels).toBe(tableInShort(tableOf(system, id)));
}, 120_000);
