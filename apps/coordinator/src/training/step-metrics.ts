// What a committed step leaves in the job's series, by their names. Refuses to know where they are kept and shown.
import type { CommittedStep } from './commit.js';
import type { StepTimes } from './step-clock.js';
import type { CollectedStep } from './step-collector.js';
import { partMetrics } from './step-parts.js';

/** @param samples those that the step computed */
export function stepMetrics(
  samples: number,
  collected: CollectedStep,
  { learningRate, gradientNorm, layerFigures, seconds }: CommittedStep,
  { stepSeconds }: StepTimes,
): Record<string, number> {
  return {
    'train/loss': collected.loss,
    'train/top1': collected.top1,
    'train/top5': collected.top5,
    learning_rate: learningRate,
    'gradient/norm': gradientNorm,
    ...layerFigures,
    'throughput/images_per_second': samples / stepSeconds,
    'step/seconds': stepSeconds,
    'step/compute_seconds': collected.slowest.compute,
    ...partMetrics(stepSeconds, collected.slowest, seconds),
  };
}
