// The parser gives the same events however the network cuts the text.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SseParser } from './sse-parser.js';

const text = [
  'retry: 1000',
  ': a comment',
  '',
  'event: job',
  'id: 7',
  'data: {"a":1}',
  '',
  'data:no space',
  'data: second line',
  '',
  'event: without data',
  '',
  'id: 8',
  'data',
  '',
  'data: never finished',
].join('\n');

const expected = [
  { type: 'job', data: '{"a":1}', lastEventId: '7' },
  { type: 'message', data: 'no space\nsecond line', lastEventId: '7' },
  { type: 'message', data: '', lastEventId: '8' },
];

describe('SseParser', () => {
  it('reads fields, comments, several data lines and ids', () => {
    expect(new SseParser().push(text)).toEqual(expected);
  });

  it('gives the same events for every cutting and every line end', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('\n', '\r', '\r\n'),
        fc.array(fc.integer({ min: 0, max: text.length * 2 }), { maxLength: 12 }),
        (lineEnd, cuts) => {
          const sent = text.replaceAll('\n', lineEnd);
          const places = [0, ...cuts.filter((cut) => cut < sent.length).sort((a, b) => a - b), sent.length];
          const parser = new SseParser();
          const events = places.slice(1).flatMap((to, at) => parser.push(sent.slice(places[at], to)));
          expect(events).toEqual(expected);
        },
      ),
    );
  });
});
