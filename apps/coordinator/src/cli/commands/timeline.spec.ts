import { expect, test } from 'vitest';
import { stepRange } from './timeline.js';

test('takes a range of steps, or one', () => {
  expect(stepRange('10-14')).toEqual([10, 14]);
  expect(stepRange('7')).toEqual([7, 7]);
  expect(stepRange('0-0')).toEqual([0, 0]);
});

test.each(['', '5-', '-5', '9-8', 'a-b', '1-2-3', '1.5'])('refuses %j, saying how it is written', (text) => {
  expect(() => stepRange(text)).toThrow(/--steps .*write it as A-B/);
});
