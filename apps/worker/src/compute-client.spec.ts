import { afterEach, describe, expect, it } from 'vitest';
import type { TrialJob } from '#model/kernel-trial.js';
import { ComputeClient, ComputeUnusable } from './compute-client.js';
import type { TrainRequest } from './compute-protocol.js';

/** A thread that speaks the protocol and does what `body` says with each request. */
function threadOf(
  body: string,
  hello = `say({ type: 'ready', facts: { tensorflowVersion: '0', deviceKind: 'cpu', kernels: '' } });`,
) {
  const source = `
    import { parentPort, workerData } from 'node:worker_threads';
    const { control } = workerData;
    const say = (message) => parentPort.postMessage(message);
    const totals = { samples: 1, lossSum: 2, top1Hits: 0, top5Hits: 1, computeSeconds: 3 };
    parentPort.on('message', (message) => {
      if (message.type === 'stop') return parentPort.close();
      const { id } = message;
      ${body}
    });
    ${hello}`;
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
}

const request = {} as TrainRequest;
const never = new AbortController().signal;
let client: ComputeClient | undefined;

async function start(script: URL): Promise<ComputeClient> {
  ({ client } = await ComputeClient.start(script));
  return client;
}

afterEach(async () => {
  await client?.stop(1_000);
  client = undefined;
});

describe('ComputeClient', () => {
  it('gives the totals, and what became final meanwhile', async () => {
    const compute = await start(
      threadOf(`Atomics.store(control, 1, 7); Atomics.store(control, 2, 1); say({ type: 'progress' });
                Atomics.add(control, 0, 5); say({ type: 'done', id, totals });`),
    );
    const finals: number[] = [];
    const totals = await compute.train(request, never, (element) => finals.push(element));
    expect(totals).toMatchObject({ samples: 1, lossSum: 2, computeSeconds: 3 });
    expect(finals).toEqual([7]);
    expect(compute.progress).toBe(5);
  });

  it('lets the thread know that a task is given up, and rejects once it has let go', async () => {
    const compute = await start(
      threadOf(`while (Atomics.load(control, 3) !== id); say({ type: 'failed', id, message: 'x', aborted: true });`),
    );
    const abort = new AbortController();
    const training = compute.train(request, abort.signal, () => undefined);
    abort.abort(new Error('not wanted'));
    await expect(training).rejects.toThrow('not wanted');
  });

  it('says what failed', async () => {
    const compute = await start(threadOf(`say({ type: 'failed', id, message: 'a kernel refused', aborted: false });`));
    await expect(compute.evaluate(request, never)).rejects.toThrow('a kernel refused');
  });

  it('has kernels tried behind the task that computes, and says why they were not', async () => {
    const compute = await start(
      threadOf(`if (message.type !== 'try-kernels') return setTimeout(() => say({ type: 'done', id, totals }), 20);
                if (message.job === 'good') say({ type: 'kernels-tried', id, table: { '1x2x3': {} } });
                else say({ type: 'kernels-not-tried', id, message: 'a kernel refused' });`),
    );
    const training = compute.train(request, never, () => undefined);
    expect(await compute.tryKernels('good' as unknown as TrialJob)).toEqual({ '1x2x3': {} });
    await expect(compute.tryKernels('bad' as unknown as TrialJob)).rejects.toThrow('a kernel refused');
    await training;
  });

  it('takes one task at a time', async () => {
    const compute = await start(threadOf(`setTimeout(() => say({ type: 'done', id, totals }), 20);`));
    const first = compute.evaluate(request, never);
    await expect(compute.evaluate(request, never)).rejects.toThrow('works on another task');
    await first;
  });

  it('rejects what is pending when the thread dies', async () => {
    const compute = await start(threadOf(`throw new Error('out of memory');`));
    await expect(compute.evaluate(request, never)).rejects.toThrow('The compute thread died: out of memory');
    expect((await compute.ended).message).toContain('out of memory');
  });

  it('says why TensorFlow cannot be used', async () => {
    const script = threadOf('', `say({ type: 'unusable', message: 'run setup' }); parentPort.close();`);
    await expect(ComputeClient.start(script)).rejects.toThrow(new ComputeUnusable('run setup'));
  });
});
