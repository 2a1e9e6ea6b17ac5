import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { jobView, smallSpec, startTestApplication } from './testing.js';
import type { TestApplication } from './testing.js';
import { auditSchema, components, jobSchema } from './views.js';

let app: TestApplication;
beforeEach(async () => {
  app = await startTestApplication();
});
afterEach(() => app.stop());

const json = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body),
});

describe('POST /jobs', () => {
  test('makes a job and answers with the resolved spec and its place', async () => {
    const response = await app.request('/api/v1/jobs', json(smallSpec));
    expect(response.status).toBe(201);
    expect(response.headers.get('location')).toBe('/api/v1/jobs/job-1');
    expect(response.headers.get('cache-control')).toBe('no-store');
    const body = components.SubmittedJob.parse(await response.json());
    expect(body).toMatchObject({ id: 'job-1', state: 'queued' });
    expect(body.spec.training.batchSize).toBe(128);
  });

  test('gives the same job for the same Idempotency-Key', async () => {
    const first = await app.request('/api/v1/jobs', json(smallSpec, { 'Idempotency-Key': 'k1' }));
    const second = await app.request('/api/v1/jobs', json(smallSpec, { 'Idempotency-Key': 'k1' }));
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(second.headers.get('location')).toBe(first.headers.get('location'));
    expect(await second.json()).toEqual(await first.json());
    const other = await app.request('/api/v1/jobs', json(smallSpec, { 'Idempotency-Key': 'k2' }));
    expect(other.status).toBe(201);
  });

  test.each(['', 'two words', 'x'.repeat(201)])('refuses the Idempotency-Key "%s"', async (key) => {
    const response = await app.request('/api/v1/jobs', json(smallSpec, { 'Idempotency-Key': key }));
    expect(response.status).toBe(400);
    expect(app.jobs.jobs.size).toBe(0);
  });

  test('names every field of a bad spec', async () => {
    const bad = { ...smallSpec, training: { batchSize: -1, shardsPerTask: 3 }, colour: 'red' };
    const response = await app.request('/api/v1/jobs', json(bad));
    expect(response.status).toBe(422);
    const problem = components.Problem.parse(await response.json());
    expect(problem).toMatchObject({ type: 'urn:lockstep:problem:invalid-spec', status: 422 });
    expect(problem.errors?.map(({ path }) => path)).toEqual(expect.arrayContaining(['training.batchSize', 'colour']));
  });

  test.each([
    ['malformed JSON', { headers: { 'content-type': 'application/json' }, body: '{"model":' }, 400],
    ['a JSON that is no object', { headers: { 'content-type': 'application/json' }, body: '"resnet20"' }, 400],
    ['no body', {}, 400],
    ['another media type', { headers: { 'content-type': 'text/yaml' }, body: 'model: x' }, 415],
    ['an unknown charset', { headers: { 'content-type': 'application/json; charset=x-klingon' }, body: '{}' }, 415],
    [
      'an unknown encoding',
      { headers: { 'content-type': 'application/json', 'content-encoding': 'zip' }, body: '{}' },
      415,
    ],
    ['a list', { headers: { 'content-type': 'application/json' }, body: '[]' }, 422],
    [
      'a huge body',
      { headers: { 'content-type': 'application/json' }, body: `{"name":"${'x'.repeat(1_100_000)}"}` },
      413,
    ],
  ])('refuses %s', async (_name, init, status) => {
    const response = await app.request('/api/v1/jobs', { method: 'POST', ...init });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(components.Problem.parse(await response.json()).status).toBe(status);
  });
});

describe('GET /jobs', () => {
  beforeEach(() => {
    for (let index = 0; index < 5; index += 1) {
      app.jobs.jobs.set(`j${index}`, jobView(`j${index}`, { state: index === 0 ? 'failed' : 'running' }));
    }
  });

  test('pages through all jobs', async () => {
    const first = components.JobPage.parse(await (await app.request('/api/v1/jobs?limit=3')).json());
    expect(first.jobs.map(({ id }) => id)).toEqual(['j0', 'j1', 'j2']);
    const second = components.JobPage.parse(
      await (await app.request(`/api/v1/jobs?limit=3&cursor=${first.nextCursor}`)).json(),
    );
    expect(second.jobs.map(({ id }) => id)).toEqual(['j3', 'j4']);
    expect(second.nextCursor).toBeNull();
  });

  test('filters by state', async () => {
    const page = components.JobPage.parse(await (await app.request('/api/v1/jobs?state=failed')).json());
    expect(page.jobs.map(({ id }) => id)).toEqual(['j0']);
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=ten', 'limit'],
    ['limit=201', 'limit'],
    ['state=asleep', 'state'],
    ['cursor=', 'cursor'],
  ])('refuses ?%s', async (query, path) => {
    const response = await app.request(`/api/v1/jobs?${query}`);
    expect(response.status).toBe(400);
    const problem = components.Problem.parse(await response.json());
    expect(problem.errors).toEqual([{ path, message: expect.any(String) }]);
  });

  test('refuses a parameter that it does not know, by name', async () => {
    const problem = components.Problem.parse(await (await app.request('/api/v1/jobs?stat=running')).json());
    expect(problem.status).toBe(400);
    expect(JSON.stringify(problem.errors)).toContain('stat');
  });
});

