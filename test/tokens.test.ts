// Tokens against a real system: roles over REST, the worker token over gRPC.
// Refuses to repeat the table of roles and routes, which http/access.spec.ts goes through.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Problem } from './support/api.js';
import { syntheticSpec } from './support/specs.js';
import { startSystem, type TestSystem } from './support/system.js';

const workerToken = 'of-the-workers';
let system: TestSystem;
beforeAll(async () => {
  system = await startSystem({
    workers: 1,
    token: 'of-the-admin',
    environment: {
      LOCKSTEP_API_TOKENS: 'viewer:of-the-viewer,operator:of-the-operator,admin:of-the-admin',
      LOCKSTEP_WORKER_TOKEN: workerToken,
    },
  });
});

describe('API tokens', () => {
  it('are needed on loopback too', async () => {
    for (const token of [null, 'wrong']) {
      const answer = await system.api.request('/api/v1/jobs', { token });
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toContain('Bearer');
      expect(answer.headers.get('content-type')).toContain('application/problem+json');
    }
    for (const path of ['/health/live', '/health/ready']) {
      expect((await system.api.request(path, { token: null })).status, path).toBe(200);
    }
  });

  it('give what their role may do, and no more', async () => {
    const submit = { method: 'POST', body: syntheticSpec({ steps: 1 }) };
    expect((await system.api.request('/api/v1/jobs', { token: 'of-the-viewer' })).status).toBe(200);
    const refused = await system.api.request('/api/v1/jobs', { ...submit, token: 'of-the-viewer' });
    expect(refused.status).toBe(403);
    expect((refused.json as Problem).detail).toContain('operator');
    const made = await system.api.request('/api/v1/jobs', { ...submit, token: 'of-the-operator' });
    expect(made.status).toBe(201);
    const { id } = made.json as { id: string };
    await system.api.untilState(id, 'completed');
    const remove = { method: 'DELETE', token: 'of-the-operator' };
    expect((await system.api.request(`/api/v1/jobs/${id}`, remove)).status).toBe(403);
    expect((await system.api.request(`/api/v1/jobs/${id}`, { ...remove, token: 'of-the-admin' })).status).toBe(204);
  });

  it('of workers open no part of the API', async () => {
    expect((await system.api.request('/api/v1/jobs', { token: workerToken })).status).toBe(403);
  });
});

describe('the worker token', () => {
  it.each([
    ['wrong', { LOCKSTEP_WORKER_TOKEN: 'another' }],
    ['missing', { LOCKSTEP_WORKER_TOKEN: '' }],
  ])('%s: the worker says so and does not get in', async (_what, environment) => {
    const stranger = system.addWorker(environment);
    stranger.start();
    const said = await stranger.line(/LOCKSTEP_WORKER_TOKEN/);
    expect(said).not.toContain('another');
    expect(said).not.toMatch(/\n\s+at /);
    const pool = await system.api.workers();
    expect(pool.map(({ name }) => name)).toEqual(['worker-1']);
    await stranger.killNow();
  });
});
