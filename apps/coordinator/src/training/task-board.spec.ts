import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { numericsClass } from '../workers/numerics-class.fixture.js';
import { type PoolWorker, WorkerRegistry } from '../workers/worker-registry.js';
import { StepTasks } from './step-tasks.js';
import { TaskBoard } from './task-board.js';
import { SimulatedQueue } from './testing/simulated-services.js';

const stepId = { jobId: 'j', lineage: 1, step: 4, round: 0, kind: 'train' } as const;

describe('a task that its worker does not begin', () => {
  let now: number;
  let registry: WorkerRegistry;
  let board: TaskBoard;
  let tasks: StepTasks;
  let delivering: boolean;
  let told: number;
  const complaints: string[] = [];
  const sent = new Map<string, string[]>();

  beforeEach(async () => {
    now = 0;
    told = 0;
    delivering = false;
    complaints.length = 0;
    sent.clear();
    registry = new WorkerRegistry(() => now);
    board = new TaskBoard({
      jobId: 'j',
      priority: 0,
      classId: undefined,
      speculation: false,
      queue: new SimulatedQueue(),
      workers: registry,
      log: pino({ level: 'silent' }),
      now: () => now,
      takes: () => true,
      delivers: () => delivering,
      onUnbegun: (_key, _worker, complaint) => complaints.push(complaint),
      onTrouble: () => (told += 1),
    });
    tasks = new StepTasks(stepId, 1);
    await board.open({
      tasks,
      lookAhead: false,
      entryOf: ({ task, attempt }) => ({
        key: { ...stepId, task },
        attempt,
        version: 4,
        epoch: 0,
        shards: [{ first: 0, samples: 1 }],
        miniBatchSamples: 1,
      }),
    });
  });

  function join(name: string): PoolWorker {
    const { id } = registry.register({ name, numericsClass, memoryBytes: 0, pid: 0 });
    sent.set(name, []);
    return registry.connect(id, ({ $case }) => sent.get(name)!.push($case))!;
  }

  /** Seconds in which every worker is heard. */
  async function pass(seconds: number, workers: readonly PoolWorker[], computing: string | null = null): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      now += 1000;
      for (const worker of workers)
        registry.heartbeat(worker, { progress: second, computing, residentBytes: 0, tensors: 0 });
      await board.reconcile();
    }
  }

  it('is told people after half a minute and given to another after five, with worker and cause', async () => {
    const [stuck, other] = [join('stuck'), join('other')];
    expect(board.claim({ ...stepId, task: 0 }, 1, stuck)).toBe(true);
    await pass(29, [stuck, other]);
    expect(board.trouble).toBeUndefined();
    await pass(3, [stuck, other]);
    expect(board.trouble).toMatch(
      /^Worker stuck has had train task 0 of step 4 .*for 30 s and has not begun it: its images or its parameters do not come/,
    );
    expect(told).toBe(1);
    await pass(267, [stuck, other]);
    expect(complaints).toEqual([]);
    expect(tasks.claimsOf(0)).toHaveLength(1);
    await pass(2, [stuck, other]);
    expect(complaints).toEqual([expect.stringMatching(/^Worker stuck has had .* for 300 s/)]);
    expect(sent.get('stuck')).toEqual(['cancelTask']);
    expect(tasks.stateOf(0)).toBe('queued');
    // Not to the same again, while there is another.
    expect(board.claim({ ...stepId, task: 0 }, 2, stuck)).toBe(false);
    await pass(2, [stuck, other]);
    expect(board.claim({ ...stepId, task: 0 }, 3, other)).toBe(true);
    await pass(1, [stuck, other]);
    expect(board.trouble).toBeUndefined();
  });

  it.each(['computed', 'delivered'])('is nothing of the kind while it is %s', async (what) => {
    const worker = join('worker');
    board.claim({ ...stepId, task: 0 }, 1, worker);
    delivering = what === 'delivered';
    await pass(900, [worker], what === 'computed' ? 'train task 0 of step 4' : null);
    expect(board.trouble).toBeUndefined();
    expect(complaints).toEqual([]);
    expect(tasks.claimsOf(0)).toHaveLength(1);
  });
});
