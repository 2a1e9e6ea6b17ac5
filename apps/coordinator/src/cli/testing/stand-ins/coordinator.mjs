// Stand-in for the coordinator: answers health checks and plays one job to its end.
import { createServer } from 'node:http';
import { linkToParent } from '#proto/parent-link.js';
import { report } from '@REPORT@';

if (process.env.STAND_IN_COORDINATOR === 'starting') {
  // Before its first line: a signal still ends it.
  report('coordinator');
  await new Promise(() => setInterval(() => {}, 1_000_000));
}
process.title = 'lockstep-coordinator';
linkToParent();
const tell = report('coordinator');
if (process.env.STAND_IN_COORDINATOR === 'fails') {
  await tell('failing');
  process.stderr.write('The ledger of job 7 cannot be read.\n');
  process.exit(1);
}

const cancelled = [];
let job;
const jobAt = (step) => ({
  id: 'job-1',
  name: 'demo',
  state: step === 6 ? (process.env.STAND_IN_JOB ?? 'completed') : 'running',
  step,
  totalSteps: 6,
  epoch: 0,
  version: step,
  loss: 2 - step / 6,
  top1: step / 6,
  test: step < 3 ? null : { step, loss: 1, top1: 0.764, top5: 0.9 },
  imagesPerSecond: 900,
  etaSeconds: 6 - step,
  workers: [],
  parametersSha256: null,
  stateSha256: null,
  checkpoint: step === 6 ? { step, path: 'jobs/job-1/checkpoints/step-00000006' } : null,
  numericsClass: null,
  usefulWorkers: 2,
  parameterCount: 1,
  reason: null,
  error: step === 6 && process.env.STAND_IN_JOB === 'failed' ? 'The loss is not finite.' : null,
  spec: job,
  createdAt: '2026-01-01T00:00:00Z',
  startedAt: '2026-01-01T00:00:00Z',
  endedAt: step === 6 ? '2026-01-01T00:03:20Z' : null,
});
const leftover = { ...jobAt(1), id: 'old-job', spec: { preset: 'resnet20-cifar10-demo' } };

const server = createServer((request, response) => {
  const json = (status, body) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  const path = request.url.split('?')[0];
  if (path.startsWith('/health/')) return json(200, { status: 'ok' });
  if (request.method === 'POST' && path === '/api/v1/jobs') {
    let text = '';
    request.on('data', (chunk) => (text += chunk));
    request.on('end', () => {
      const spec = JSON.parse(text);
      job = { ...spec, training: { epochs: 3, batchSize: 128, precision: 'bfloat16', ...spec.training } };
      json(201, { id: 'job-1', state: 'queued', spec: job });
    });
    return;
  }
  if (request.method === 'POST' && path === '/api/v1/jobs/old-job/cancel') {
    cancelled.push('old-job');
    void tell('cancelled old-job');
    return json(202, {});
  }
  if (path === '/api/v1/jobs') return json(200, { jobs: cancelled.length > 0 ? [] : [leftover], nextCursor: null });
  if (path === '/api/v1/jobs/job-1') return json(200, jobAt(0));
  if (path === '/api/v1/jobs/job-1/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('event: snapshot\ndata: {}\n\n');
    const last = process.env.STAND_IN_JOB === 'endless' ? 5 : 6;
    for (let step = 1; step <= last; step += 1) {
      response.write(`id: ${step}\nevent: job\ndata: ${JSON.stringify(jobAt(step))}\n\n`);
    }
    return;
  }
  json(404, { title: 'Not found', detail: `There is no ${path}.` });
});
server.listen(Number(process.env.LOCKSTEP_HTTP_PORT), '127.0.0.1');
process.on('SIGTERM', async () => {
  await tell('stopping');
  process.exit(0);
});
