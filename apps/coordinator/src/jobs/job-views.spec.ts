import { expect, it } from 'vitest';
import { turnText } from './job-views.js';

it('counts the jobs that do run', () => {
  const others = (running: number): string => turnText({ stopping: false, running });
  expect(others(1)).toBe('Another job is running; this one waits for its turn, by priority and age.');
  expect(others(3)).toBe('3 other jobs are running; this one waits for its turn, by priority and age.');
  expect(others(0)).not.toMatch(/running/);
});

it('blames no other job while the coordinator stops', () => {
  const text = 'The coordinator is stopping; the job goes on when it is back.';
  expect(turnText({ stopping: true, running: 0 })).toBe(text);
  expect(turnText({ stopping: true, running: 2 })).toBe(text);
});