describe('one job', () => {
  beforeEach(() => void app.jobs.jobs.set('j', jobView('j')));

  test('is shown whole', async () => {
    const response = await app.request('/api/v1/jobs/j');
    expect(response.status).toBe(200);
    expect(jobSchema.parse(await response.json())).toEqual(app.jobs.get('j'));
  });

  test.each(['pause', 'resume', 'cancel', 'checkpoint'])(
    'takes %s, or says that the state forbids it',
    async (action) => {
      const accepted = await app.request(`/api/v1/jobs/j/${action}`, { method: 'POST' });
      expect(accepted.status).toBe(202);
      expect(jobSchema.parse(await accepted.json()).id).toBe('j');
      app.jobs.jobs.set('j', jobView('j', { state: 'completed' }));
      const refused = await app.request(`/api/v1/jobs/j/${action}`, { method: 'POST' });
      expect(refused.status).toBe(409);
      expect(await refused.json()).toMatchObject({
        type: 'urn:lockstep:problem:conflict',
        detail: expect.stringContaining('completed'),
      });
    },
  );

  test('is deleted once it has ended', async () => {
    expect((await app.request('/api/v1/jobs/j', { method: 'DELETE' })).status).toBe(409);
    app.jobs.jobs.set('j', jobView('j', { state: 'cancelled' }));
    const response = await app.request('/api/v1/jobs/j', { method: 'DELETE' });
    expect(response.status).toBe(204);
    expect(await response.text()).toBe('');
    expect((await app.request('/api/v1/jobs/j')).status).toBe(404);
  });

  test('shows its curves', async () => {
    const response = await app.request('/api/v1/jobs/j/metrics?series=train/loss,test/top1&maxPoints=50');
    expect(components.Metrics.parse(await response.json()).series['train/loss']).toEqual([
      [0, 2.5],
      [1, 2.25],
    ]);
    expect(app.jobs.lastMetrics).toEqual({ series: ['train/loss', 'test/top1'], maxPoints: 50 });
    await app.request('/api/v1/jobs/j/metrics');
    expect(app.jobs.lastMetrics).toEqual({ series: undefined, maxPoints: 2000 });
    expect((await app.request('/api/v1/jobs/j/metrics?maxPoints=1')).status).toBe(400);
  });

  test('shows its audit and its checkpoints', async () => {
    expect(auditSchema.parse(await (await app.request('/api/v1/jobs/j/audit')).json()).clean).toBe(true);
    const list = components.CheckpointList.parse(await (await app.request('/api/v1/jobs/j/checkpoints')).json());
    expect(list.checkpoints[0]?.files).toEqual([{ name: 'model.safetensors', bytes: 10 }]);
  });

  test.each([
    ['GET', ''],
    ['DELETE', ''],
    ['POST', '/pause'],
    ['POST', '/checkpoint'],
    ['GET', '/metrics'],
    ['GET', '/ledger'],
    ['GET', '/audit'],
    ['GET', '/checkpoints'],
    ['GET', '/checkpoints/0/files/model.safetensors'],
    ['GET', '/events'],
  ])('%s of an unknown one (%s) is a 404', async (method, rest) => {
    const response = await app.request(`/api/v1/jobs/nobody${rest}`, { method });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      type: 'urn:lockstep:problem:not-found',
      detail: expect.stringContaining('nobody'),
    });
  });
});

describe('the ledger', () => {
  beforeEach(() => {
    app.jobs.jobs.set('j', jobView('j'));
    for (let step = 0; step < 1000; step += 1) app.jobs.ledgerEntries.push({ step, padding: 'x'.repeat(100) });
  });

  test('is sent as a line per step, within the range', async () => {
    const all = await app.request('/api/v1/jobs/j/ledger');
    expect(all.headers.get('content-type')).toBe('application/x-ndjson');
    const lines = (await all.text()).trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([...Array(1000).keys()]);
    const some = await (await app.request('/api/v1/jobs/j/ledger?from=5&to=7')).text();
    expect(
      some
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { step: number }).step),
    ).toEqual([5, 6, 7]);
  });

  test('may be empty', async () => {
    app.jobs.ledgerEntries.length = 0;
    const response = await app.request('/api/v1/jobs/j/ledger');
    expect([response.status, await response.text()]).toEqual([200, '']);
  });

  test.each(['from=-1', 'to=x', 'from=7&to=5'])('refuses ?%s', async (query) => {
    expect((await app.request(`/api/v1/jobs/j/ledger?${query}`)).status).toBe(400);
  });

  test('is read no faster than the client takes it, and let go when the client goes', async () => {
    app.jobs.ledgerEntries.length = 0;
    for (let step = 0; step < 20_000; step += 1) app.jobs.ledgerEntries.push({ step, padding: 'x'.repeat(4_000) });
    const controller = new AbortController();
    const response = await app.request('/api/v1/jobs/j/ledger', { signal: controller.signal });
    const reader = response.body!.getReader();
    await reader.read();
    await settled(() => app.jobs.ledgerRead);
    expect(app.jobs.ledgerRead).toBeLessThan(15_000);
    controller.abort();
    await until(() => app.jobs.ledgerClosed);
  });

  test('cuts the connection where reading fails midway, so that a part is not taken for the whole', async () => {
    app.jobs.ledgerFailsAfter = 500;
    const response = await app.request('/api/v1/jobs/j/ledger');
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
    await until(() => app.log.some((line) => line.includes('the disk said no')));
  });

  test('answers 500 without internals where reading fails at once', async () => {
    app.jobs.ledgerFailsAfter = 0;
    const response = await app.request('/api/v1/jobs/j/ledger');
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('disk');
  });
});

/** Resolves when `value` stays the same over several turns. */
async function settled(value: () => number): Promise<void> {
  for (let previous = -1, same = 0; same < 10; same = value() === previous ? same + 1 : 0) {
    previous = value();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function until(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { timeout: 5_000, interval: 5 }).toBe(true);
}
