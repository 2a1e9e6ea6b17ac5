// Bad input to running processes: one clear sentence, the right status or exit code, no stack trace, and work goes on.
// Refuses to go through every field of a spec (job-spec.spec.ts), set-up (setup/*.spec.ts) and `up` (up.process.spec.ts).
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Problem } from './support/api.js';
import { syntheticSpec } from './support/specs.js';
import { startSystem, TestSystem } from './support/system.js';

/** A frame of JavaScript, which no user should see. */
const stackFrame = /\n\s*at .+:\d+:\d+/;

describe('a running coordinator', () => {
  let system: TestSystem;
  beforeAll(async () => {
    system = await startSystem({ workers: 1 });
  });

  const submit = (body: unknown, headers?: Record<string, string>) =>
    system.api.request('/api/v1/jobs', { method: 'POST', body, ...(headers && { headers }) });
  const training = (fields: object): object => syntheticSpec({ training: fields });

  it.each<[what: string, spec: unknown, path: string, message: RegExp]>([
    ['an unknown preset', { preset: 'resnet20-cifar11' }, 'preset', /resnet20-cifar10/],
    ['an unknown field', { ...syntheticSpec(), trainning: {} }, 'trainning', /training/],
    ['an unknown field inside', training({ learningRate: 0.1 }), 'training.learningRate', /schedule/],
    ['an unknown architecture', syntheticSpec({ architecture: 'resnet21' }), 'model.architecture', /resnet20/],
    ['a negative rate', training({ schedule: { learningRate: -0.1 } }), 'training.schedule.learningRate', /0/],
    [
      'shards per task that are no power of two',
      training({ shardsPerTask: 3 }),
      'training.shardsPerTask',
      /power of two/,
    ],
    ['a batch of nothing', training({ batchSize: 0 }), 'training.batchSize', /\d/],
    [
      'a dataset that is not there',
      { model: { architecture: 'resnet20' }, dataset: { kind: 'cifar10', path: 'my-cifar' } },
      'dataset.path',
      /there is no my-cifar/,
    ],
    [
      'a dataset outside the data folder',
      { model: { architecture: 'resnet20' }, dataset: { kind: 'cifar10', path: '../../../etc' } },
      'dataset.path',
      /./,
    ],
    ['a list', [], '', /object/],
  ])('answers %s with 422 and where it is', async (_what, spec, path, message) => {
    const answer = await submit(spec);
    expect(answer.status, answer.text).toBe(422);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    const problem = answer.json as Problem;
    expect(problem.detail).not.toBe('');
    const error = problem.errors?.find((one) => one.path === path);
    expect(error?.message, answer.text).toMatch(message);
    expect(answer.text).not.toMatch(stackFrame);
  });

  it('answers a rate that is not finite with 422', async () => {
    const text = JSON.stringify(training({ schedule: { learningRate: 77.25 } })).replace('77.25', '1e999');
    const answer = await submit(text);
    expect(answer.status).toBe(422);
    expect((answer.json as Problem).errors).toEqual([
      { path: 'training.schedule.learningRate', message: expect.stringMatching(/finite|number/) as string },
    ]);
  });

  it.each<[what: string, body: unknown, headers: Record<string, string> | undefined, status: number]>([
    ['no JSON', '{"model":', undefined, 400],
    ['nothing but null', 'null', undefined, 400],
    ['another kind of body', 'preset: resnet20-synthetic', { 'content-type': 'application/yaml' }, 415],
    ['too large a body', JSON.stringify({ name: 'x'.repeat(3_000_000) }), undefined, 413],
    ['no body', undefined, undefined, 400],
    ['an empty idempotency key', syntheticSpec(), { 'idempotency-key': ' ' }, 400],
  ])('answers %s with a problem document', async (_what, body, headers, status) => {
    const answer = await submit(body, headers);
    expect(answer.status, answer.text).toBe(status);
    expect(answer.json).toMatchObject({ status, detail: expect.stringMatching(/\S/) as string });
    expect(answer.text).not.toMatch(stackFrame);
  });

  it.each<[path: string, status: number]>([
    ['/api/v1/jobs/nothing', 404],
    ['/api/v1/jobs/..%2f..%2fetc%2fpasswd', 404],
    ['/api/v1/jobs?limit=0', 400],
    ['/api/v1/jobs?state=asleep', 400],
    ['/api/v1/jobs/nothing/metrics?maxPoints=1', 400],
    ['/api/v1/jobs/nothing/checkpoints/0/files/model.safetensors', 404],
    ['/api/v1/nowhere', 404],
  ])('answers GET %s with %i', async (path, status) => {
    const answer = await system.api.request(path);
    expect(answer.status, answer.text).toBe(status);
    expect(answer.json).toMatchObject({ status });
    expect(answer.text).not.toMatch(stackFrame);
  });

  it('gives no file but those of a checkpoint', async () => {
    const { id } = await system.train(syntheticSpec({ steps: 1 }));
    const files = `/api/v1/jobs/${id}/checkpoints/0/files`;
    expect((await system.api.request(`${files}/manifest.json`)).status).toBe(200);
    for (const name of ['nothing', '..%2f..%2fjob.json', '%2e%2e', '..%2fstep-00000001%2fmanifest.json']) {
      expect((await system.api.request(`${files}/${name}`)).status, name).toBe(404);
    }
  });

  // The last one: what came before has disturbed nothing.
  it('still trains, and has said nothing of a defect', async () => {
    await system.train(syntheticSpec({ steps: 3 }));
    expect(system.coordinator.lines.filter((line) => /"level":(50|60)/.test(line))).toEqual([]);
  });
});

