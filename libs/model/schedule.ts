// Owns: the learning rate of every step and how many steps a training has; pure functions of the job spec and the dataset's size.
// Refuses to know: the optimizer, and (but for the plateau state that a checkpoint carries) anything that happened in training.
import type { TrainingSpec } from './job-spec.js';
import { stepsPerEpoch } from './sampler.js';

export type ScheduleSpec = TrainingSpec['schedule'];

/**
 * What a schedule remembers between steps, kept in checkpoints and part of `stateSha256`. Every schedule of today is a pure
 * function of the step, so there is nothing to remember; a schedule that follows the test error adds a variant here.
 */
export type ScheduleState = { readonly kind: 'stateless' };

export const initialScheduleState: ScheduleState = { kind: 'stateless' };

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
 * - one-cycle falls from the rate to 0 at the end, linearly or along half a cosine (Smith, Topin 2018).
 *
 * @param step counted from 0 over the whole training
 */
export function learningRateAt(schedule: ScheduleSpec, step: number, perEpoch: number, totalSteps: number): number {
  const warmupSteps = Math.round(schedule.warmupEpochs * perEpoch);
  if (step < warmupSteps) return Math.fround((schedule.learningRate * (step + 1)) / warmupSteps);
  return Math.fround(rateAfterWarmup(schedule, step, perEpoch, totalSteps, warmupSteps));
}

function rateAfterWarmup(
  schedule: ScheduleSpec,
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
