import { expect, test } from 'vitest';
import { newestSteps, stepRange } from './timeline.js';

test('takes a range of steps, or one', () => {
  expect(stepRange('10-14')).toEqual([10, 14]);
  expect(stepRange('7')).toEqual([7, 7]);
  expect(stepRange('0-0')).toEqual([0, 0]);
});

test.each(['', '5-', '-5', '9-8', 'a-b', '1-2-3', '1.5'])('refuses %j, saying how it is written', (text) => {
  expect(() => stepRange(text)).toThrow(/--steps .*write it as A-B/);
});

test('takes the newest steps where none are named', () => {
  expect(newestSteps(1173)).toEqual([1168, 1172]);
  expect(newestSteps(3)).toEqual([0, 2]);
  expect(newestSteps(0)).toEqual([0, 0]);
});
