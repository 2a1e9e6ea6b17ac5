import { describe, expect, it } from 'vitest';
import { ApiError } from './api.js';
import { EventStreamParser, type EventSource, type ServerEvent, serverEvents } from './events.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('EventStreamParser', () => {
  const stream =
    ': hello\r\n\r\nid: 1\nevent: job\ndata: {"name":\ndata: "é"}\n\ndata: plain\r\rid: 2\nevent: none\n\n';
  const expected: ServerEvent[] = [
    { type: 'job', data: '{"name":\n"é"}' },
    { type: 'message', data: 'plain' },
  ];

  it('gives the same events wherever the bytes are cut', () => {
    const all = bytes(stream);
    for (let cut = 0; cut <= all.length; cut += 1) {
      const parser = new EventStreamParser();
      expect([...parser.push(all.slice(0, cut)), ...parser.push(all.slice(cut))], `cut at ${cut}`).toEqual(expected);
      expect(parser.lastEventId).toBe('2');
    }
  });

  it('drops what a broken connection left unfinished, but not the id', () => {
    const parser = new EventStreamParser();
    parser.push(bytes('id: 5\ndata: half'));
    parser.restart();
    expect(parser.push(bytes('data: whole\n\n'))).toEqual([{ type: 'message', data: 'whole' }]);
    expect(parser.lastEventId).toBe('5');
  });
});

describe('serverEvents', () => {
  /** Each entry is one connection: text that it brings before it ends, or an error. */
  function source(connections: (string | Error)[], asked: (string | undefined)[] = []): EventSource {
    return {
      async open(lastEventId) {
        asked.push(lastEventId);
        const next = connections.shift();
        if (next === undefined || next instanceof Error) {
          throw next ?? new ApiError('There is no job 7.', 404);
        }
        return (async function* () {
          yield bytes(next);
        })();
      },
    };
  }

  it('connects again from the last id, telling once that the stream was lost', async () => {
    const asked: (string | undefined)[] = [];
    let lost = 0;
    const seen: string[] = [];
    const connections = ['id: 1\ndata: a\n\n', new Error('refused'), new Error('refused'), 'id: 2\ndata: b\n\n'];
    const events = serverEvents(source(connections, asked), {
      signal: new AbortController().signal,
      firstDelayMs: 1,
      onLost: () => (lost += 1),
    });
    await expect(
      (async () => {
        for await (const event of events) {
          seen.push(event.type === 'connected' ? '+' : event.data);
        }
      })(),
    ).rejects.toThrow('There is no job 7.');
    expect(seen).toEqual(['+', 'a', '+', 'b']);
    expect(asked).toEqual([undefined, '1', '1', '1', '2']);
    expect(lost).toBe(1);
  });

  it('gives up after too long without a connection', async () => {
    const failures = Array.from({ length: 100 }, () => new Error('refused'));
    const options = { signal: new AbortController().signal, firstDelayMs: 1, giveUpAfterMs: 5 };
    const events = serverEvents(source(['', ...failures]), options);
    expect((await events.next()).value).toEqual({ type: 'connected', data: '' });
    await expect(events.next()).rejects.toThrow('refused');
  });

  it('does not try twice where nobody has ever answered', async () => {
    const asked: (string | undefined)[] = [];
    const events = serverEvents(source([new Error('refused')], asked), { signal: new AbortController().signal });
    await expect(events.next()).rejects.toThrow('refused');
    expect(asked).toHaveLength(1);
  });

  it('ends when it is told to', async () => {
    const stop = new AbortController();
    const events = serverEvents(source(['data: a\n\n']), { signal: stop.signal });
    await events.next();
    await events.next();
    stop.abort();
    expect((await events.next()).done).toBe(true);
  });
});
