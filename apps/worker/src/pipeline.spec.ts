import { describe, expect, it } from 'vitest';
import type { TaskEntry } from '#proto/task-entry.js';
import { entryId } from '#proto/task-entry.js';
import { ComputeHangs } from './let-go.js';
import { Pipeline, type Stages } from './pipeline.js';
import { TaskFailure, unlessAborted } from './withdrawal.js';

function taskOf(step: number, task = 0): TaskEntry {
  const key = { jobId: 'j', lineage: 0, step, round: 0, task, kind: 'train' as const };
  return { key, attempt: 1, version: step, epoch: 0, shards: [{ first: 0, samples: 4 }], miniBatchSamples: 8 };
}

const idOf = (task: TaskEntry): string => entryId(task.key, task.attempt);

interface Gate {
  readonly promise: Promise<void>;
  open(): void;
  fail(error: Error): void;
}

function gate(): Gate {
  let open!: () => void;
  let fail!: (error: Error) => void;
  const promise = new Promise<void>((resolve, reject) => ((open = resolve), (fail = reject)));
  promise.catch(() => undefined);
  return { promise, open, fail };
}

/** Stages that wait at gates, one per task and stage, and write down what happened. */
class GatedStages implements Stages<TaskEntry> {
  readonly events: string[] = [];
  /** A compute thread that hangs does not hear the signal. */
  deaf = false;
  /** Tells the pipeline that the task that computes was refused. */
  refuse: () => void = () => undefined;
  readonly #gates = new Map<string, Gate>();

  gate(stage: 'prepare' | 'compute' | 'deliver', task: TaskEntry): Gate {
    const name = `${stage} ${task.key.step}.${task.key.task}`;
    const known = this.#gates.get(name) ?? gate();
    this.#gates.set(name, known);
    return known;
  }

  async prepare(task: TaskEntry, signal: AbortSignal): Promise<TaskEntry> {
    await unlessAborted(this.gate('prepare', task).promise, signal);
    return task;
  }

  discard(task: TaskEntry): void {
    this.#note('discard', task);
  }

  async compute(
    task: TaskEntry,
    _: TaskEntry,
    signal: AbortSignal,
    onUnwanted: () => void,
  ): Promise<{ delivery: Promise<void> }> {
    this.#note('compute', task);
    this.refuse = onUnwanted;
    await (this.deaf ? this.gate('compute', task).promise : unlessAborted(this.gate('compute', task).promise, signal));
    return { delivery: unlessAborted(this.gate('deliver', task).promise, signal) };
  }

  release(task: TaskEntry, reason: string, detail: string): void {
    this.#note(`release ${reason}${detail && `: ${detail}`}`, task);
  }

  #note(what: string, task: TaskEntry): void {
    this.events.push(`${what} ${task.key.step}.${task.key.task}`);
  }
}

