import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { WorkerView } from '../jobs/ports.js';
import { numericsClass } from '../workers/numerics-class.fixture.js';
import { type PoolWorker, WorkerRegistry } from '../workers/worker-registry.js';
import { WorkerEvents } from './worker-events.js';

let registry: WorkerRegistry;
let worker: PoolWorker;
let told: (Partial<WorkerView> & { gone?: true })[];

beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  registry = new WorkerRegistry();
  registry.listen(new WorkerEvents(registry, { publish: (_kind, _job, view) => void told.push(view as WorkerView) }));
  const { id } = registry.register({ name: 'w', numericsClass, memoryBytes: 0, pid: 0 });
  worker = registry.connect(id, () => undefined)!;
});

afterEach(() => vi.useRealTimers());

function beat(progress: number): void {
  registry.heartbeat(worker, { progress, computing: null, residentBytes: 0, tensors: 0 });
}

it('tells changes at most once a second', () => {
  for (let count = 1; count <= 40; count += 1) {
    vi.advanceTimersByTime(100);
    beat(count);
  }
  expect(told.length).toBeLessThanOrEqual(5);
});

it('tells of one that hangs, although it says nothing more', () => {
  beat(1);
  worker.state = 'hung';
  registry.changed(worker);
  expect(told.map(({ state }) => state)).toEqual(['active']);
  vi.advanceTimersByTime(1000);
  expect(told.map(({ state }) => state)).toEqual(['active', 'hung']);
});

it('tells nothing after its end', () => {
  beat(1);
  registry.disconnect(worker);
  vi.advanceTimersByTime(5000);
  expect(told.map(({ gone }) => gone ?? false)).toEqual([false, true]);
});
