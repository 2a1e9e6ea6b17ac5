import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { clientCredentials } from '#proto/channel.js';
import { Outcome } from '#proto/generated/lockstep/v1/pool.js';
import { Slices } from './pool-caller.js';
import { GradientPush } from './push.js';
import { FakeCoordinator } from './testing/fake-coordinator.js';

/** Three blocks: both slices have some. */
const parameterCount = 600_000;
const totals = {
  samples: 8,
  lossSum: 16,
  top1Hits: 1,
  top5Hits: 4,
  computeSeconds: 1,
  ...{ forwardSeconds: 0.5, imagesSeconds: 0.1, pullSeconds: 0.1, pullWaitSeconds: 0 },
  sampleIdsSha256: new Uint8Array(32),
};

describe('GradientPush', () => {
  let coordinator: FakeCoordinator;
  let slices: Slices;
  let sent: boolean;
  let answer: () => void;

  beforeEach(async () => {
    coordinator = new FakeCoordinator({
      job: {
        specJson: '',
        layoutHash: '',
        datasetLocation: '',
        datasetsUrl: '',
        datasetIndex: '',
        datasetHash: '',
        datasetContentsHash: '',
        datasetFiles: [],
        probeJson: '',
        kernelsJson: '',
      },
      parameterCount,
      statisticCount: 4,
      wire: 'float32',
      slices: 2,
    });
    const answered = new Promise<void>((resolve) => (answer = resolve));
    coordinator.answerPush = () => answered;
    await coordinator.start();
    slices = new Slices(coordinator.sliceAddresses, { credentials: clientCredentials(), token: undefined });
    sent = false;
  });

  afterEach(() => {
    answer();
    slices.close();
    coordinator.stop();
  });

  function begin(to = slices): { push: GradientPush; gradient: Float32Array } {
    const gradient = new Float32Array(parameterCount).fill(1);
    const key = { jobId: 'j', lineage: 0, step: 0, round: 0, task: 0, kind: 1 };
    const push = new GradientPush(to, {
      contribution: { workerId: 'w1', key, attempt: 1, version: undefined, layoutHash: 'x' },
      gradient,
      statistics: new Float32Array(4).fill(2),
      task: 'a task',
      signal: new AbortController().signal,
    });
    void push.sent.then(() => (sent = true));
    return { push, gradient };
  }

  it('is sent before it is answered, and does not look at the gradient again', async () => {
    const { push, gradient } = begin();
    push.finish(totals);
    await push.sent;
    gradient.fill(-1);
    await coordinator.until(() => coordinator.pushes.length === 2);
    const arrived = coordinator.pushes.map((part) =>
      Float32Array.from(part.gradient).reduce((sum, value) => sum + value, 0),
    );
    expect(arrived[0]! + arrived[1]!).toBe(parameterCount);
    answer();
    expect((await push.answer).outcome).toBe(Outcome.ACCEPTED);
  });

  it('is not sent while one slice has not taken all', async () => {
    const takesNothing = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(takesNothing, 'listening');
    const { port } = takesNothing.address() as AddressInfo;
    const access = { credentials: clientCredentials(), token: undefined };
    const halfOpen = new Slices([coordinator.sliceAddresses[0]!, `127.0.0.1:${port}`], access);
    const { push } = begin(halfOpen);
    push.finish(totals);
    await coordinator.until(() => coordinator.pushes.length === 1);
    expect(sent).toBe(false);
    push.abandon(new Error('the spec has seen enough'));
    await push.sent;
    halfOpen.close();
    takesNothing.close();
  });

  it('waits for an answer as long as it hears that it is awaited, and gives up five minutes after the last word', async () => {
    // The connections' own timers are real ones: they are made by a push before.
    const first = begin().push;
    first.finish(totals);
    await coordinator.until(() => coordinator.pushes.length === 2);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { push } = begin();
      push.finish(totals);
      let over = false;
      const refused = push.answer.catch((error: unknown) => {
        over = true;
        return error;
      });
      await push.sent;
      for (let word = 0; word < 10; word += 1) {
        await vi.advanceTimersByTimeAsync(290_000);
        push.held();
      }
      await vi.advanceTimersByTimeAsync(290_000);
      expect(over).toBe(false);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(String(await refused)).toContain('no answer, and no word that it is awaited, for 300 s');
      answer();
      await first.answer;
    } finally {
      vi.useRealTimers();
    }
  });

  it('counts as sent when it is refused before its end', async () => {
    coordinator.refuse = () => ({ outcome: Outcome.STALE, detail: 'too late' });
    const { push } = begin();
    await push.sent;
    expect((await push.answer).outcome).toBe(Outcome.STALE);
  });

  it('counts as sent when it is abandoned', async () => {
    const { push } = begin();
    push.abandon(new Error('computing failed'));
    await push.sent;
    await expect(push.answer).rejects.toThrow();
  });
});
