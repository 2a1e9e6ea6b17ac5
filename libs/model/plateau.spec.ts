import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scheduleAfter, scheduleStateAtStart, stateless, type EvaluationFigures } from './plateau.js';
import { learningRateAt, type ScheduleSpec } from './schedule.js';

const schedule = {
  kind: 'plateau',
  learningRate: 1,
  warmupEpochs: 0,
  metric: 'error',
  patience: 2,
  threshold: 0,
  gamma: 0.5,
  minimumRate: 0,
} as const;

/** Rates that a step takes after each of the evaluations, one after the other. */
function ratesAfter(spec: ScheduleSpec, evaluations: readonly EvaluationFigures[]): number[] {
  let state = scheduleStateAtStart(spec);
  return evaluations.map((evaluation, step) => {
    state = scheduleAfter(spec, state, evaluation);
    return learningRateAt(spec, step, 10, 1000, state);
  });
}

const errors = (...values: number[]): EvaluationFigures[] => values.map((error) => ({ loss: 1, top1: 1 - error }));
const losses = (...values: number[]): EvaluationFigures[] => values.map((loss) => ({ loss, top1: 0.5 }));

describe('a plateau schedule', () => {
  it('lowers the rate after as many evaluations without a better one as its patience, and then waits anew', () => {
    expect(ratesAfter(schedule, errors(0.5, 0.5, 0.6, 0.7, 0.5, 0.4, 0.4, 0.4))).toEqual([
      1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125,
    ]);
  });

  it('follows the loss where told to, and takes no loss that is not a number for a better one', () => {
    const byLoss = { ...schedule, metric: 'loss', patience: 1 } as const;
    expect(ratesAfter(byLoss, losses(NaN, 2, 1, 1.5, NaN))).toEqual([0.5, 0.5, 0.5, 0.25, 0.125]);
    expect(ratesAfter({ ...byLoss, metric: 'error' }, losses(NaN, 2))).toEqual([1, 0.5]);
  });

  it('wants an improvement of more than the threshold', () => {
    const byLoss = { ...schedule, metric: 'loss', patience: 1, threshold: 0.1 } as const;
    expect(ratesAfter(byLoss, losses(2, 1.9, 1.7))).toEqual([1, 0.5, 0.5]);
  });

  it('stops at the least rate, and warms up whatever its state', () => {
    const rates = ratesAfter({ ...schedule, patience: 1, minimumRate: 0.2 }, errors(0.5, 0.5, 0.5, 0.5, 0.5));
    expect(rates).toEqual([1, 0.5, 0.25, 0.2, 0.2].map(Math.fround));
    const warm = { ...schedule, warmupEpochs: 1 };
    const reduced = { kind: 'plateau', best: 0, waited: 0, reductions: 3 } as const;
    expect([0, 9, 10].map((step) => learningRateAt(warm, step, 10, 100, reduced))).toEqual([
      Math.fround(0.1),
      1,
      0.125,
    ]);
  });

  it('keeps its state where nothing was evaluated, and refuses to guess a rate without it', () => {
    const state = scheduleStateAtStart(schedule);
    expect(scheduleAfter(schedule, state, undefined)).toBe(state);
    expect(() => learningRateAt(schedule, 5, 10, 100)).toThrow('needs its state');
  });

  it('never raises the rate, and lowers it at most once per `patience` evaluations', () => {
    const evaluations = fc.array(
      fc.record({ loss: fc.double({ min: 0, max: 10 }), top1: fc.double({ min: 0, max: 1, noNaN: true }) }),
    );
    const metric = fc.constantFrom('error' as const, 'loss' as const);
    fc.assert(
      fc.property(evaluations, metric, fc.integer({ min: 1, max: 5 }), (given, by, patience) => {
        const rates = ratesAfter({ ...schedule, metric: by, patience }, given);
        rates.forEach((rate, index) => expect(rate).toBeLessThanOrEqual(rates[index - 1] ?? 1));
        expect(new Set(rates).size - 1).toBeLessThanOrEqual(Math.ceil(given.length / patience));
      }),
    );
  });
});

it('other schedules remember nothing', () => {
  const constant = { kind: 'constant', learningRate: 0.1, warmupEpochs: 0 } as const;
  const state = scheduleStateAtStart(constant);
  expect(state).toBe(stateless);
  expect(scheduleAfter(constant, state, { loss: 1, top1: 0 })).toBe(stateless);
});