/** Lets everything that can go on go on. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe('Pipeline', () => {
  it('frees the preparing slot when computing begins, and prepares the next task meanwhile', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    const [first, second] = [taskOf(1), taskOf(2)];
    stages.gate('prepare', first).open();
    await pipeline.run(first);
    expect(pipeline.computing).toBe(first);
    stages.gate('prepare', second).open();
    let secondLeft = false;
    const running = pipeline.run(second).then(() => (secondLeft = true));
    await settle();
    expect(secondLeft).toBe(false);
    expect(stages.events).toEqual(['compute 1.0']);
    stages.gate('compute', first).open();
    await running;
    // The first is still being delivered.
    expect(pipeline.size).toBe(2);
    expect(pipeline.computing).toBe(second);
    stages.gate('deliver', first).open();
    stages.gate('compute', second).open();
    stages.gate('deliver', second).open();
    await pipeline.settled();
    expect(stages.events).toEqual(['compute 1.0', 'compute 2.0']);
  });

  it('refuses a second task in the preparing slot', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    const running = pipeline.run(taskOf(1));
    await expect(pipeline.run(taskOf(2))).rejects.toThrow('The preparing slot is taken.');
    pipeline.cancel(idOf(taskOf(1)));
    await running;
  });

  it('gives way: a task being prepared is handed back as yielded, one that computes is not', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    const [low, high] = [taskOf(1), taskOf(2)];
    stages.gate('prepare', low).open();
    await pipeline.run(low);
    pipeline.yield(idOf(low));
    const running = pipeline.run(high);
    pipeline.yield(idOf(high));
    await running;
    expect(stages.events).toEqual(['compute 1.0', 'release yielded 2.0']);
    expect(pipeline.computing).toBe(low);
  });

  it('gives way while it waits for the compute slot, and frees what was prepared', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    const [low, high] = [taskOf(1), taskOf(2)];
    stages.gate('prepare', low).open();
    stages.gate('prepare', high).open();
    await pipeline.run(low);
    const running = pipeline.run(high);
    await settle();
    pipeline.yield(idOf(high));
    await running;
    expect(stages.events).toEqual(['compute 1.0', 'release yielded 2.0', 'discard 2.0']);
  });

  it('drops a cancelled task in any phase without telling the coordinator', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    const [delivering, computing, preparing] = [taskOf(1), taskOf(2), taskOf(3)];
    for (const task of [delivering, computing]) stages.gate('prepare', task).open();
    stages.gate('compute', delivering).open();
    await pipeline.run(delivering);
    await settle();
    await pipeline.run(computing);
    const running = pipeline.run(preparing);
    for (const task of [delivering, computing, preparing]) pipeline.cancel(idOf(task));
    await running;
    await pipeline.settled();
    expect(stages.events).toEqual(['compute 1.0', 'compute 2.0']);
  });

  it('releases a task whose parameters cannot be had, and pauses before the slot is free', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages, { failurePauseMs: 20 });
    const started = performance.now();
    stages.gate('prepare', taskOf(1)).fail(new TaskFailure('no-parameters', 'version 1 is gone'));
    await pipeline.run(taskOf(1));
    expect(performance.now() - started).toBeGreaterThanOrEqual(19);
    expect(stages.events).toEqual(['release no-parameters: version 1 is gone 1.0']);
  });

  it('hands a task back once, even when it is drained while it pauses', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages, { failurePauseMs: 10_000 });
    stages.gate('prepare', taskOf(1)).fail(new Error('no such dataset'));
    const running = pipeline.run(taskOf(1));
    await settle();
    pipeline.drain();
    await running;
    expect(stages.events).toEqual(['release failed: no such dataset 1.0']);
  });

  it('releases a task whose computing fails and goes on with the next', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    for (const task of [taskOf(1), taskOf(2)]) stages.gate('prepare', task).open();
    await pipeline.run(taskOf(1));
    stages.gate('compute', taskOf(1)).fail(new Error('a kernel refused'));
    await pipeline.run(taskOf(2));
    expect(stages.events).toEqual(['compute 1.0', 'release failed: a kernel refused 1.0', 'compute 2.0']);
  });

  it('releases a task whose delivery fails', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    stages.gate('prepare', taskOf(1)).open();
    stages.gate('compute', taskOf(1)).open();
    stages.gate('deliver', taskOf(1)).fail(new Error('no connection'));
    await pipeline.run(taskOf(1));
    await pipeline.settled();
    expect(stages.events).toEqual(['compute 1.0', 'release failed: no connection 1.0']);
  });

  it('drains: hands back what is prepared, finishes what computes, takes nothing', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    stages.gate('prepare', taskOf(1)).open();
    await pipeline.run(taskOf(1));
    const running = pipeline.run(taskOf(2));
    pipeline.drain();
    await running;
    await pipeline.run(taskOf(3));
    stages.gate('compute', taskOf(1)).open();
    stages.gate('deliver', taskOf(1)).open();
    await pipeline.settled();
    expect(stages.events).toEqual(['compute 1.0', 'release draining 2.0', 'release draining 3.0']);
  });

  it('withdraws everything when the session is over, silently', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    stages.gate('prepare', taskOf(1)).open();
    await pipeline.run(taskOf(1));
    const running = pipeline.run(taskOf(2));
    pipeline.withdrawAll(undefined);
    await running;
    await pipeline.settled();
    expect(stages.events).toEqual(['compute 1.0']);
  });

  /** A pipeline whose compute thread hangs in the task of step 1. */
  async function hanging(letGoMs: number): Promise<{ stages: GatedStages; pipeline: Pipeline<TaskEntry> }> {
    const stages = new GatedStages();
    stages.deaf = true;
    const pipeline = new Pipeline(stages, { letGoMs });
    stages.gate('prepare', taskOf(1)).open();
    await pipeline.run(taskOf(1));
    return { stages, pipeline };
  }

  it.each(['withdrawn', 'refused'])('is not ready for more while the compute thread holds a %s task', async (how) => {
    const { stages, pipeline } = await hanging(10_000);
    await pipeline.ready();
    const waiting = pipeline.run(taskOf(2));
    if (how === 'withdrawn') pipeline.cancel(idOf(taskOf(1)));
    else stages.refuse();
    pipeline.cancel(idOf(taskOf(2)));
    await waiting;
    let ready = false;
    const becomesReady = pipeline.ready().then(() => (ready = true));
    await settle();
    expect(ready).toBe(false);
    stages.gate('compute', taskOf(1)).open();
    await becomesReady;
    expect(pipeline.computing).toBeUndefined();
  });

  it('says that the compute thread hangs when it does not let go of a withdrawn task in time', async () => {
    const { pipeline } = await hanging(20);
    const started = performance.now();
    pipeline.cancel(idOf(taskOf(1)));
    await expect(pipeline.hung).rejects.toThrow(ComputeHangs);
    await expect(pipeline.hung).rejects.toThrow(
      /^The compute thread hangs: .*step 1.* for 0.02 s since nobody wants it/,
    );
    expect(performance.now() - started).toBeGreaterThanOrEqual(19);
  });

  it('does not call it hanging when it lets go in time, or when the task is wanted', async () => {
    const { stages, pipeline } = await hanging(20);
    let hung = false;
    pipeline.hung.catch(() => (hung = true));
    pipeline.cancel(idOf(taskOf(1)));
    stages.gate('compute', taskOf(1)).open();
    stages.gate('prepare', taskOf(2)).open();
    await pipeline.run(taskOf(2));
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(pipeline.computing).toEqual(taskOf(2));
    expect(hung).toBe(false);
  });

  it('keeps nobody waiting once it takes nothing any more', async () => {
    const { pipeline } = await hanging(10_000);
    pipeline.cancel(idOf(taskOf(1)));
    const ready = pipeline.ready();
    pipeline.drain();
    await ready;
  });

  it('bounds the tasks that wait for their answers', async () => {
    const stages = new GatedStages();
    const pipeline = new Pipeline(stages);
    const tasks = Array.from({ length: 64 }, (_, step) => taskOf(step));
    for (const task of tasks) {
      await pipeline.ready();
      stages.gate('prepare', task).open();
      stages.gate('compute', task).open();
      await pipeline.run(task);
    }
    let ready = false;
    const becomesReady = pipeline.ready().then(() => (ready = true));
    await settle();
    expect([pipeline.size, ready]).toEqual([64, false]);
    stages.gate('deliver', tasks[7]!).open();
    await becomesReady;
    expect(pipeline.size).toBe(63);
  });
});