describe('a coordinator that cannot start', () => {
  /** Starts one and gives its exit code and what it wrote on standard error and output. */
  async function failedStart(environment: Record<string, string>): Promise<{ code: number | null; said: string }> {
    const system = await prepared({ workers: 0, environment });
    system.coordinator.start();
    const { code } = await system.coordinator.ended;
    const said = system.coordinator.lines.join('\n');
    expect(said).not.toMatch(stackFrame);
    return { code, said };
  }

  it.each<[what: string, environment: Record<string, string>, sentence: RegExp]>([
    ['exposed without tokens', { LOCKSTEP_HTTP_HOST: '0.0.0.0' }, /LOCKSTEP_HTTP_HOST .*LOCKSTEP_API_TOKENS/],
    ['exposed without a worker token', { LOCKSTEP_GRPC_HOST: '0.0.0.0' }, /LOCKSTEP_GRPC_HOST .*LOCKSTEP_WORKER_TOKEN/],
    ['with a setting that is no number', { LOCKSTEP_REDUCERS: 'many' }, /LOCKSTEP_REDUCERS must be a whole number/],
  ])('%s names the variables and ends with an error', async (_what, environment, sentence) => {
    const { code, said } = await failedStart(environment);
    expect(code).toBeGreaterThan(0);
    expect(said).toMatch(sentence);
  });

  it.each(['LOCKSTEP_HTTP_PORT', 'LOCKSTEP_GRPC_PORT'])('names %s when it is taken', async (variable) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { code, said } = await failedStart({ [variable]: String((server.address() as { port: number }).port) });
    expect(code).toBe(1);
    expect(said).toContain(variable);
  });

  it('without Redis says so, without its password', async () => {
    const system = await prepared({ workers: 0 });
    await system.valkey.stop();
    system.coordinator.start();
    expect((await system.coordinator.ended).code).toBe(1);
    const said = system.coordinator.lines.join('\n');
    expect(said).toMatch(/REDIS_URL/);
    expect(said).not.toMatch(stackFrame);
  });

  it('whose data folder is a file says so', async () => {
    const system = await prepared({ workers: 0 });
    const path = join(system.dataDir, 'a-file');
    writeFileSync(path, '');
    const { code, said } = await failedStart({ LOCKSTEP_DATA_DIR: path });
    expect(code).toBe(1);
    expect(said).toContain(path);
  });
});

describe('a worker', () => {
  it('without a coordinator waits, says so once, joins when there is one, and until then can be stopped', async () => {
    const system = await prepared({ workers: 1 });
    const worker = system.workers[0]!;
    worker.start();
    const waiting = new RegExp(
      `Waiting for the coordinator at 127.0.0.1:${system.grpcPort} \\(LOCKSTEP_COORDINATOR\\)`,
    );
    await worker.line(waiting);
    expect(await worker.terminate()).toEqual({ code: 0, signal: null });

    const from = worker.lines.length;
    worker.start();
    await worker.line(waiting, { from });
    system.coordinator.start();
    await worker.line(/"joined the pool"/, { from });
    expect(worker.lines.slice(from).filter((line) => waiting.test(line))).toHaveLength(1);
    await system.coordinator.notice('ready');
    await system.train(syntheticSpec({ steps: 2 }));
  });

  it.each<[what: string, environment: Record<string, string>, sentence: RegExp]>([
    ['an address without a port', { LOCKSTEP_COORDINATOR: 'localhost' }, /LOCKSTEP_COORDINATOR must be host:port/],
    ['no threads', { LOCKSTEP_THREADS: '0' }, /LOCKSTEP_THREADS must be 1 or more/],
    ['a certificate that is not there', { LOCKSTEP_TLS_CA: '/nowhere.pem' }, /LOCKSTEP_TLS_CA cannot be read/],
  ])('with %s ends with a sentence', async (_what, environment, sentence) => {
    const system = await prepared({ workers: 0 });
    const worker = system.addWorker(environment);
    worker.start();
    expect((await worker.ended).code).toBeGreaterThan(0);
    expect(worker.lines.join('\n')).toMatch(sentence);
    expect(worker.lines.join('\n')).not.toMatch(stackFrame);
  });
});

/** A system of which nothing runs yet but Valkey. */
async function prepared(options: Parameters<typeof TestSystem.prepare>[0]): Promise<TestSystem> {
  const system = await TestSystem.prepare(options);
  onTestFinished(() => system.stop(), 30_000);
  return system;
}
