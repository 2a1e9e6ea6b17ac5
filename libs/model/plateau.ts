// Owns: what a schedule remembers from one evaluation to the next, and when a plateau schedule lowers its rate.
// Refuses to know: who evaluates, and how a rate follows from the state (schedule.ts).
import { z } from 'zod';
import type { TrainingSpec } from './job-spec.js';

export const scheduleStateSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('stateless') }),
  z.strictObject({
    kind: z.literal('plateau'),
    best: z.number().nullable().describe('Best value of the metric so far; null before the first evaluation.'),
    waited: z.int().min(0).describe('Evaluations since the best one or the last reduction.'),
    reductions: z.int().min(0).describe('How often the rate has been lowered.'),
  }),
]);

/**
 * What a schedule remembers between steps, kept in checkpoints and part of `stateSha256`. All but the plateau schedule are
 * pure functions of the step and remember nothing.
 */
export type ScheduleState = Readonly<z.infer<typeof scheduleStateSchema>>;

export const stateless: ScheduleState = { kind: 'stateless' };

/** What an evaluation of the test images came to. */
export interface EvaluationFigures {
  /** Mean over the images, nats, summed along the tree over the evaluation's tasks: its bits then depend on nobody. */
  readonly loss: number;
  /** Share of hits in [0, 1]. */
  readonly top1: number;
}

/** The state of version 0. */
export function scheduleStateAtStart(schedule: TrainingSpec['schedule']): ScheduleState {
  return schedule.kind === 'plateau' ? { kind: 'plateau', best: null, waited: 0, reductions: 0 } : stateless;
}

/**
 * The state of version t + 1 from that of version t and the evaluation of version t, if it was evaluated. Step t takes its
 * rate from the result; a checkpoint of version t holds the state before it, whether or not t was evaluated by then, so
 * going on from it repeats the step.
 *
 * An evaluation counts as better when the metric falls (error, loss) by more than `threshold` of the best value. After
 * `patience` evaluations in a row that are not better, the rate is lowered once and waiting starts anew. A metric that is
 * not a number is never better.
 */
export function scheduleAfter(
  schedule: TrainingSpec['schedule'],
  state: ScheduleState,
  evaluation: EvaluationFigures | undefined,
): ScheduleState {
  if (schedule.kind !== 'plateau' || state.kind !== 'plateau' || evaluation === undefined) return state;
  const value = schedule.metric === 'error' ? 1 - evaluation.top1 : evaluation.loss;
  const { best, waited, reductions } = state;
  const isBetter = Number.isFinite(value) && (best === null || value < best * (1 - schedule.threshold));
  if (isBetter) return { kind: 'plateau', best: value, waited: 0, reductions };
  if (waited + 1 < schedule.patience) return { ...state, waited: waited + 1 };
  return { ...state, waited: 0, reductions: reductions + 1 };
}
