// The result does not depend on who computed it: two workers, one worker, several slices and a plain loop in one process
// end with the same bits. Refuses to look at speed and at faults.
import { beforeAll, describe, expect, it } from 'vitest';
import { contributors, expectCleanAudit, hashesOf, type Hashes } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { cifarSpec, syntheticSpec, syntheticStepsPerEpoch } from './support/specs.js';
import { startSystem, type TestSystem } from './support/system.js';

const cases = (['float32', 'bfloat16'] as const).flatMap((precision) =>
  [1, 2].map((shardsPerTask) => ({ precision, shardsPerTask })),
);
/** Beyond two short last mini-batches, with parameters of more than one block, so that each slice has work. */
const steps = 2 * syntheticStepsPerEpoch + 1;
const specOf = (training: object): object => syntheticSpec({ architecture: 'resnet20', steps, training });

const plain = new Map<object, Hashes>();
beforeAll(async () => {
  for (const training of cases) {
    const outcome = await trainPlainly(specOf(training));
    expect(outcome.steps).toBe(steps);
    plain.set(training, hashesOf(outcome));
  }
});

it('each case has bits of its own, as the wire of bfloat16 rounds once per task', () => {
  const hashes = cases.map((training) => plain.get(training)!.stateSha256);
  // In float32 how shards are grouped into tasks changes no bit.
  expect(hashes[0]).toBe(hashes[1]);
  expect(new Set(hashes).size).toBe(3);
});

describe.each([
  { workers: 2, reducers: 1 },
  { workers: 1, reducers: 1 },
  { workers: 2, reducers: 3 },
  { workers: 2, reducers: 2, memory: 'off' },
])('$workers workers, $reducers slices, shared memory $memory', ({ workers, reducers, memory }) => {
  let system: TestSystem;
  beforeAll(async () => {
    const environment: Record<string, string> = memory === undefined ? {} : { LOCKSTEP_SHARED_MEMORY_DIR: memory };
    system = await startSystem({ workers, reducers, environment });
    return () => system.stop();
  });

  it.each(cases)('end like the plain loop in $precision with $shardsPerTask shards per task', async (training) => {
    const job = await system.train(specOf(training));
    expect(hashesOf(job)).toEqual(plain.get(training));
    expect(job.version).toBe(steps);
    await expectCleanAudit(system, job.id, steps);
    if (workers === 2 && training.shardsPerTask === 1) {
      expect(await contributors(system, job.id)).toEqual(['worker-1', 'worker-2']);
    }
  });
});

describe('two workers', () => {
  let system: TestSystem;
  beforeAll(async () => {
    system = await startSystem({ workers: 2, reducers: 2 });
    return () => system.stop();
  });

  it('end like the plain loop on the real CIFAR-10, augmented', async () => {
    const spec = cifarSpec({ training: { precision: 'bfloat16' } });
    const [job, outcome] = [await system.train(spec), await trainPlainly(spec)];
    expect(hashesOf(job)).toEqual(hashesOf(outcome));
    await expectCleanAudit(system, job.id, outcome.steps);
  });

  it('end the same after a pause in the middle', async () => {
    const spec = syntheticSpec({ steps: 60 });
    const { api } = system;
    const id = await api.submit(spec);
    await api.untilJob(id, ({ step }) => step >= 7);
    await api.act(id, 'pause');
    const paused = await api.untilState(id, 'paused');
    expect(paused.step).toBeGreaterThanOrEqual(7);
    expect(paused.step).toBeLessThan(60);
    await api.act(id, 'resume');
    const job = await api.untilState(id, 'completed');
    expect(hashesOf(job)).toEqual(hashesOf(await trainPlainly(spec)));
    await expectCleanAudit(system, id, 60);
  });

  it('evaluate like the plain loop', async () => {
    const spec = syntheticSpec({ steps: syntheticStepsPerEpoch, rest: { evaluation: { everyEpochs: 1 } } });
    const [job, { evaluation }] = [await system.train(spec), await trainPlainly(spec)];
    expect(job.test).toMatchObject({ step: syntheticStepsPerEpoch });
    const { lossSum, top1Hits, samples } = evaluation!;
    expect(job.test?.top1).toBe(top1Hits / samples);
    expect(job.test?.loss).toBeCloseTo(lossSum / samples, 5);
  });
});
