// Nothing grows with the number of steps: tensors exactly, memory within a stated bound, open files of the coordinator.
// Refuses to look at what a single task leaves behind; that is tensor.spec.ts's and worker.spec.ts's.
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { layoutOf } from '#model/parameters.js';
import type { WorkerView } from '../apps/coordinator/src/jobs/ports.js';
import { endlessSpec } from './support/specs.js';
import { startSystem, type TestSystem } from './support/system.js';

/** By when caches, pools and just-in-time compilers have what they want. */
const settledAt = 60;
const measuredSteps = 240;
/**
 * What a process may grow by meanwhile. A leak of one gradient (0.3 MB) per step would be 75 MB; heaps of V8 breathe by
 * some tens.
 */
const allowedBytes = 48 * 2 ** 20;

interface Sample {
  readonly coordinatorBytes: number;
  readonly workerBytes: readonly number[];
  readonly coordinatorFiles: number;
}

let system: TestSystem;
let id: string;
let before: Sample;
let after: Sample;
/** As the workers themselves told, by name, in the order in which it came. */
const told = new Map<string, number[]>();
beforeAll(async () => {
  system = await startSystem();
  id = await system.api.submit(endlessSpec({ rest: { checkpoint: { everySteps: 50, keep: 2 } } }));
  await system.api.untilJob(id, ({ step }) => step >= settledAt);
  before = sample(system);
  for await (const { type, data } of system.api.events(`/api/v1/jobs/${id}/events`)) {
    if (type === 'worker') note(data as WorkerView);
    if (type === 'job' && (data as { step: number }).step >= settledAt + measuredSteps) break;
  }
  after = sample(system);
}, 300_000);

function note({ name, tensors }: WorkerView): void {
  const list = told.get(name) ?? [];
  told.set(name, list);
  list.push(tensors);
}

function sample({ coordinator, workers }: TestSystem): Sample {
  return {
    coordinatorBytes: residentBytes(coordinator.pid),
    workerBytes: workers.map(({ pid }) => residentBytes(pid)),
    coordinatorFiles: readdirSync(`/proc/${coordinator.pid}/fd`).length,
  };
}

function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

describe(`over ${measuredSteps} steps`, () => {
  it('a worker that has nothing to do holds at most the parameters of one version', async () => {
    await system.api.act(id, 'pause');
    const { step, spec } = await system.api.untilState(id, 'paused');
    expect(step).toBeGreaterThanOrEqual(settledAt + measuredSteps);
    const { parameters, statistics } = layoutOf(spec.model);
    const oneVersion = parameters.length + statistics.length;
    // One tensor left behind per step would be several hundred by now. Counts come with heartbeats: the next ones tell.
    const idle = await system.api.untilWorkers((workers) =>
      workers.every(({ currentTask, tensors }) => currentTask === null && tensors <= oneVersion),
    );
    expect(idle).toHaveLength(2);
  });

  it('the tensors that a worker has at once stay below those of one step', () => {
    expect([...told.keys()].sort()).toEqual(['worker-1', 'worker-2']);
    for (const [name, counts] of told) {
      const half = Math.floor(counts.length / 2);
      const [early, late] = [Math.max(...counts.slice(0, half)), Math.max(...counts.slice(half))];
      expect(Math.abs(late - early), `${name}: ${counts.join(' ')}`).toBeLessThan(100);
    }
  });

  it('the memory of workers and coordinator stays', () => {
    const grown = [after.coordinatorBytes - before.coordinatorBytes];
    for (const [index, bytes] of after.workerBytes.entries()) grown.push(bytes - before.workerBytes[index]!);
    for (const bytes of grown) expect(bytes, `grown by ${grown.join(', ')} bytes`).toBeLessThan(allowedBytes);
  });

  it('the coordinator opens no more files', () => {
    // A checkpoint that is just being written has its folder and a file open; an HTTP connection of ours may be there.
    expect(Math.abs(after.coordinatorFiles - before.coordinatorFiles)).toBeLessThanOrEqual(4);
  });
});
