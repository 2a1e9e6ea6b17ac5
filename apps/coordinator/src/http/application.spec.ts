import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { RefusedError, UnavailableError } from '../errors.js';
import { jobView, startTestApplication } from './testing.js';
import type { TestApplication } from './testing.js';
import { components } from './views.js';

let app: TestApplication | undefined;
afterEach(async () => {
  await app?.stop();
  app = undefined;
});

describe('errors', () => {
  test.each([
    ['GET', '/api/v1/nothing'],
    ['GET', '/api/v2/jobs'],
    ['PUT', '/api/v1/jobs'],
    ['POST', '/api/v1/jobs/j/explode'],
    ['POST', '/'],
    ['GET', '/a/b/c'],
    ['GET', '/queues'],
  ])('%s %s is a 404 with a problem document', async (method, path) => {
    app = await startTestApplication();
    const response = await app.request(path, { method });
    expect(response.status).toBe(404);
    expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(components.Problem.parse(await response.json()).type).toBe('urn:lockstep:problem:not-found');
  });

  test.each([
    [new UnavailableError('Redis does not answer.'), 503, 'unavailable'],
    [new RefusedError('Not this dataset.'), 403, 'forbidden'],
    [new Error('password=hunter2'), 500, 'internal'],
    ['thrown text', 500, 'internal'],
  ])('%s becomes %i', async (error, status, kind) => {
    app = await startTestApplication();
    app.jobs.audit = () => Promise.reject(error);
    const response = await app.request('/api/v1/jobs/j/audit');
    expect(response.status).toBe(status);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ type: `urn:lockstep:problem:${kind}`, status });
    expect(text).not.toMatch(/hunter2|thrown text|\.ts/);
    const logged = app.log.some((line) => line.includes('a request failed unexpectedly'));
    expect(logged).toBe(status === 500);
  });

  test('those that a person can act on say what', async () => {
    app = await startTestApplication();
    app.jobs.audit = () => Promise.reject(new UnavailableError('Redis does not answer.'));
    expect(await (await app.request('/api/v1/jobs/j/audit')).json()).toMatchObject({
      detail: 'Redis does not answer.',
    });
  });
});

describe('health', () => {
  test('is live and ready', async () => {
    app = await startTestApplication();
    expect(await (await app.request('/health/live')).json()).toEqual({ status: 'live' });
    expect(await (await app.request('/health/ready')).json()).toEqual({ status: 'ready' });
  });

  test('says what is wrong, and lives on', async () => {
    app = await startTestApplication(
      {},
      { readiness: { problems: async () => ['Redis is away.', 'The disk is full.'] } },
    );
    const response = await app.request('/health/ready');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ detail: 'Redis is away. The disk is full.' });
    expect((await app.request('/health/live')).status).toBe(200);
  });

  test('does not wait for ever', async () => {
    app = await startTestApplication({}, { readiness: { problems: () => new Promise(() => undefined) } });
    expect((await app.request('/health/ready')).status).toBe(503);
  });
});

test('metrics show jobs and workers as they are', async () => {
  app = await startTestApplication();
  for (let index = 0; index < 450; index += 1)
    app.jobs.jobs.set(`old${index}`, jobView(`old${index}`, { state: 'completed' }));
  app.jobs.jobs.set('j', jobView('j', { name: 'a "quoted" name', loss: null }));
  const response = await app.request('/metrics');
  expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
  const lines = (await response.text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'lockstep_jobs{state="running"} 1',
      'lockstep_jobs{state="completed"} 450',
      'lockstep_jobs{state="failed"} 0',
      'lockstep_job_step{job="j",name="a \\"quoted\\" name"} 3',
      'lockstep_useful_workers 4',
      'lockstep_workers{state="active"} 1',
      'lockstep_worker_contributions_refused{worker="worker-w1",reason="duplicate"} 2',
    ]),
  );
  expect(lines.some((line) => line.startsWith('lockstep_process_resident_memory_bytes '))).toBe(true);
  expect(lines.some((line) => line.startsWith('lockstep_job_loss{'))).toBe(false);
  expect(lines.some((line) => line.includes('old1'))).toBe(false);
});

test('every answer carries security headers', async () => {
  app = await startTestApplication();
  for (const path of ['/', '/api/v1/jobs', '/nothing', '/docs']) {
    const { headers } = await app.request(path);
    expect(headers.get('content-security-policy')).toContain("default-src 'self'");
    expect(headers.get('content-security-policy')).not.toContain('upgrade-insecure-requests');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('strict-transport-security')).toBeNull();
  }
  expect((await app.request('/')).headers.get('content-security-policy')).not.toContain('unsafe');
});

describe('starting and stopping', () => {
  test('a port in use is one clear sentence', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const starting = startTestApplication({ LOCKSTEP_HTTP_PORT: String(port) });
    await expect(starting).rejects.toThrow(UnavailableError);
    await expect(starting).rejects.toThrow(
      `Port ${port} on 127.0.0.1 is in use by another program; stop it or set LOCKSTEP_HTTP_PORT to a free port.`,
    );
    other.close();
  });

  test('an address that this machine does not have is one too', async () => {
    const environment = { LOCKSTEP_HTTP_HOST: '192.0.2.1', LOCKSTEP_API_TOKENS: 'admin:x' };
    await expect(startTestApplication(environment)).rejects.toThrow('set LOCKSTEP_HTTP_HOST');
  });

  test('TLS files that hold no certificate are one too', async () => {
    const environment = { LOCKSTEP_TLS_CERT: import.meta.filename, LOCKSTEP_TLS_KEY: import.meta.filename };
    await expect(startTestApplication(environment)).rejects.toThrow('do not hold a certificate and its key');
  });

  test('stopping twice is stopping once', async () => {
    app = await startTestApplication();
    await app.stop();
    await app.stop();
  });

  test('stopping ends event streams and idle connections at once', async () => {
    app = await startTestApplication();
    const stream = await app.request('/api/v1/events');
    await (await app.request('/health/live')).text();
    const started = performance.now();
    const [text] = await Promise.all([stream.text(), app.stop()]);
    expect(text).toContain('event: snapshot');
    expect(performance.now() - started).toBeLessThan(500);
    await expect(app.request('/health/live')).rejects.toThrow();
    app = undefined;
  });

  test('stopping waits for a running request, but not longer than it may', async () => {
    app = await startTestApplication();
    let finish = (): void => undefined;
    const asked = new Promise<void>((resolve) => {
      app!.jobs.metrics = () => {
        resolve();
        return new Promise((answer) => (finish = () => answer({})));
      };
    });
    const running = app.request('/api/v1/jobs/j/metrics').then((response) => response.status);
    await asked;
    const stopped = app.stop();
    finish();
    expect(await running).toBe(200);
    await stopped;

    app = await startTestApplication();
    const heard = new Promise<void>((resolve) => {
      app!.jobs.metrics = () => {
        resolve();
        return new Promise(() => undefined);
      };
    });
    const hanging = app.request('/api/v1/jobs/j/metrics').catch(() => 'cut');
    await heard;
    await app.stop();
    expect(await hanging).toBe('cut');
    app = undefined;
  });
});
