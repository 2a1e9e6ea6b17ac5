import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { learningRateAt, totalStepsOf, type ScheduleSpec } from './schedule.js';

const ratesOf = (schedule: ScheduleSpec, perEpoch: number, total: number): number[] =>
  Array.from({ length: total }, (_, step) => learningRateAt(schedule, step, perEpoch, total));
const f32 = (values: readonly number[]): number[] => values.map(Math.fround);

describe('learningRateAt', () => {
  it('constant: rises linearly, then stays', () => {
    const schedule = { kind: 'constant', learningRate: 0.4, warmupEpochs: 1 } as const;
    expect(ratesOf(schedule, 4, 7)).toEqual(f32([0.1, 0.2, 0.30000000000000004, 0.4, 0.4, 0.4, 0.4]));
  });

  it('step: falls by gamma at milestones in epochs or in steps', () => {
    const base = { kind: 'step', learningRate: 1, warmupEpochs: 0, gamma: 0.5 } as const;
    expect(ratesOf({ ...base, milestones: [1, 1.5], milestoneSteps: [] }, 2, 5)).toEqual([1, 1, 0.5, 0.25, 0.25]);
    expect(ratesOf({ ...base, milestones: [], milestoneSteps: [3] }, 2, 5)).toEqual([1, 1, 1, 0.5, 0.5]);
    const paper = { ...base, learningRate: 0.1, gamma: 0.1, milestones: [], milestoneSteps: [32_000, 48_000] };
    const at = [31_999, 32_000, 47_999, 48_000].map((step) => learningRateAt(paper, step, 391, 64_000));
    expect(at).toEqual(f32([0.1, 0.1 * 0.1, 0.1 * 0.1, 0.1 * 0.1 * 0.1]));
  });

  it('cosine: from the rate towards the final rate', () => {
    const rates = ratesOf({ kind: 'cosine', learningRate: 1, warmupEpochs: 0, finalLearningRate: 0.5 }, 10, 4);
    expect(rates[0]).toBe(1);
    expect(rates[2]).toBeCloseTo(0.75, 6);
    expect(rates[3]).toBeGreaterThan(0.5);
  });

  it('one-cycle: up to the peak, then down, never 0', () => {
    const schedule = { kind: 'one-cycle', learningRate: 0.4, warmupEpochs: 0.5, anneal: 'linear' } as const;
    expect(ratesOf(schedule, 4, 6)).toEqual(f32([0.2, 0.4, 0.4, 0.4 * 0.75, 0.4 * 0.5, 0.4 * 0.25]));
  });

  it('always gives a finite float32 from just above 0 to the rate', () => {
    const common = {
      learningRate: fc.double({ min: 1e-3, max: 10, noNaN: true }),
      warmupEpochs: fc.double({ min: 0, max: 3, noNaN: true }),
    };
    const schedules = fc.oneof(
      fc.record({ kind: fc.constant('constant' as const), ...common }),
      fc.record({ kind: fc.constant('cosine' as const), ...common, finalLearningRate: fc.constant(1e-4) }),
      fc.record({
        kind: fc.constant('one-cycle' as const),
        ...common,
        anneal: fc.constantFrom('linear' as const, 'cosine' as const),
      }),
      fc.record({
        kind: fc.constant('step' as const),
        ...common,
        milestones: fc.constant<number[]>([1, 2]),
        milestoneSteps: fc.constant<number[]>([5]),
        gamma: fc.constant(0.1),
      }),
    );
    fc.assert(
      fc.property(
        schedules,
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 200 }),
        (schedule, perEpoch, total) => {
          for (const rate of ratesOf(schedule, perEpoch, total)) {
            expect(rate).toBe(Math.fround(rate));
            expect(rate).toBeGreaterThan(0);
            expect(rate).toBeLessThanOrEqual(Math.fround(schedule.learningRate));
          }
        },
      ),
    );
  });
});

describe('totalStepsOf', () => {
  it('takes steps, or epochs with their short last mini-batch', () => {
    expect(totalStepsOf({ steps: 7, epochs: null, batchSize: 128 }, 50_000)).toBe(7);
    expect(totalStepsOf({ steps: null, epochs: 3, batchSize: 128 }, 50_000)).toBe(1173);
  });
});
