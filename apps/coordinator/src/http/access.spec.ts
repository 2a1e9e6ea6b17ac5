import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { jobView, smallSpec, startTestApplication } from './testing.js';
import type { TestApplication } from './testing.js';

let app: TestApplication;
afterEach(() => app.stop());

const tokens = {
  LOCKSTEP_API_TOKENS: 'viewer:v-token,operator:o-token,admin:a-token',
  LOCKSTEP_WORKER_TOKEN: 'w-token',
};
const bearer = (token: string): RequestInit => ({ headers: { authorization: `Bearer ${token}` } });

async function startWithTokens(): Promise<void> {
  app = await startTestApplication(tokens);
  app.jobs.jobs.set('j', jobView('j'));
}

async function statusOf(method: string, path: string, token: string | undefined): Promise<number> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
  const body = method === 'POST' && path === '/api/v1/jobs' ? { body: JSON.stringify(smallSpec) } : {};
  const response = await app.request(path, { method, headers, ...body });
  await response.body?.cancel();
  return response.status;
}

describe('with tokens', () => {
  // [method, path, viewer, operator, admin, worker]
  test.each([
    ['GET', '/api/v1/jobs', 200, 200, 200, 403],
    ['GET', '/api/v1/jobs/j', 200, 200, 200, 403],
    ['GET', '/api/v1/jobs/j/metrics', 200, 200, 200, 403],
    ['GET', '/api/v1/jobs/j/ledger', 200, 200, 200, 403],
    ['GET', '/api/v1/jobs/j/audit', 200, 200, 200, 403],
    ['GET', '/api/v1/jobs/j/checkpoints', 200, 200, 200, 403],
    ['GET', '/api/v1/jobs/j/checkpoints/0/files/model.safetensors', 200, 200, 200, 403],
    ['GET', '/api/v1/jobs/j/events', 200, 200, 200, 403],
    ['GET', '/api/v1/events', 200, 200, 200, 403],
    ['GET', '/api/v1/workers', 200, 200, 200, 403],
    ['GET', '/metrics', 200, 200, 200, 403],
    ['POST', '/api/v1/jobs', 403, 201, 201, 403],
    ['POST', '/api/v1/jobs/j/checkpoint', 403, 202, 202, 403],
    ['POST', '/api/v1/jobs/j/resume', 403, 202, 202, 403],
    ['POST', '/api/v1/jobs/j/cancel', 403, 202, 202, 403],
    ['POST', '/api/v1/workers/w1/drain', 403, 202, 202, 403],
    ['DELETE', '/api/v1/jobs/j', 403, 403, 409, 403],
    ['GET', '/api/v1/datasets/flowers/train/one.txt', 403, 403, 200, 200],
  ])('%s %s', async (method, path, viewer, operator, admin, worker) => {
    await startWithTokens();
    expect(await statusOf(method, path, undefined)).toBe(401);
    expect(await statusOf(method, path, 'wrong')).toBe(401);
    const seen = [];
    for (const token of ['v-token', 'o-token', 'a-token', 'w-token']) seen.push(await statusOf(method, path, token));
    expect(seen).toEqual([viewer, operator, admin, worker]);
  });

  test.each(['/health/live', '/health/ready', '/', '/jobs/j', '/assets/app-1a2b.js', '/docs', '/openapi.json'])(
    '%s is open',
    async (path) => {
      await startWithTokens();
      expect(await statusOf('GET', path, undefined)).toBe(200);
    },
  );

  test('says how to send a token, and whether the one sent was wrong or too weak', async () => {
    await startWithTokens();
    const without = await app.request('/api/v1/jobs');
    expect(without.headers.get('www-authenticate')).toBe('Bearer realm="lockstep"');
    expect(await without.json()).toMatchObject({ type: 'urn:lockstep:problem:unauthenticated', status: 401 });
    const wrong = await app.request('/api/v1/jobs', bearer('nope'));
    expect(wrong.headers.get('www-authenticate')).toContain('error="invalid_token"');
    const weak = await app.request('/api/v1/jobs/j/pause', { method: 'POST', ...bearer('v-token') });
    expect(await weak.json()).toMatchObject({ status: 403, detail: expect.stringMatching(/operator.*viewer/) });
    expect(app.jobs.get('j').state).toBe('running');
  });

  test.each(['o-token', 'Basic o-token', 'Bearer', 'Bearer o-token extra', 'Bearer o-toke', ''])(
    'refuses the header "%s"',
    async (header) => {
      await startWithTokens();
      expect((await app.request('/api/v1/jobs', { headers: { authorization: header } })).status).toBe(401);
    },
  );

  test('takes no token from the address', async () => {
    await startWithTokens();
    expect((await app.request('/api/v1/events?token=a-token')).status).toBe(401);
  });

  test('guards the queue board', async () => {
    const queueBoard = (_request: unknown, response: { end(text: string): void }): void => response.end('board');
    app = await startTestApplication(tokens, { queueBoard });
    expect((await app.request('/queues')).status).toBe(401);
    expect((await app.request('/queues/x', bearer('o-token'))).status).toBe(403);
    expect(await (await app.request('/queues', bearer('a-token'))).text()).toBe('board');
  });

  test('writes no token into the log', async () => {
    await startWithTokens();
    await app.request('/api/v1/jobs', bearer('a-token'));
    await app.request('/api/v1/jobs?token=a-token', bearer('wrong-token'));
    expect(app.log.some((line) => line.includes('/api/v1/jobs'))).toBe(true);
    expect(app.log.join('')).not.toMatch(/a-token|wrong-token/);
  });
});

