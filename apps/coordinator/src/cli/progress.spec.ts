import { describe, expect, it } from 'vitest';
import { endText, type JobProgress, progressLine } from './progress.js';

const job: JobProgress = {
  state: 'running',
  step: 782,
  totalSteps: 1173,
  epoch: 2,
  loss: 0.812,
  top1: 0.713,
  imagesPerSecond: 946,
  etaSeconds: 72,
  reason: null,
  spec: { training: { epochs: 3 } },
};

describe('progressLine', () => {
  it('is a sentence where there is no terminal', () => {
    expect(progressLine(job, undefined)).toBe(
      'step 782/1,173 · epoch 3/3 · loss 0.812 · accuracy 71.3 % · 946 images/s · 1 min 12 s left',
    );
  });

  it('has a bar as long as there is room', () => {
    expect(progressLine(job, 120)).toBe(
      '████████████████░░░░░░░░  66 %  step 782/1,173  epoch 3/3  loss 0.812  accuracy 71.3 %  946 images/s  1 min 12 s left',
    );
    for (let width = 10; width < 140; width += 1) {
      expect(Array.from(progressLine(job, width)).length, `width ${width}`).toBeLessThanOrEqual(width);
    }
    expect(progressLine(job, 79)).toBe(
      '████████░░░░░  66 %  loss 0.812  accuracy 71.3 %  946 images/s  1 min 12 s left',
    );
    expect(progressLine(job, 60)).toBe('███████░░░░  66 %  loss 0.812  accuracy 71.3 %  946 images/s');
  });

  it('says why a job is not going on', () => {
    const waiting = { ...job, reason: 'There are no workers; start one with `npx lockstep worker`.' };
    expect(progressLine(waiting, undefined)).toBe(`step 782/1,173 · epoch 3/3 · ${waiting.reason}`);
    expect(progressLine({ ...job, state: 'queued', step: 0 }, undefined)).toBe('step 0/1,173 · epoch 1/3 · queued');
  });

  it('is full only when all is done, and leaves out what is not known', () => {
    expect(progressLine({ ...job, step: 1172 }, 120)).toMatch(/^█{23}░ {2}99 %/);
    expect(progressLine({ ...job, state: 'completed', step: 1173 }, 120)).toMatch(
      /^█{24} 100 % .*epoch 3\/3 .*completed$/,
    );
    const young = { ...job, step: 0, loss: null, top1: null, imagesPerSecond: null, etaSeconds: null };
    const timeless = { ...job, etaSeconds: null, spec: { training: { epochs: null } } };
    expect(progressLine(timeless, undefined)).toBe('step 782/1,173 · loss 0.812 · accuracy 71.3 % · 946 images/s');
    expect(progressLine({ ...young, state: 'completed' }, undefined)).toBe('step 0/1,173 · epoch 1/3 · completed');
  });

  it('says that the first step, which may take long, is under way', () => {
    const young = { ...job, step: 0, loss: null, top1: null, imagesPerSecond: null, etaSeconds: null };
    expect(progressLine(young, undefined)).toBe('step 0/1,173 · epoch 1/3 · the first step is under way');
    expect(progressLine({ ...young, reason: 'No worker.' }, undefined)).toBe('step 0/1,173 · epoch 1/3 · No worker.');
  });
});

describe('endText', () => {
  it('says how it ended and why', () => {
    const end = { id: '7', error: null, reason: null, checkpoint: null };
    expect(endText({ ...end, state: 'completed', checkpoint: { step: 4, path: '/c' } })).toBe(
      'Job 7 is complete; checkpoint: /c',
    );
    expect(endText({ ...end, state: 'failed', error: 'the disk is full' })).toBe('Job 7 failed: the disk is full');
    expect(endText({ ...end, state: 'cancelled' })).toBe('Job 7 was cancelled.');
  });
});
