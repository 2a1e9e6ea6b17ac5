import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hostClockMs, OffsetEstimate } from './host-clock.js';

test('threads of a host read the same clock', async () => {
  // Plain JavaScript, since a thread would not find the TypeScript source: the sum that host-clock.ts makes.
  const thread = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const [s, n] = process.hrtime();
     const behind = s * 1e3 + n / 1e6 - performance.now();
     parentPort.on('message', () => parentPort.postMessage(behind + performance.now()));`,
    { eval: true },
  );
  const before = hostClockMs();
  thread.postMessage('now');
  const [there] = (await once(thread, 'message')) as [number];
  const after = hostClockMs();
  await thread.terminate();
  expect(there).toBeGreaterThanOrEqual(before);
  expect(there).toBeLessThanOrEqual(after);
});

test('the offset lies within the stated error, however unequal the two ways are', () => {
  const ways = fc.record({
    there: fc.double({ min: 0, max: 500, noNaN: true }),
    back: fc.double({ min: 0, max: 500, noNaN: true }),
  });
  fc.assert(
    fc.property(
      fc.double({ min: -1e9, max: 1e9, noNaN: true }),
      fc.array(ways, { minLength: 1, maxLength: 100 }),
      (offset, all) => {
        const estimate = new OffsetEstimate();
        for (const [index, { there, back }] of all.entries()) {
          const sent = 1000 * index;
          estimate.note(sent, sent + there + offset, sent + there + back);
        }
        const { offsetMs, errorMs } = estimate.best!;
        expect(Math.abs(offsetMs - offset)).toBeLessThanOrEqual(errorMs + 1e-5);
        const recent = all.slice(-64).map(({ there, back }) => (there + back) / 2);
        expect(errorMs).toBeCloseTo(Math.min(...recent), 5);
      },
    ),
  );
});

test('an answer to nothing that was said is left out', () => {
  const estimate = new OffsetEstimate();
  estimate.note(100, 5, 99);
  estimate.note(0, Number.NaN, 1);
  expect(estimate.best).toBeUndefined();
});
