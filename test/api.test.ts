// The REST surface against a real system: what scripts rely on, with a job that really trains behind it.
// Refuses to repeat what the specs of http/ check with stand-ins, and bad input (bad-input.test.ts).
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { layoutOf } from '#model/parameters.js';
import type { JobView } from '../apps/coordinator/src/jobs/ports.js';
import type { Problem, StreamEvent } from './support/api.js';
import { parametersHashOf, tensorsIn } from './support/checkpoint-hash.js';
import { expectCleanAudit } from './support/outcomes.js';
import { endlessSpec, syntheticSpec, syntheticStepsPerEpoch } from './support/specs.js';
import { startSystem, type TestSystem } from './support/system.js';

const steps = 6 * syntheticStepsPerEpoch;
const spec = syntheticSpec({
  steps,
  rest: { name: 'thirty steps', evaluation: { everyEpochs: 1 }, checkpoint: { everySteps: 10, keep: 2 } },
});

let system: TestSystem;
/** Of `spec`, at its end. */
let done: JobView;
beforeAll(async () => {
  system = await startSystem();
  done = await system.train(spec);
});

const post = (path: string, body?: object, headers?: Record<string, string>) =>
  system.api.request(path, { method: 'POST', ...(body && { body }), ...(headers && { headers }) });

