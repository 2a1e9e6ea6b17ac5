// What may be done in which state, and how well the pool fits a job.
import { describe, expect, it } from 'vitest';
import type { JobState, JobView, WorkerView } from '../../src/jobs/ports.js';
import { allows, epochNumber, hasEnded, poolFit, progressOf, runSeconds } from './job-facts.js';

const job = (fields: Partial<JobView>): JobView =>
  ({ state: 'running', usefulWorkers: 2, numericsClass: null, ...fields }) as JobView;
const worker = (classId: string, state: WorkerView['state'] = 'active'): WorkerView =>
  ({ classId, numericsClass: `text of ${classId}`, state }) as WorkerView;

describe('job facts', () => {
  it.each<[JobState, boolean, boolean, boolean]>([
    ['queued', false, false, true],
    ['running', true, false, true],
    ['paused', false, true, true],
    ['completed', false, false, false],
    ['failed', false, false, false],
    ['cancelled', false, false, false],
  ])('of a job that is %s: pause %s, resume %s, cancel %s', (state, pause, resume, cancel) => {
    const view = job({ state });
    expect([allows(view, 'pause'), allows(view, 'resume'), allows(view, 'cancel')]).toEqual([pause, resume, cancel]);
    expect(hasEnded(view)).toBe(!cancel);
  });

  it('gives progress within 0 and 1', () => {
    expect(progressOf(job({ step: 3, totalSteps: 12 }))).toBe(0.25);
    expect(progressOf(job({ step: 0, totalSteps: 0 }))).toBe(0);
  });

  it.each([
    [0, 1],
    [391, 2],
    [1172, 3],
    [1173, 3],
  ])('after %i of 1173 steps of 3 epochs is in epoch %i', (step, epoch) => {
    const spec = { training: { epochs: 3 } } as JobView['spec'];
    expect(epochNumber(job({ step, totalSteps: 1173, spec }))).toBe(epoch);
  });

  it('counts the time of a run up to now or its end', () => {
    const startedAt = '2026-01-01T00:00:00Z';
    expect(runSeconds(job({ startedAt: null }), 0)).toBeNull();
    expect(runSeconds(job({ startedAt, endedAt: null }), Date.parse('2026-01-01T00:01:00Z'))).toBe(60);
    expect(runSeconds(job({ startedAt, endedAt: '2026-01-01T00:00:10Z' }), Date.now())).toBe(10);
  });

  it('counts workers of the job’s class that stay', () => {
    const pool = [worker('a'), worker('a', 'draining'), worker('b')];
    expect(poolFit(job({}), pool)).toEqual({ live: 2, useful: 2, hint: '' });
    expect(poolFit(job({ numericsClass: 'text of a, bfloat16' }), pool)).toEqual({
      live: 1,
      useful: 2,
      hint: '1 more would help.',
    });
    expect(poolFit(job({ numericsClass: 'text of a' }), pool).live).toBe(1);
    expect(poolFit(job({ numericsClass: 'text of c, float32' }), pool).hint).toMatch(/another numerics class/);
    expect(poolFit(job({ usefulWorkers: 1 }), pool).hint).toBe('1 more than a step can use.');
    expect(poolFit(job({}), []).hint).toMatch(/Start a worker/);
    expect(poolFit(job({ state: 'completed' }), []).hint).toBe('');
  });
});
