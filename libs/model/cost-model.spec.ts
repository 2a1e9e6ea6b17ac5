import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { efficiencyOf, largestPool, predictStep, type StepCosts } from './cost-model.js';

const free = {
  stageBytesPerSecond: Infinity,
  pullBytesPerSecond: Infinity,
  addElementsPerSecond: Infinity,
  updateElementsPerSecond: Infinity,
  elements: 60e6,
};
const base: StepCosts = {
  taskSeconds: 3,
  forwardShare: 1 / 3,
  tasks: 8,
  workers: 2,
  parameterBytes: 240e6,
  gradientBytes: 120e6,
  workerBytesPerSecond: Infinity,
  reducerBytesPerSecond: Infinity,
  reducerHosts: 1,
  slices: 2,
  slice: free,
  pullOverlap: 0,
  fixedSeconds: 0,
};

describe('a step', () => {
  test('takes its rounds of tasks where moving and adding cost nothing', () => {
    expect(predictStep(base)).toMatchObject({ stepSeconds: 12, computeSeconds: 12, boundBy: 'compute' });
    expect(predictStep({ ...base, workers: 3 }).stepSeconds).toBe(9);
    expect(predictStep({ ...base, workers: 99 }).stepSeconds).toBe(3);
  });

  test('hides a push in backward, and waits for the rest of one that takes longer', () => {
    const within = predictStep({ ...base, reducerBytesPerSecond: 120e6 });
    // Two gradients of 1 s each take as long as backward: 2 s. The pull of two times 240 MB is waited for.
    expect(within.pushSeconds).toBeCloseTo(0, 9);
    expect(within.pullSeconds).toBeCloseTo(4, 9);
    const slow = predictStep({ ...base, reducerBytesPerSecond: 60e6 });
    // 4 s per round: forward of the first, three further rounds that pushing bounds, and the last push.
    expect(slow.computeSeconds + slow.pushSeconds).toBeCloseTo(1 + 3 * 4 + 4, 9);
    expect(slow.boundBy).toBe('reducer link');
  });

  test('hides a pull in forward where parameters arrive in the order in which it needs them', () => {
    const link = { ...base, workerBytesPerSecond: 160e6 };
    expect(predictStep(link).pullSeconds).toBeCloseTo(1.5, 9);
    expect(predictStep({ ...link, pullOverlap: 1 }).pullSeconds).toBeCloseTo(0.5, 9);
  });

  test('waits for the sums that the last round takes part in, shared by the slices, and for the update', () => {
    const slice = { ...free, addElementsPerSecond: 60e6, updateElementsPerSecond: 30e6 };
    // Four rounds of two: one sum of the two, two more up the tree; then the update, by two slices.
    expect(predictStep({ ...base, slice }).reduceSeconds).toBeCloseTo((3 * 1 + 2) / 2, 9);
    expect(predictStep({ ...base, slice, reducerHosts: 2 }).reduceSeconds).toBeCloseTo((3 * 1 + 2) / 4, 9);
    expect(predictStep({ ...base, slice, tasks: 1 }).reduceSeconds).toBeCloseTo(1, 9);
  });

  test('on shared cores takes at least all work over all cores', () => {
    const slice = { ...free, stageBytesPerSecond: 120e6, updateElementsPerSecond: 30e6 };
    const shared = predictStep({ ...base, slice, sharedCores: 2 });
    // 8 tasks of 3 s, 8 gradients of 1 s at both ends, 2 s of update.
    expect(shared.stepSeconds).toBeCloseTo((24 + 16 + 2) / 2, 9);
    expect(shared.contentionSeconds).toBeGreaterThan(0);
  });

  test('its parts add up, and more of anything never makes it slower', () => {
    const rate = fc.double({ min: 1e6, max: 1e11, noNaN: true });
    const costs = fc.record({
      taskSeconds: fc.double({ min: 0.01, max: 10, noNaN: true }),
      forwardShare: fc.double({ min: 0, max: 1, noNaN: true }),
      tasks: fc.integer({ min: 1, max: 256 }),
      workers: fc.integer({ min: 1, max: 256 }),
      parameterBytes: fc.double({ min: 1e6, max: 1e9, noNaN: true }),
      gradientBytes: fc.double({ min: 1e6, max: 1e9, noNaN: true }),
      workerBytesPerSecond: rate,
      reducerBytesPerSecond: rate,
      reducerHosts: fc.integer({ min: 1, max: 16 }),
      slices: fc.integer({ min: 1, max: 16 }),
      slice: fc.record({
        stageBytesPerSecond: rate,
        pullBytesPerSecond: rate,
        addElementsPerSecond: rate,
        updateElementsPerSecond: rate,
        elements: fc.constant(60e6),
      }),
      pullOverlap: fc.double({ min: 0, max: 1, noNaN: true }),
      fixedSeconds: fc.double({ min: 0, max: 0.1, noNaN: true }),
      sharedCores: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(costs, (given) => {
        const step = predictStep(given);
        const { computeSeconds, pullSeconds, pushSeconds, reduceSeconds, fixedSeconds, contentionSeconds } = step;
        const sum = computeSeconds + pullSeconds + pushSeconds + reduceSeconds + fixedSeconds + contentionSeconds;
        expect(sum / step.stepSeconds).toBeCloseTo(1, 9);
        expect(Math.min(pullSeconds, pushSeconds, reduceSeconds, contentionSeconds)).toBeGreaterThanOrEqual(-1e-9);
        expect(efficiencyOf(step)).toBeLessThanOrEqual(1 + 1e-9);
        for (const better of [
          { reducerHosts: given.reducerHosts + 1 },
          { slices: given.slices + 1 },
          { workerBytesPerSecond: 2 * given.workerBytesPerSecond },
          { reducerBytesPerSecond: 2 * given.reducerBytesPerSecond },
          { pullOverlap: 1 },
        ]) {
          expect(predictStep({ ...given, ...better }).stepSeconds).toBeLessThanOrEqual(step.stepSeconds * (1 + 1e-9));
        }
      }),
    );
  });
});

test('the largest pool is where one more worker would fall below the share', () => {
  const { workers: _workers, tasks: _tasks, ...costs } = { ...base, reducerBytesPerSecond: 1e9 };
  const largest = largestPool(costs, 0.9);
  const at = (workers: number): number => efficiencyOf(predictStep({ ...costs, workers, tasks: workers }));
  expect(largest).toBeGreaterThan(0);
  expect(at(largest)).toBeGreaterThanOrEqual(0.9);
  expect(at(largest + 1)).toBeLessThan(0.9);
  expect(largestPool({ ...costs, fixedSeconds: 100 }, 0.9)).toBe(0);
  expect(largestPool({ ...costs, reducerBytesPerSecond: Infinity }, 0.9, 500)).toBe(500);
});