describe('a job', () => {
  it('is shown with all that it came to', () => {
    expect(done).toMatchObject({
      name: 'thirty steps',
      state: 'completed',
      step: steps,
      totalSteps: steps,
      version: steps,
      usefulWorkers: 3,
      reason: null,
      error: null,
    });
    expect(done.loss).toBeGreaterThan(0);
    expect(done.numericsClass).toContain('TensorFlow 2.21.0');
    expect(done.test).toMatchObject({ step: steps });
    expect(done.checkpoint?.step).toBe(steps);
    expect(Date.parse(done.endedAt!)).toBeGreaterThanOrEqual(Date.parse(done.startedAt!));
  });

  it('is submitted once per idempotency key, with the resolved spec in the answer', async () => {
    const key = { 'idempotency-key': 'night-run-7' };
    const first = await post('/api/v1/jobs', syntheticSpec({ steps: 1 }), key);
    const again = await post('/api/v1/jobs', syntheticSpec({ steps: 1 }), key);
    const { id, spec: resolved } = first.json as Pick<JobView, 'id' | 'spec'>;
    expect([first.status, again.status]).toEqual([201, 200]);
    expect((again.json as { id: string }).id).toBe(id);
    expect(resolved.training).toMatchObject({ steps: 1, precision: 'float32', wire: 'float32', seed: 1 });
    await system.api.untilState(id, 'completed');
    expect((await post('/api/v1/jobs', resolved)).status).toBe(201);
  });

  it('is listed by state, in pages, newest first', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 3; index += 1) ids.push((await system.train(syntheticSpec({ steps: 1 }))).id);
    const pages: string[] = [];
    let cursor: string | null = '';
    do {
      const query: string = `?state=completed&limit=2${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
      const page: { jobs: JobView[]; nextCursor: string | null } = await system.api.expect(200, `/api/v1/jobs${query}`);
      pages.push(...page.jobs.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(pages.slice(0, 3)).toEqual(ids.toReversed());
    expect(pages).toContain(done.id);
    expect(new Set(pages).size).toBe(pages.length);
    const running = await system.api.expect<{ jobs: unknown[] }>(200, '/api/v1/jobs?state=running');
    expect(running.jobs).toEqual([]);
  });

  it('is paused, checkpointed, resumed and cancelled, and each only where its state allows it', async () => {
    const { api } = system;
    const id = await api.submit(endlessSpec());
    await api.untilJob(id, ({ step }) => step >= 2);
    await api.act(id, 'checkpoint');
    const saved = await api.untilJob(id, ({ checkpoint }) => (checkpoint?.step ?? 0) > 0);
    expect((await api.checkpoints(id)).map(({ step }) => step)).toContain(saved.checkpoint!.step);

    await api.act(id, 'pause');
    const paused = await api.untilState(id, 'paused');
    const refusal = await post(`/api/v1/jobs/${id}/pause`);
    expect(refusal.status).toBe(409);
    expect((refusal.json as Problem).detail).toContain('paused');
    await api.act(id, 'resume');
    await api.untilJob(id, ({ state, step }) => state === 'running' && step > paused.step);
    expect((await api.request(`/api/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(409);

    await api.act(id, 'cancel');
    const cancelled = await api.untilState(id, 'cancelled');
    expect(cancelled.endedAt).not.toBeNull();
    for (const action of ['pause', 'resume', 'cancel', 'checkpoint']) {
      expect((await post(`/api/v1/jobs/${id}/${action}`)).status, action).toBe(409);
    }
    await expectCleanAudit(system, id, cancelled.version);
  });

  it('is deleted with its files once it has ended', async () => {
    const { id } = await system.train(syntheticSpec({ steps: 2 }));
    expect((await system.api.request(`/api/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    for (const path of ['', '/ledger', '/audit', '/metrics', '/checkpoints', '/events']) {
      expect((await system.api.request(`/api/v1/jobs/${id}${path}`)).status, path).toBe(404);
    }
  });
});

describe('what a job leaves', () => {
  it('metrics: a point per step, down-sampled so that extremes stay', async () => {
    const all = await system.api.metrics(done.id);
    for (const name of ['train/loss', 'train/top1', 'gradient/norm', 'throughput/images_per_second', 'step/seconds']) {
      expect(all[name]?.map(([step]) => step).length, name).toBe(steps);
    }
    expect(all['test/top1']?.length).toBe(steps / syntheticStepsPerEpoch);
    const some = await system.api.metrics(done.id, '?series=train/loss,test/loss&maxPoints=6');
    expect(Object.keys(some).sort()).toEqual(['test/loss', 'train/loss']);
    const few = some['train/loss']!;
    expect(few.length).toBeLessThanOrEqual(6);
    const values = all['train/loss']!.map(([, value]) => value);
    const kept = few.map(([, value]) => value);
    expect(Math.max(...kept)).toBe(Math.max(...values));
    expect(Math.min(...kept)).toBe(Math.min(...values));
    for (const point of few) expect(all['train/loss']).toContainEqual(point);
  });

  it('a ledger: a line per step with who computed what', async () => {
    const entries = await system.api.ledger(done.id);
    expect(entries.map(({ step, version }) => [step, version])).toEqual(
      Array.from({ length: steps }, (_, step) => [step, step + 1]),
    );
    const shortOne = entries[syntheticStepsPerEpoch - 1]!;
    expect(shortOne).toMatchObject({ epoch: 0, first: 192, samples: 17 });
    expect(shortOne['tasks']).toHaveLength(1);
    for (const { tasks } of entries) {
      for (const task of tasks as Record<string, unknown>[]) {
        expect(task['worker']).toMatch(/^worker-[12]$/);
        expect(task).toMatchObject({ attempt: expect.any(Number), seconds: expect.any(Number) });
      }
    }
    expect((await system.api.ledger(done.id, '?from=3&to=5')).map(({ step }) => step)).toEqual([3, 4, 5]);
    const { headers } = await system.api.request(`/api/v1/jobs/${done.id}/ledger?from=0&to=0`);
    expect(headers.get('content-type')).toContain('application/x-ndjson');
  });

  it('an audit that adds up per epoch', async () => {
    await expectCleanAudit(system, done.id, steps);
    const { epochs } = await system.api.audit(done.id);
    expect(epochs).toEqual(
      Array.from({ length: 6 }, (_, epoch) => ({
        epoch,
        ...{ expected: 209, committed: 209, excluded: 0, duplicated: 0, missing: 0 },
      })),
    );
  });

  it('checkpoints whose files hash to what the manifest says', async () => {
    const checkpoints = await system.api.checkpoints(done.id);
    // The initial one is never pruned.
    expect(checkpoints.map(({ step }) => step)).toEqual([0, 20, 30]);
    const newest = checkpoints.at(-1)!;
    expect(newest).toMatchObject({ parametersSha256: done.parametersSha256, stateSha256: done.stateSha256 });
    const files = new Map<string, Buffer>();
    for (const { name, bytes } of [...newest.files, { name: 'manifest.json', bytes: undefined }]) {
      const response = await system.api.open(`/api/v1/jobs/${done.id}/checkpoints/${newest.step}/files/${name}`);
      files.set(name, Buffer.from(await response.arrayBuffer()));
      if (bytes !== undefined) expect(files.get(name)!.length, name).toBe(bytes);
    }
    expect([...files.keys()].sort()).toEqual(['manifest.json', 'model.safetensors', 'optimizer.safetensors']);
    const manifest = JSON.parse(files.get('manifest.json')!.toString()) as {
      step: number;
      parametersSha256: string;
      files: Record<string, { sha256: string }>;
    };
    expect(manifest.step).toBe(steps);
    for (const [name, { sha256 }] of Object.entries(manifest.files)) {
      expect(createHash('sha256').update(files.get(name)!).digest('hex'), name).toBe(sha256);
    }
    const model = files.get('model.safetensors')!;
    const names = layoutOf(done.spec.model).parameters.map(({ name }) => name);
    expect(parametersHashOf(model, names)).toBe(done.parametersSha256);
    expect(parametersHashOf(model, names)).toBe(manifest.parametersSha256);
    expect([...tensorsIn(model).keys()]).toContain('bn1.running_var');
  });

  it('a part of a file, for downloads that go on', async () => {
    const path = `/api/v1/jobs/${done.id}/checkpoints/0/files/model.safetensors`;
    const whole = Buffer.from(await (await system.api.open(path)).arrayBuffer());
    const part = await system.api.open(path, { headers: { range: 'bytes=100-199' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer())).toEqual(whole.subarray(100, 200));
  });
});

describe('events', () => {
  it('begin with a snapshot, follow a job to its end, and go on after Last-Event-ID without a gap', async () => {
    const id = await system.api.submit(syntheticSpec({ steps: 40 }));
    const path = `/api/v1/jobs/${id}/events`;
    const seen: StreamEvent[] = [];
    for await (const event of system.api.events(path)) {
      seen.push(event);
      if (event.type === 'job' && (event.data as JobView).state === 'completed') break;
    }
    expect(seen[0]).toMatchObject({ type: 'snapshot', data: { job: { id }, workers: [{}, {}] } });
    expect(new Set(seen.map(({ type }) => type))).toEqual(new Set(['snapshot', 'job', 'worker', 'points']));
    const points = seen.filter(({ type }) => type === 'points');
    for (const { data } of points) expect(data).toMatchObject({ jobId: id, series: {} });

    const middle = seen[Math.floor(seen.length / 2)]!;
    const again: StreamEvent[] = [];
    for await (const event of system.api.events(path, { headers: { 'last-event-id': middle.id! } })) {
      again.push(event);
      if (event.type === 'job' && (event.data as JobView).state === 'completed') break;
    }
    expect(again).toEqual(seen.slice(seen.indexOf(middle) + 1));
  });

  it('of everything tell of workers that come and go', async () => {
    const worker = system.addWorker();
    worker.start();
    const pool = await system.api.untilWorkers((workers) => workers.some(({ name }) => name === worker.name));
    expect(pool).toHaveLength(3);
    await worker.terminate();
    await system.api.untilWorkers((workers) => workers.length === 2);
  });
});

describe('workers', () => {
  it('are shown with device, class, counts and memory', async () => {
    const workers = await system.api.workers();
    expect(workers.map(({ name }) => name).sort()).toEqual(['worker-1', 'worker-2']);
    for (const worker of workers) {
      expect(worker.state).toBe('active');
      // A job's class names its precision too.
      expect(done.numericsClass).toBe(`${worker.numericsClass}, float32`);
      expect(worker.accepted).toBeGreaterThan(0);
      expect(worker.residentBytes).toBeGreaterThan(1e7);
      expect(worker.stepSecondsP50).toBeGreaterThan(0);
      expect(worker.heartbeatAgeSeconds).toBeLessThan(30);
    }
  });

  it('are drained: the process ends by itself, exits 0, and says that it was asked to', async () => {
    const worker = system.addWorker();
    worker.start();
    const pool = await system.api.untilWorkers((workers) => workers.some(({ name }) => name === worker.name));
    const { id } = pool.find(({ name }) => name === worker.name)!;
    await system.api.expect(202, `/api/v1/workers/${id}/drain`, { method: 'POST' });
    await worker.notice('drained');
    expect(await worker.ended).toEqual({ code: 0, signal: null });
    expect((await post('/api/v1/workers/nobody/drain')).status).toBe(404);
  });
});

describe('outside the prefix', () => {
  it('OpenAPI, its page, health, Prometheus and the dashboard are served', async () => {
    const document = await system.api.expect<{ openapi: string; paths: Record<string, object> }>(200, '/openapi.json');
    expect(document.openapi).toMatch(/^3\./);
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/api/v1/jobs', '/api/v1/jobs/{id}/audit', '/api/v1/workers', '/health/ready']),
    );
    for (const [path, type] of [
      ['/docs', 'text/html'],
      ['/', 'text/html'],
      ['/health/live', 'application/json'],
      ['/health/ready', 'application/json'],
      ['/metrics', 'text/plain'],
    ] as const) {
      const { status, headers } = await system.api.request(path);
      expect([status, headers.get('content-type')], path).toEqual([200, expect.stringContaining(type)]);
    }
    expect((await system.api.request('/metrics')).text).toMatch(/^lockstep_\w+/m);
    expect((await system.api.request('/queues')).status).toBe(404);
  });

  it('ready turns to 503 with a reason while Valkey does not answer', async () => {
    await system.valkey.pause();
    const paused = await system.api.request('/health/ready');
    await system.valkey.resume();
    expect(paused.status).toBe(503);
    expect(paused.text).toMatch(/redis|valkey/i);
  });
});
