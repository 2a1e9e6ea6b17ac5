import { describe, expect, it } from 'vitest';
import { Contribution } from './contributions.js';
import { partMetrics, slowestOf } from './step-parts.js';

function contribution(task: number, computeSeconds: number, sends: readonly number[]): Contribution {
  const key = { jobId: 'j', lineage: 0, step: 1, round: 0, task, kind: 'train' as const };
  const made = new Contribution('w', key, 1);
  for (const [slice, sendSeconds] of sends.entries()) {
    const totals = {
      ...{ samples: 1, sampleIdsSha256: '', lossSum: 1, top1Hits: 0, top5Hits: 0, computeSeconds },
      ...{ forwardSeconds: computeSeconds / 4, imagesSeconds: 0.5, pullSeconds: 0.25, pullWaitSeconds: 0, sendSeconds },
    };
    made.parts.push({ slice, pushId: slice + 1, totals, blockChecksums: undefined });
  }
  return made;
}

describe('parts of a step', () => {
  it('are those of the task that computed longest, sent when its last slice had it', () => {
    const slowest = slowestOf([
      contribution(0, 1, [3, 3]),
      contribution(1, 2, [0.1, 0.2]),
      contribution(2, 1.5, [4, 4]),
    ]);
    expect(slowest).toEqual({ compute: 2, images: 0.5, forward: 0.5, backward: 1.5, send: 0.2, pull: 0.25 });
    expect(slowestOf([]).compute).toBe(0);
  });

  it('add up to the step, but for what goes on beside it', () => {
    const times = { images: 9, forward: 1, backward: 2, send: 0.5, pull: 9 };
    const metrics = partMetrics(5, times, { reduce: 0.25, update: 0.25 });
    expect(metrics['step/wait_seconds']).toBe(1);
    const { 'step/images_seconds': images, 'step/pull_seconds': pull, ...within } = metrics;
    expect([images, pull]).toEqual([9, 9]);
    expect(Object.values(within).reduce((sum, seconds) => sum + seconds, 0)).toBe(5);
    expect(partMetrics(1, times, { reduce: 0, update: 0 })['step/wait_seconds']).toBe(0);
  });
});
