import { describe, expect, it } from 'vitest';
import { ApiError } from './api.js';
import { type EventSource, serverEvents } from './events.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

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

  it('asks again for an event that a broken connection left unfinished', async () => {
    const asked: (string | undefined)[] = [];
    const connections = ['id: 4\ndata: whole\n\nid: 5\ndata: ha', 'id: 5\ndata: half\n\n'];
    const options = { signal: new AbortController().signal, firstDelayMs: 1 };
    const seen: string[] = [];
    for await (const { type, data } of serverEvents(source(connections, asked), options)) {
      if (type !== 'connected') seen.push(data);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(['whole', 'half']);
    expect(asked).toEqual([undefined, '4']);
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
