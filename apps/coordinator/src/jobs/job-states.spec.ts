import { describe, expect, it } from 'vitest';
import { isEnded, mayAct, mayFollow, statesFor } from './job-states.js';
import { jobStates } from './ports.js';

describe('job states', () => {
  it('has no way out of an end, and a way to every state', () => {
    for (const state of ['completed', 'failed', 'cancelled'] as const) {
      expect(isEnded(state)).toBe(true);
      expect(jobStates.some((to) => mayFollow(state, to))).toBe(false);
    }
    for (const state of jobStates) expect(jobStates.some((from) => mayFollow(from, state))).toBe(true);
  });

  it('lets people act only where that makes sense', () => {
    expect(jobStates.filter((state) => mayAct(state, 'pause'))).toEqual(['queued', 'running']);
    expect(jobStates.filter((state) => mayAct(state, 'resume'))).toEqual(['paused']);
    expect(jobStates.filter((state) => mayAct(state, 'cancel'))).toEqual(['queued', 'running', 'paused']);
    expect(statesFor('checkpoint')).toBe('running');
  });
});
