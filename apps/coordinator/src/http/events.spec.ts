import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ServerSentEvent, SseParser } from '../../dashboard/state/sse-parser.js';
import { jobView, startTestApplication, workerView } from './testing.js';
import type { TestApplication } from './testing.js';

let app: TestApplication;
let clients: AbortController[];
beforeEach(async () => {
  app = await startTestApplication({}, { eventStreams: { heartbeatMs: 20, stallMs: 100, maxStreams: 3 } });
  app.jobs.jobs.set('j', jobView('j'));
  app.jobs.jobs.set('other', jobView('other'));
  clients = [];
});
afterEach(async () => {
  for (const client of clients) client.abort();
  await app.stop();
});

interface Client {
  readonly response: Response;
  /** The next event; waits for it. */
  next(): Promise<ServerSentEvent & { value: Record<string, unknown> }>;
  /** The next chunk of text as it came. */
  text(): Promise<string>;
  close(): void;
}

async function open(path: string, lastEventId?: string): Promise<Client> {
  const controller = new AbortController();
  clients.push(controller);
  const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
  const response = await app.request(path, { signal: controller.signal, headers });
  const reader = response.body!.getReader();
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const ready: ServerSentEvent[] = [];
  return {
    response,
    close: () => controller.abort(),
    text: async () => new TextDecoder().decode((await reader.read()).value),
    next: async () => {
      while (ready.length === 0) {
        const { value, done } = await reader.read();
        if (done) throw new Error('the stream has ended');
        ready.push(...parser.push(decoder.decode(value, { stream: true })));
      }
      const event = ready.shift()!;
      return { ...event, value: JSON.parse(event.data) as Record<string, unknown> };
    },
  };
}

test('begins with a snapshot of all jobs and workers, then tells what changes', async () => {
  const client = await open('/api/v1/events');
  expect(client.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const snapshot = await client.next();
  expect(snapshot.type).toBe('snapshot');
  expect(snapshot.value).toEqual({ jobs: [app.jobs.get('j'), app.jobs.get('other')], workers: app.workers.list() });
  app.events.publish('job', 'j', jobView('j', { step: 4 }));
  app.events.publish('worker', null, workerView('w2'));
  app.events.publish('points', 'other', { series: { 'train/loss': [[4, 2]] } });
  expect(await client.next()).toMatchObject({ type: 'job', value: { id: 'j', step: 4 } });
  expect(await client.next()).toMatchObject({ type: 'worker', value: { id: 'w2' } });
  expect((await client.next()).value).toEqual({ jobId: 'other', series: { 'train/loss': [[4, 2]] } });
});

test('tells of one job only what concerns it', async () => {
  const client = await open('/api/v1/jobs/j/events');
  expect((await client.next()).value).toEqual({ job: app.jobs.get('j'), workers: app.workers.list() });
  app.events.publish('job', 'other', jobView('other'));
  app.events.publish('job', 'j', jobView('j', { step: 5 }));
  expect((await client.next()).value).toMatchObject({ id: 'j', step: 5 });
});

test('goes on after Last-Event-ID without a snapshot and without a gap', async () => {
  const first = await open('/api/v1/jobs/j/events');
  await first.next();
  app.events.publish('job', 'j', jobView('j', { step: 4 }));
  const { lastEventId } = await first.next();
  first.close();
  app.events.publish('job', 'j', jobView('j', { step: 5 }));
  app.events.publish('job', 'j', jobView('j', { step: 6 }));
  const second = await open('/api/v1/jobs/j/events', lastEventId);
  expect((await second.next()).value).toMatchObject({ step: 5 });
  expect((await second.next()).value).toMatchObject({ step: 6 });
});

test.each(['1', 'yesterday', '99999999999999999999'])('sends a snapshot where Last-Event-ID is %s', async (id) => {
  const client = await open('/api/v1/events', id);
  expect((await client.next()).type).toBe('snapshot');
});

test('sends comments while nothing happens', async () => {
  const client = await open('/api/v1/events');
  let text = '';
  while (!text.includes(': alive\n\n')) text += await client.text();
  expect(text).toContain('retry: ');
});

test('lets go of a client that goes, and takes no more than it may hold', async () => {
  const held = [await open('/api/v1/events'), await open('/api/v1/events'), await open('/api/v1/jobs/j/events')];
  const refused = await app.request('/api/v1/events');
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ type: 'urn:lockstep:problem:unavailable' });
  held[0]!.close();
  await expect
    .poll(
      async () =>
        (
          await app
            .request('/api/v1/events', { method: 'GET', signal: AbortSignal.timeout(300) })
            .catch(() => undefined)
        )?.status,
    )
    .toBe(200);
});

test('cuts off a client that reads nothing, and holds no more than the hub for it', async () => {
  const { hostname, port } = new URL(app.url);
  const socket = connect(Number(port), hostname);
  socket.pause();
  socket.write(`GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await expect
    .poll(async () => (await (await app.request('/metrics')).text()).includes('lockstep_event_streams 1'))
    .toBe(true);
  const before = process.memoryUsage().rss;
  const wide = { padding: 'x'.repeat(100_000) };
  const pump = setInterval(() => {
    for (let index = 0; index < 20; index += 1) app.events.publish('points', 'j', wide);
  }, 1);
  try {
    await expect
      .poll(async () => (await (await app.request('/metrics')).text()).includes('lockstep_event_streams 0'), {
        timeout: 4_000,
      })
      .toBe(true);
  } finally {
    clearInterval(pump);
    socket.destroy();
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
});

test('answers HEAD without a stream', async () => {
  const response = await app.request('/api/v1/events', { method: 'HEAD' });
  expect([response.status, await response.text()]).toEqual([200, '']);
});

test('ends when the hub closes', async () => {
  const client = await open('/api/v1/events');
  await client.next();
  app.events.close();
  await expect(client.next()).rejects.toThrow('the stream has ended');
});
