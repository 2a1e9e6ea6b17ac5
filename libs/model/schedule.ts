// Owns: the learning rate of every step and how many steps a training has; pure functions of the job spec, the dataset's size
// and, for a plateau schedule, of its state. Refuses to know: the optimizer, and how that state came about (plateau.ts).
import type { TrainingSpec } from './job-spec.js';
import { stateless, type ScheduleState } from './plateau.js';
import { stepsPerEpoch } from './sampler.js';

export { scheduleAfter, scheduleStateAtStart } from './plateau.js';
export type { ScheduleState } from './plateau.js';

export type ScheduleSpec = TrainingSpec['schedule'];

/** Steps of the whole training: `steps`, or `epochs` times the steps of an epoch over `trainCount` samples. */
export function totalStepsOf(
  training: Pick<TrainingSpec, 'steps' | 'epochs' | 'batchSize'>,
  trainCount: number,
): number {
  if (training.steps !== null) return training.steps;
  return Math.max(1, Math.round((training.epochs ?? 1) * stepsPerEpoch(trainCount, training.batchSize)));
}

/**
 * The learning rate of a step, rounded to float32 (which also hides the last bit of the cosine, the one thing here in which
 * JavaScript engines may differ).
 *
 * Warm-up of w steps rises linearly: step s < w gets (s + 1) / w of the rate. After it
 * - constant keeps the rate;
 * - step multiplies it by gamma at each milestone passed;
 * - cosine falls from the rate to finalLearningRate along half a cosine (Loshchilov, Hutter 2017);
 * - one-cycle falls from the rate to 0 at the end, linearly or along half a cosine (Smith, Topin 2018);
 * - plateau multiplies it by gamma once per reduction that its state counts, never below minimumRate.
 *
 * @param step counted from 0 over the whole training
 * @param state what the schedule remembers as this step starts: `scheduleAfter` of plateau.ts
 * @throws RangeError for a plateau schedule without its state
 */
export function learningRateAt(
  schedule: ScheduleSpec,
  step: number,
  perEpoch: number,
  totalSteps: number,
  state: ScheduleState = stateless,
): number {
  const warmupSteps = Math.round(schedule.warmupEpochs * perEpoch);
  if (step < warmupSteps) return Math.fround((schedule.learningRate * (step + 1)) / warmupSteps);
  if (schedule.kind === 'plateau') return Math.fround(rateOnPlateau(schedule, state));
  return Math.fround(rateAfterWarmup(schedule, step, perEpoch, totalSteps, warmupSteps));
}

function rateOnPlateau(schedule: Extract<ScheduleSpec, { kind: 'plateau' }>, state: ScheduleState): number {
  if (state.kind !== 'plateau') throw new RangeError('a plateau schedule needs its state');
  // By products, as the step schedule does: a power may differ in its last bit from engine to engine.
  let rate = schedule.learningRate;
  for (let reduction = 0; reduction < state.reductions; reduction++) rate *= schedule.gamma;
  return Math.max(rate, Math.min(schedule.minimumRate, schedule.learningRate));
}

function rateAfterWarmup(
  schedule: Exclude<ScheduleSpec, { kind: 'plateau' }>,
  step: number,
  perEpoch: number,
  totalSteps: number,
  warmupSteps: number,
): number {
  // 0 at the first step after warm-up, 1 at the step after the last: the last step still has a rate above 0.
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  switch (schedule.kind) {
    case 'constant':
      return schedule.learningRate;
    case 'step': {
      const milestones = [
        ...schedule.milestones.map((epoch) => Math.round(epoch * perEpoch)),
        ...schedule.milestoneSteps,
      ];
      return milestones.reduce(
        (rate, milestone) => (step >= milestone ? rate * schedule.gamma : rate),
        schedule.learningRate,
      );
    }
    case 'cosine': {
      const range = schedule.learningRate - schedule.finalLearningRate;
      return schedule.finalLearningRate + range * halfCosine(progress);
    }
    case 'one-cycle':
      return schedule.learningRate * (schedule.anneal === 'linear' ? 1 - progress : halfCosine(progress));
  }
}

function halfCosine(progress: number): number {
  return (1 + Math.cos(Math.PI * progress)) / 2;
}
