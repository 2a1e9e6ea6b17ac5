import { expect, test } from 'vitest';
import { type Span, SpanRing } from './span-ring.js';

const span = (jobId: string, step: number, name = 'work'): Span => ({
  jobId,
  step,
  row: 'compute',
  name,
  startMs: step,
  endMs: step + 1,
});

test('gives the steps of a job that are asked for, both ends included, in order', () => {
  const ring = new SpanRing(100);
  for (let step = 0; step < 10; step += 1) for (const job of ['a', 'b']) ring.record(span(job, step));
  const { spans, firstWholeStep } = ring.of('b', 3, 5);
  expect(spans.map(({ jobId, step }) => [jobId, step])).toEqual([
    ['b', 3],
    ['b', 4],
    ['b', 5],
  ]);
  expect(firstWholeStep).toBe(0);
});

test('keeps the newest, and says from which step on they are whole', () => {
  const ring = new SpanRing(6);
  for (let step = 0; step < 5; step += 1)
    for (const name of ['forward', 'backward']) ring.record(span('a', step, name));
  ring.record(span('a', 5, 'forward'));
  // Left are: backward of 2, 3 and 4 whole, forward of 5.
  const { spans, firstWholeStep } = ring.of('a', 0, 9);
  expect(spans.map(({ step, name }) => `${step} ${name}`)).toEqual([
    '2 backward',
    '3 forward',
    '3 backward',
    '4 forward',
    '4 backward',
    '5 forward',
  ]);
  expect(firstWholeStep).toBe(3);
  expect(ring.of('unknown', 0, 9)).toEqual({ spans: [], firstWholeStep: 0 });
});
