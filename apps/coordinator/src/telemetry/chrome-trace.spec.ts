import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Span } from '#proto/span-ring.js';
import { chromeTrace, type TraceEvent } from './chrome-trace.js';

const facts = { jobId: 'j', fromStep: 0, toStep: 9, notes: [] };
const span = (row: string, startMs: number, endMs: number, name = row): Span => ({
  jobId: 'j',
  step: 4,
  task: 1,
  row,
  name,
  startMs,
  endMs,
});

const names = (events: readonly TraceEvent[], what: string, pid: number): unknown[] =>
  events.filter((event) => event.name === what && event.pid === pid).map(({ args }) => args['name']);

test('processes and rows have names, times count from the first span in microseconds', () => {
  const { traceEvents, otherData } = chromeTrace(
    [
      { name: 'coordinator', spans: [span('slice 0 stage', 1003, 1005), span('trainer', 1000, 1010, 'step')] },
      { name: 'worker', spans: [span('send', 1004.5, 1006), span('images', 1001, 1002)] },
    ],
    facts,
  );
  expect(names(traceEvents, 'process_name', 1)).toEqual(['coordinator']);
  expect(names(traceEvents, 'thread_name', 1)).toEqual(['trainer', 'slice 0 stage']);
  expect(names(traceEvents, 'thread_name', 2)).toEqual(['images', 'send']);
  const send = traceEvents.find(({ ph, name }) => ph === 'X' && name === 'send');
  expect(send).toMatchObject({ pid: 2, tid: 2, ts: 4500, dur: 1500, cat: 'send', args: { step: 4, task: 1 } });
  expect(otherData).toEqual(facts);
});

test('spans of a line never cross, and none is lost', () => {
  const ends = fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 50 }));
  fc.assert(
    fc.property(fc.array(ends, { maxLength: 30 }), (pairs) => {
      const spans = pairs.map(([a, b]) => span('send', Math.min(a, b), Math.max(a, b)));
      const complete = chromeTrace([{ name: 'w', spans }], facts).traceEvents.filter(({ ph }) => ph === 'X');
      expect(complete).toHaveLength(spans.length);
      for (const one of complete) {
        for (const other of complete) {
          if (one === other || one.tid !== other.tid) continue;
          const [a, b] = [one.ts!, one.ts! + one.dur!];
          const [c, d] = [other.ts!, other.ts! + other.dur!];
          const beside = b <= c || d <= a;
          const nested = (a <= c && d <= b) || (c <= a && b <= d);
          expect(beside || nested).toBe(true);
        }
      }
    }),
  );
});

test('without spans there is still a valid trace', () => {
  expect(chromeTrace([{ name: 'coordinator', spans: [] }], facts).traceEvents).toHaveLength(2);
});
