import { resolveJobSpec } from '#model/job-spec.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KernelTrials } from './kernel-trials.js';
import { numericsClass } from './numerics-class.fixture.js';
import { type PoolWorker, WorkerRegistry } from './worker-registry.js';

const spec = resolveJobSpec({ model: { architecture: 'resnet18' }, dataset: { kind: 'synthetic' } });
const table = { '4x8x8': { forward: 'product', inputGradient: 'convolution', filterGradient: 'product' } } as const;
const answer = { kernelsJson: JSON.stringify(table), detail: '' };

describe('a kernel trial', () => {
  let registry: WorkerRegistry;
  let trials: KernelTrials;
  let worker: PoolWorker;
  let asked: number[];

  function join(name: string): PoolWorker {
    const { id } = registry.register({ name, numericsClass, memoryBytes: 1, pid: 1 });
    return registry.connect(id, (message) => {
      if (message.$case !== 'kernelTrialRequest') return;
      expect(JSON.parse(message.value.specJson)).toEqual(spec);
      asked.push(message.value.request);
    })!;
  }

  beforeEach(() => {
    asked = [];
    registry = new WorkerRegistry();
    trials = new KernelTrials(registry);
    worker = join('one');
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('gives the table that the worker answers with', async () => {
    const trial = trials.ask(worker, spec);
    trials.answered(worker, { request: asked[0]!, ...answer });
    expect(await trial).toEqual(table);
  });

  it('takes no answer from another worker, nor one to another question', async () => {
    const trial = trials.ask(worker, spec);
    trials.answered(join('two'), { request: asked[0]!, ...answer });
    trials.answered(worker, { request: asked[0]! + 1, ...answer });
    trials.answered(worker, { request: asked[0]!, kernelsJson: '', detail: 'a kernel refused.' });
    expect(await trial).toBe('a kernel refused.');
  });

  it('says what is wrong with an answer that is no table', async () => {
    const trial = trials.ask(worker, spec);
    trials.answered(worker, { request: asked[0]!, kernelsJson: '{"4x8x8":{"forward":"magic"}}', detail: '' });
    expect(await trial).toContain('no table');
  });

  it('is over at once when the worker is gone, or was before', async () => {
    const trial = trials.ask(worker, spec);
    registry.disconnect(worker);
    expect(await trial).toBe('no answer came.');
    expect(await trials.ask(worker, spec)).toBe('no answer came.');
  });

  it('is over when its time is up, and a late answer is dropped', async () => {
    vi.useFakeTimers();
    const trial = trials.ask(worker, spec);
    vi.advanceTimersByTime(60_000);
    expect(await trial).toBe('no answer came.');
    trials.answered(worker, { request: asked[0]!, ...answer });
  });
});