describe('without tokens', () => {
  /** fetch does not let a Host be chosen. */
  function statusWith(method: string, path: string, headers: Record<string, string>): Promise<number> {
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(app.url + path, { method, headers }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      outgoing.once('error', reject);
      outgoing.end();
    });
  }

  test('this machine may do everything', async () => {
    app = await startTestApplication();
    app.jobs.jobs.set('j', jobView('j', { state: 'failed' }));
    const { port } = new URL(app.url);
    for (const host of ['localhost', '127.0.0.1', `localhost:${port}`, `[::1]:${port}`, '127.0.0.2:1']) {
      expect(await statusWith('GET', '/api/v1/jobs', { host })).toBe(200);
    }
    expect(await statusWith('GET', '/api/v1/datasets/flowers/train/one.txt', {})).toBe(200);
    expect(await statusWith('DELETE', '/api/v1/jobs/j', {})).toBe(204);
  });

  test('a foreign name that was made to mean this machine is refused', async () => {
    app = await startTestApplication();
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:8080']) {
      expect(await statusWith('GET', '/api/v1/jobs', { host })).toBe(403);
    }
    expect(await statusWith('GET', '/health/live', { host: 'evil.example' })).toBe(200);
  });

  test('a page of another origin may change nothing', async () => {
    app = await startTestApplication();
    app.jobs.jobs.set('j', jobView('j'));
    const { host } = new URL(app.url);
    expect(await statusWith('POST', '/api/v1/jobs/j/pause', { origin: 'https://evil.example' })).toBe(403);
    expect(await statusWith('POST', '/api/v1/jobs/j/pause', { origin: 'http://127.0.0.1:1' })).toBe(403);
    expect(await statusWith('POST', '/api/v1/jobs/j/pause', { origin: 'null' })).toBe(403);
    expect(app.jobs.get('j').state).toBe('running');
    expect(await statusWith('POST', '/api/v1/jobs/j/pause', { origin: `http://${host}` })).toBe(202);
  });

  test('dataset files still need the worker token where there is one', async () => {
    app = await startTestApplication({ LOCKSTEP_WORKER_TOKEN: 'w-token' });
    expect(await statusOf('GET', '/api/v1/jobs', undefined)).toBe(200);
    expect(await statusOf('GET', '/api/v1/datasets/flowers/train/one.txt', undefined)).toBe(401);
    expect(await statusOf('GET', '/api/v1/datasets/flowers/train/one.txt', 'w-token')).toBe(200);
  });
});
