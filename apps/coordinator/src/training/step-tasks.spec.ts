import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type StepId, StepTasks } from './step-tasks.js';

const id: StepId = { jobId: 'j', lineage: 1, step: 3, round: 0, kind: 'train' };

function queued(count: number): StepTasks {
  const tasks = new StepTasks(id, count);
  tasks.takeOpen(0);
  return tasks;
}

describe('StepTasks', () => {
  it('takes open tasks in index order, each with its next attempt', () => {
    const tasks = new StepTasks(id, 3);
    expect(tasks.takeOpen(5)).toEqual([
      { task: 0, attempt: 1 },
      { task: 1, attempt: 1 },
      { task: 2, attempt: 1 },
    ]);
    expect(tasks.takeOpen(6)).toEqual([]);
    expect(tasks.queuedSince(4)).toEqual([]);
    expect(tasks.queuedSince(5)).toHaveLength(3);
  });

  it('lets one worker work on a task, whichever attempt it found', () => {
    const tasks = queued(1);
    tasks.lost(0, 1);
    tasks.takeOpen(1);
    expect(tasks.claim(0, 1, 'a', 2)).toBe('go');
    expect(tasks.claim(0, 2, 'b', 2)).toBe('in-good-hands');
    expect(tasks.claim(0, 2, 'a', 2)).toBe('in-good-hands');
    expect(tasks.claim(7, 1, 'a', 2)).toBe('unknown-task');
  });

  it('opens the tasks of a worker whose session ended, and no others', () => {
    const tasks = queued(3);
    tasks.claim(0, 1, 'a', 0);
    tasks.claim(1, 1, 'b', 0);
    expect(tasks.releaseAll('a')).toEqual([0]);
    expect(tasks.takeOpen(1)).toEqual([{ task: 0, attempt: 2 }]);
    expect(tasks.stateOf(1)).toBe('claimed');
  });

  it('accepts the first contribution, whoever holds the claim', () => {
    const tasks = queued(1);
    tasks.claim(0, 1, 'a', 0);
    tasks.releaseAll('a');
    tasks.takeOpen(1);
    tasks.claim(0, 2, 'b', 1);
    expect(tasks.accept(0, 'a')).toBe(true);
    expect(tasks.accept(0, 'b')).toBe(false);
    expect(tasks.claim(0, 2, 'c', 2)).toBe('already-accepted');
    expect(tasks.acceptedFrom(0)).toBe('a');
    expect(tasks.complete).toBe(true);
  });

  it('does not lose an attempt that was claimed or queued again meanwhile', () => {
    const tasks = queued(2);
    tasks.claim(0, 1, 'a', 0);
    expect(tasks.lost(0, 1)).toBe(false);
    expect(tasks.lost(1, 1)).toBe(true);
    tasks.takeOpen(1);
    expect(tasks.lost(1, 1)).toBe(false);
  });

  it('gives a second worker a copy only after speculation, and opens the task only when both are gone', () => {
    const tasks = queued(1);
    expect(tasks.speculate(0)).toBeUndefined();
    tasks.claim(0, 1, 'a', 0);
    expect(tasks.speculate(0)).toEqual({ task: 0, attempt: 2 });
    expect(tasks.speculate(0)).toBeUndefined();
    expect(tasks.claim(0, 2, 'b', 1)).toBe('go');
    expect(tasks.release(0, 'a')).toBe(false);
    expect(tasks.release(0, 'b')).toBe(true);
    expect(tasks.stateOf(0)).toBe('open');
  });

  it('counts each task once, whatever happens in whatever order', () => {
    const event = fc.record({
      what: fc.constantFrom('takeOpen', 'claim', 'release', 'releaseAll', 'accept', 'lost', 'speculate'),
      task: fc.nat(4),
      worker: fc.constantFrom('a', 'b', 'c'),
      attempt: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        const tasks = new StepTasks(id, 5);
        const accepted = new Map<number, string>();
        events.forEach(({ what, task, worker, attempt }, now) => {
          if (what === 'takeOpen') tasks.takeOpen(now);
          else if (what === 'claim') tasks.claim(task, attempt, worker, now);
          else if (what === 'release') tasks.release(task, worker);
          else if (what === 'releaseAll') tasks.releaseAll(worker);
          else if (what === 'lost') tasks.lost(task, attempt);
          else if (what === 'speculate') tasks.speculate(task);
          else if (tasks.accept(task, worker)) {
            expect(accepted.has(task)).toBe(false);
            accepted.set(task, worker);
          }
          for (let index = 0; index < 5; index += 1) {
            const claims = tasks.claimsOf(index);
            const state = tasks.stateOf(index);
            expect(new Set(claims.map((claim) => claim.worker)).size).toBe(claims.length);
            expect(claims.length > 0).toBe(state === 'claimed');
            expect(state === 'accepted').toBe(accepted.has(index));
          }
        });
        expect(tasks.acceptedCount).toBe(accepted.size);
        expect(tasks.complete).toBe(accepted.size === 5);
      }),
      { numRuns: 2000 },
    );
  });
});
