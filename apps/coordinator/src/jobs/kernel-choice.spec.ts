import { resolveJobSpec } from '#model/job-spec.js';
import { type KernelTable, kernelKey, pointwiseShapes } from '#model/kernel-table.js';
import { describe, expect, it } from 'vitest';
import { numericsClass } from '../workers/numerics-class.fixture.js';
import { PoolWorker } from '../workers/worker-registry.js';
import { chooseKernels, type KernelChoiceOptions, tableAmong } from './kernel-choice.js';
import type { JobRecord } from './job-store.js';
import { newRecord } from './new-record.js';

const specOf = (changes: { training?: object; faults?: object; architecture?: string } = {}) =>
  resolveJobSpec({
    model: { architecture: changes.architecture ?? 'resnet18' },
    dataset: { kind: 'synthetic', imageSize: 32 },
    ...(changes.faults && { faults: changes.faults }),
    training: { ...changes.training },
  });
const spec = specOf();
const tableOf = (kernel: 'product' | 'convolution'): KernelTable =>
  Object.fromEntries(
    pointwiseShapes(spec.model).map((shape) => [
      kernelKey(shape),
      { forward: kernel, inputGradient: kernel, filterGradient: kernel },
    ]),
  );
const table = tableOf('product');
const worker = (name: string): PoolWorker => new PoolWorker({ name, numericsClass, memoryBytes: 1, pid: 1 }, 0);

/** Workers of which each gives its answer; one without an answer is gone when it is asked. */
function pool(answers: Record<string, KernelTable | string | undefined>) {
  let workers = Object.keys(answers).map(worker);
  const asked: string[] = [];
  const waits: string[] = [];
  const options: KernelChoiceOptions = {
    trials: {
      ask: async ({ name, id }) => {
        asked.push(name);
        const answer = answers[name];
        if (answer === undefined) workers = workers.filter((left) => left.id !== id);
        return answer ?? 'no answer came.';
      },
    },
    workers: () => workers,
    known: undefined,
    onWait: (reason) => waits.push(reason),
    signal: new AbortController().signal,
  };
  return { options, asked, waits, workers: () => workers };
}

describe('the choice of kernels', () => {
  it('is one worker’s, and says whom it waits for', async () => {
    const { options, asked, waits } = pool({ a: table, b: tableOf('convolution') });
    expect(await chooseKernels(spec, options)).toEqual({ kernels: table, note: null });
    expect(asked).toEqual(['a']);
    expect(waits).toEqual(['Worker a tries which kernels are the quicker ones.']);
  });

  it('prefers a worker that does not compute', async () => {
    const { options, asked, workers } = pool({ a: table, b: table });
    workers()[0]!.heartbeat = { ...workers()[0]!.heartbeat, computing: 'a task of another job' };
    await chooseKernels(spec, options);
    expect(asked).toEqual(['b']);
  });

  it('is another’s where the first one goes, fails or answers for another net', async () => {
    const [other] = Object.entries(table);
    const { options, asked } = pool({
      a: undefined,
      b: 'a kernel refused.',
      c: Object.fromEntries([other!]),
      d: table,
    });
    expect(await chooseKernels(spec, options)).toEqual({ kernels: table, note: null });
    expect(asked).toEqual(['a', 'b', 'c', 'd']);
  });

  it('is the fixed rule, with a note, where all have failed, each once', async () => {
    const { options, asked } = pool({ a: 'a kernel refused.', b: 'no answer came.' });
    const choice = await chooseKernels(spec, options);
    expect(choice?.kernels).toBeNull();
    expect(choice?.note).toContain('a: a kernel refused. b: no answer came.');
    expect(asked).toEqual(['a', 'b']);
  });

  it('is open where the class has no worker left, or the job is stopped', async () => {
    expect(await chooseKernels(spec, pool({ a: undefined }).options)).toBeUndefined();
    const { options, asked } = pool({ a: table });
    expect(await chooseKernels(spec, { ...options, signal: AbortSignal.abort() })).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it('is what the class has found before', async () => {
    const { options, asked } = pool({ a: tableOf('convolution') });
    expect(await chooseKernels(spec, { ...options, known: table })).toEqual({ kernels: table, note: null });
    expect(asked).toEqual([]);
  });

  it.each([
    ['the spec wants the fixed rule', { training: { kernels: 'fixed' } }],
    ['any worker may contribute', { faults: { reproducibility: 'relaxed' } }],
    ['the net has no 1x1 convolutions', { architecture: 'resnet20' }],
  ])('is the fixed rule without asking where %s', async (_, changes) => {
    const { options, asked } = pool({ a: table });
    expect(await chooseKernels(specOf(changes), { ...options, known: table })).toEqual({ kernels: null, note: null });
    expect(asked).toEqual([]);
  });
});

describe('a table found before', () => {
  const record = (changes: Partial<JobRecord> = {}): JobRecord => ({
    ...newRecord('j', spec, 100, undefined),
    classId: 'c',
    kernels: table,
    ...changes,
  });

  it('serves jobs of the same class, shapes, shard size and precision; the newest first', () => {
    const newest = record({ kernels: tableOf('convolution') });
    expect(tableAmong([newest, record()], 'c', specOf({ training: { seed: 7 } }))).toEqual(newest.kernels);
  });

  it.each([
    ['another class', record({ classId: 'd' }), spec],
    ['the fixed rule', record({ kernels: null }), spec],
    ['another shard size', record(), specOf({ training: { shardSize: 8 } })],
    ['another precision', record(), specOf({ training: { precision: 'bfloat16' } })],
    ['another net', record(), specOf({ architecture: 'resnet50' })],
  ])('does not serve after %s', (_, before, wanted) => {
    expect(tableAmong([before], 'c', wanted)).toBeUndefined();
  });
});
