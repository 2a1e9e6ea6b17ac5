// What a step's time was spent on, as metrics: the slowest task's share as its worker tells it, the rest as it is measured here.
// Pure; refuses to know steps and who measures.
import type { Contribution } from './contributions.js';

/** Seconds of one task. */
export interface TaskTimes {
  readonly images: number;
  readonly forward: number;
  readonly backward: number;
  readonly send: number;
  readonly pull: number;
}

/** Of the task that computed longest, which the others waited for. */
export function slowestOf(contributions: readonly Contribution[]): TaskTimes & { readonly compute: number } {
  const none = { compute: 0, images: 0, forward: 0, backward: 0, send: 0, pull: 0 };
  return contributions.reduce((slowest, { totals, parts }) => {
    const { computeSeconds, forwardSeconds, imagesSeconds, pullSeconds } = totals;
    if (computeSeconds <= slowest.compute) return slowest;
    return {
      compute: computeSeconds,
      images: imagesSeconds,
      forward: forwardSeconds,
      backward: computeSeconds - forwardSeconds,
      // The slices hear the same but for this: each stream ends when it ends.
      send: Math.max(...parts.map((part) => part.totals?.sendSeconds ?? 0)),
      pull: pullSeconds,
    };
  }, none);
}

/**
 * The metrics of a step. Images and parameters come while other things are done, and `step/wait_seconds` is what is left of the
 * step's time beside forward, backward, send, reduce and update: parameters that came too late, the queue, claims, answers.
 */
export function partMetrics(
  stepSeconds: number,
  { images, forward, backward, send, pull }: TaskTimes,
  { reduce, update }: { readonly reduce: number; readonly update: number },
): Record<string, number> {
  return {
    'step/images_seconds': images,
    'step/forward_seconds': forward,
    'step/backward_seconds': backward,
    'step/send_seconds': send,
    'step/wait_seconds': Math.max(0, stepSeconds - forward - backward - send - reduce - update),
    'step/reduce_seconds': reduce,
    'step/update_seconds': update,
    'step/pull_seconds': pull,
  };
}
