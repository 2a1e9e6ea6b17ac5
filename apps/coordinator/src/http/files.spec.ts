import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { jobView, startTestApplication } from './testing.js';
import type { TestApplication } from './testing.js';

let app: TestApplication;
beforeEach(async () => {
  app = await startTestApplication();
  app.jobs.jobs.set('j', jobView('j'));
});
afterEach(() => app.stop());

/** fetch tidies paths up before it sends them; an attacker does not. */
function rawStatus(path: string): Promise<number> {
  const { hostname, port } = new URL(app.url);
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({ hostname, port, path }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}

describe.each([
  ['a dataset file', '/api/v1/datasets/flowers/train/one.txt', '0123456789'],
  ['a checkpoint file', '/api/v1/jobs/j/checkpoints/0/files/model.safetensors', 'abcdefghij'],
])('%s', (_name, path, text) => {
  test('is sent whole, in ranges, or not at all where it is known already', async () => {
    const whole = await app.request(path);
    expect([whole.status, await whole.text()]).toEqual([200, text]);
    expect(whole.headers.get('accept-ranges')).toBe('bytes');
    const etag = whole.headers.get('etag') ?? '';
    expect(etag).toMatch(/".+"/);
    const part = await app.request(path, { headers: { range: 'bytes=2-4' } });
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([
      206,
      text.slice(2, 5),
      'bytes 2-4/10',
    ]);
    const tail = await app.request(path, { headers: { range: 'bytes=-3' } });
    expect([tail.status, await tail.text()]).toEqual([206, text.slice(-3)]);
    const known = await app.request(path, { headers: { 'if-none-match': etag } });
    expect([known.status, await known.text()]).toEqual([304, '']);
    const head = await app.request(path, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '10']);
  });

  test('answers a range outside it with 416', async () => {
    const response = await app.request(path, { headers: { range: 'bytes=50-60' } });
    expect(response.status).toBe(416);
    expect(response.headers.get('content-range')).toBe('bytes */10');
    expect(await response.json()).toMatchObject({ type: 'urn:lockstep:problem:range-not-satisfiable' });
  });
});

describe('dataset files', () => {
  test.each([
    '/api/v1/datasets/flowers/train/two.txt',
    '/api/v1/datasets/flowers/train',
    '/api/v1/datasets/flowers',
    '/api/v1/datasets/',
    '/api/v1/datasets/../secret.txt',
    '/api/v1/datasets/flowers/../../secret.txt',
    '/api/v1/datasets/%2e%2e/secret.txt',
    '/api/v1/datasets/..%2fsecret.txt',
    '/api/v1/datasets/flowers%2f..%2f..%2fsecret.txt',
    '/api/v1/datasets/flowers/train/one.txt%00',
    '/api/v1/datasets/flowers/train/one.txt/x',
    '/api/v1/datasets/..%5csecret.txt',
    '/api/v1/datasets//etc/hostname',
    `/api/v1/datasets/${'x'.repeat(300)}`,
  ])('%.60s is a 404', async (path) => {
    expect(await rawStatus(path)).toBe(404);
  });

  test('a linked dataset is served; a link inside it that leads out is not', async () => {
    const mounted = join(app.directory, 'mounted');
    await mkdir(mounted);
    await writeFile(join(mounted, 'a.txt'), 'a');
    await symlink(join(app.directory, 'secret.txt'), join(mounted, 'leak.txt'));
    await symlink(join(mounted, 'a.txt'), join(mounted, 'b.txt'));
    await symlink(mounted, join(app.directory, 'datasets', 'large'));
    expect(await rawStatus('/api/v1/datasets/large/a.txt')).toBe(200);
    expect(await rawStatus('/api/v1/datasets/large/b.txt')).toBe(200);
    expect(await rawStatus('/api/v1/datasets/large/leak.txt')).toBe(404);
  });

  test('CIFAR-10 is served from the cache where the datasets folder has none, and nothing else of the cache', async () => {
    const { cacheDir } = app.config;
    const cached = join(cacheDir, 'datasets/cifar-10-batches-bin');
    await mkdir(cached, { recursive: true });
    await writeFile(join(cached, 'test_batch.bin'), 'fetched');
    await symlink(join(app.directory, 'secret.txt'), join(cached, 'leak.bin'));
    await writeFile(join(cacheDir, 'datasets/other'), 'x');
    const path = '/api/v1/datasets/cifar-10-batches-bin';
    expect(await (await app.request(`${path}/test_batch.bin`)).text()).toBe('fetched');
    for (const none of [`${path}/leak.bin`, `${path}%2f..%2fother`, '/api/v1/datasets/other', path])
      expect(await rawStatus(none), none).toBe(404);
    const own = join(app.directory, 'datasets/cifar-10-batches-bin');
    await mkdir(own);
    expect(await rawStatus(`${path}/test_batch.bin`)).toBe(404);
    await writeFile(join(own, 'test_batch.bin'), 'own');
    expect(await (await app.request(`${path}/test_batch.bin`)).text()).toBe('own');
  });

  test('malformed escapes are a 400', async () => {
    expect(await rawStatus('/api/v1/datasets/%ff/x')).toBe(400);
  });
});

describe('checkpoint files', () => {
  test.each([
    '0/files/none.safetensors',
    '0/files/..%2fsecret.txt',
    '0/files/.hidden',
    '7/files/model.safetensors',
    'zero/files/x',
  ])('%s is a 404', async (rest) => {
    const path = `/api/v1/jobs/j/checkpoints/${rest}`;
    expect(await rawStatus(path)).toBe(404);
    expect((await app.request(path)).headers.get('content-disposition')).toBeNull();
  });

  test('are named after job and step when saved', async () => {
    const response = await app.request('/api/v1/jobs/j/checkpoints/0/files/model.safetensors');
    expect(response.headers.get('content-disposition')).toContain('j-step-0-model.safetensors');
  });
});

describe('the dashboard', () => {
  test.each(['/', '/jobs/j'])('is served at %s', async (path) => {
    const response = await app.request(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/html/);
    expect(response.headers.get('cache-control')).toBe('no-cache');
    expect(await response.text()).toContain('<title>Lockstep</title>');
  });

  test('has assets that may be kept for ever', async () => {
    const response = await app.request('/assets/app-1a2b.js');
    expect(response.headers.get('content-type')).toMatch(/^(text|application)\/javascript/);
    expect(response.headers.get('cache-control')).toContain('immutable');
    expect((await app.request('/favicon.svg')).headers.get('content-type')).toMatch(/^image\/svg/);
  });

  test.each([
    '/nothing',
    '/jobs/j/more',
    '/assets/none.js',
    '/assets/..%2findex.html',
    '/..%2fsecret.txt',
    '/secret.txt',
  ])('%s is a 404', async (path) => {
    expect(await rawStatus(path)).toBe(404);
  });

  test('says how to build it where it is missing', async () => {
    const bare = await startTestApplication({}, { dashboardDir: '/no/such/folder' });
    const response = await bare.request('/');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ detail: expect.stringContaining('npm run build') });
    await bare.stop();
  });
});
