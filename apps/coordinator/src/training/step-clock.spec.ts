import { expect, it } from 'vitest';
import { StepClock, type StepTimes } from './step-clock.js';

/** What the clock says after each step of so many seconds and 100 samples. */
function told(...seconds: readonly number[]): StepTimes[] {
  let now = 1000;
  const clock = new StepClock(() => now);
  return seconds.map((each) => {
    now += each * 1000;
    return clock.committed(100);
  });
}

it('leaves the first step out of the means as soon as there is another', () => {
  const times = told(20, 2, 2, 2, 2);
  expect(times.map(({ imagesPerSecond }) => Math.round(imagesPerSecond))).toEqual([5, 50, 50, 50, 50]);
  expect(times.at(-1)?.secondsPerStep).toBeCloseTo(2);
  expect(times.map(({ stepSeconds }) => stepSeconds)).toEqual([20, 2, 2, 2, 2]);
});

it('foretells nothing before the fifth step', () => {
  const known = told(1, 1, 1, 1, 1, 1).map(({ secondsPerStep }) => secondsPerStep !== null);
  expect(known).toEqual([false, false, false, false, true, true]);
});

it('is the plain mean of the first steps, so that no early one outweighs the others', () => {
  expect(told(9, 4, 1, 1, 2).at(-1)?.secondsPerStep).toBeCloseTo(2);
});

it('follows a change later on, each step with a weight of a twentieth', () => {
  const times = told(...Array.from({ length: 101 }, () => 1), 3);
  expect(times.at(-1)?.secondsPerStep).toBeCloseTo(1 + 0.05 * 2);
});

it('does not count what is between steps', () => {
  let now = 0;
  const clock = new StepClock(() => now);
  now = 50_000;
  clock.paused();
  now = 52_000;
  expect(clock.committed(100)).toMatchObject({ stepSeconds: 2, imagesPerSecond: 50 });
});
