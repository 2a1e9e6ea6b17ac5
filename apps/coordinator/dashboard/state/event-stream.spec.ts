// Reconnection, resumption and silence, against a pretended network.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventStream, type StreamStatus } from './event-stream.js';

interface Connection {
  readonly headers: Record<string, string>;
  send(text: string): void;
  cut(): void;
}

function network(options: { silenceMs?: number; firstWaitMs?: number; refusals?: number } = {}) {
  const connections: Connection[] = [];
  const statuses: StreamStatus[] = [];
  const events: string[] = [];
  let refusals = options.refusals ?? 0;
  const stream = new EventStream({
    firstWaitMs: 1,
    ...options,
    open: async (headers, signal) => {
      if (refusals > 0) {
        refusals -= 1;
        throw new Error('refused');
      }
      let control!: ReadableStreamDefaultController<Uint8Array>;
      const body = new ReadableStream<Uint8Array>({ start: (controller) => void (control = controller) });
      signal.addEventListener('abort', () => control.error(new Error('aborted')));
      connections.push({
        headers,
        send: (text) => control.enqueue(new TextEncoder().encode(text)),
        cut: () => control.error(new Error('cut')),
      });
      return new Response(body);
    },
    onEvent: (event) => events.push(`${event.type} ${event.data}`),
    onStatus: (status) => statuses.push(status),
  });
  const abort = new AbortController();
  return {
    connections,
    statuses,
    events,
    stream,
    abort,
    running: stream.run(abort.signal),
    refuse: (n: number) => (refusals = n),
  };
}

beforeEach(() => {
  vi.spyOn(console, 'debug').mockImplementation(() => undefined);
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('EventStream', () => {
  it('tells events, comes back after a cut and resumes after the last event', async () => {
    const net = network();
    await vi.waitFor(() => expect(net.connections).toHaveLength(1));
    expect(net.connections[0]!.headers).not.toHaveProperty('Last-Event-ID');
    net.connections[0]!.send('event: job\nid: 41\ndata: one\n\nid: 42\ndata: half');
    await vi.waitFor(() => expect(net.events).toEqual(['job one']));
    net.refuse(2);
    net.connections[0]!.cut();
    await vi.waitFor(() => expect(net.connections).toHaveLength(2));
    expect(net.connections[1]!.headers['Last-Event-ID']).toBe('41');
    net.connections[1]!.send('id: 42\ndata: two\n\n');
    await vi.waitFor(() => expect(net.events).toEqual(['job one', 'message two']));
    expect(net.statuses.map((status) => status.kind)).toEqual([
      'connecting',
      'live',
      'disconnected',
      'disconnected',
      'disconnected',
      'live',
    ]);
    net.abort.abort();
    await net.running;
  });

  it('takes a silent connection for dead', async () => {
    const net = network({ silenceMs: 20 });
    await vi.waitFor(() => expect(net.connections.length).toBeGreaterThan(1));
    net.abort.abort();
    await net.running;
  });

  it('waits longer from attempt to attempt', async () => {
    const net = network({ refusals: 6 });
    await vi.waitFor(() => expect(net.connections).toHaveLength(1));
    const waits = net.statuses.flatMap((status) =>
      status.kind === 'disconnected' ? [status.retryInSeconds * 1000] : [],
    );
    expect(waits).toHaveLength(6);
    for (const [attempt, wait] of waits.entries()) {
      const base = 2 ** Math.min(4, attempt);
      expect(wait).toBeGreaterThanOrEqual(0.75 * base);
      expect(wait).toBeLessThanOrEqual(1.25 * base);
    }
    net.abort.abort();
    await net.running;
  });

  it('tries at once when told to', async () => {
    const net = network({ refusals: 1, firstWaitMs: 60_000 });
    await vi.waitFor(() => expect(net.statuses.at(-1)?.kind).toBe('disconnected'));
    net.stream.retryNow();
    await vi.waitFor(() => expect(net.connections).toHaveLength(1));
    net.abort.abort();
    await net.running;
  });
});
