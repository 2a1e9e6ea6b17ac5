import { expect, test } from 'vitest';
import { observingPasses, timed } from './pass-times.js';

test('tells of parts as they end, inner ones first, and nests them', () => {
  const parts: { part: string; start: number; end: number }[] = [];
  const result = observingPasses(
    (part, start, end) => parts.push({ part, start, end }),
    () => timed('forward', () => timed('stem', () => 3) + timed('layer1.0', () => 4)),
  );
  expect(result).toBe(7);
  expect(parts.map(({ part }) => part)).toEqual(['stem', 'layer1.0', 'forward']);
  const [stem, block, forward] = parts as [(typeof parts)[0], (typeof parts)[0], (typeof parts)[0]];
  expect(forward.start).toBeLessThanOrEqual(stem.start);
  expect(stem.end).toBeLessThanOrEqual(block.start);
  expect(block.end).toBeLessThanOrEqual(forward.end);
});

test('nobody is told after the work, nor of what failed', () => {
  const parts: string[] = [];
  const fail = (): never => {
    throw new Error('broken');
  };
  expect(() =>
    observingPasses(
      (part) => parts.push(part),
      () => timed('forward', fail),
    ),
  ).toThrow('broken');
  expect(timed('later', () => 1)).toBe(1);
  expect(parts).toEqual([]);
});
