import { describe, expect, it } from 'vitest';
import { openDataset } from './datasets/dataset.js';
import { trainInProcess } from './in-process-training.js';
import type { StepReport, TrainingOutcome } from './in-process-training.js';
import { resolveJobSpec } from './job-spec.js';
import type { JobSpec } from './job-spec.js';

function specOf(training: object, size = 100): JobSpec {
  return resolveJobSpec({
    model: { architecture: 'resnet8' },
    dataset: { kind: 'synthetic', size, testSize: 20, imageSize: 16 },
    training: { batchSize: 24, shardSize: 6, steps: 6, ...training },
  });
}

async function train(spec: JobSpec, steps?: number): Promise<{ outcome: TrainingOutcome; reports: StepReport[] }> {
  const dataset = await openDataset(spec.dataset, '');
  const reports: StepReport[] = [];
  const outcome = await trainInProcess(spec, dataset, {
    ...(steps && { steps }),
    onStep: (report) => reports.push(report),
  });
  await dataset.close();
  return { outcome, reports };
}

describe('training in one process', () => {
  it.each(['float32', 'bfloat16'])(
    'overfits one batch in %s',
    async (precision) => {
      const schedule = { kind: 'constant', learningRate: 0.05 };
      const spec = specOf({ precision, schedule, steps: 40, batchSize: 16, shardSize: 8 }, 16);
      const { reports } = await train(spec);
      expect(reports[0]!.loss).toBeGreaterThan(2);
      expect(reports.at(-1)!.loss).toBeLessThan(0.05);
      expect(reports.at(-1)!.top1).toBe(1);
    },
    60_000,
  );

  it('gives the same bits twice, others for another seed, and the same for every cut into tasks on a float32 wire', async () => {
    const { outcome } = await train(specOf({}));
    expect(outcome.parametersSha256).toMatch(/^[0-9a-f]{64}$/);
    expect((await train(specOf({}))).outcome.stateSha256).toBe(outcome.stateSha256);
    for (const shardsPerTask of [2, 4]) {
      expect((await train(specOf({ shardsPerTask }))).outcome.stateSha256).toBe(outcome.stateSha256);
    }
    expect((await train(specOf({ seed: 2 }))).outcome.stateSha256).not.toBe(outcome.stateSha256);
  }, 60_000);

  it('counts steps, epochs and samples, with a short last mini-batch and an evaluation per epoch', async () => {
    const { outcome, reports } = await train(specOf({ steps: 6 }));
    expect(reports.map(({ epoch, samples }) => [epoch, samples])).toEqual([
      [0, 24],
      [0, 24],
      [0, 24],
      [0, 24],
      [0, 4],
      [1, 24],
    ]);
    expect(outcome.steps).toBe(6);
    expect(outcome.evaluation).toMatchObject({ version: 6, epoch: 1, samples: 20 });
    expect((await train(specOf({ steps: 6 }), 2)).outcome.steps).toBe(2);
  });

  it('rounds each task once where the wire is bfloat16', async () => {
    const hash = async (training: object): Promise<string> =>
      (await train(specOf({ steps: 2, ...training }))).outcome.stateSha256;
    const [exact, rounded, coarser] = [
      await hash({}),
      await hash({ wire: 'bfloat16' }),
      await hash({ wire: 'bfloat16', shardsPerTask: 4 }),
    ];
    expect(new Set([exact, rounded, coarser]).size).toBe(3);
  });

  it('lowers the rate on a plateau of the test error, and smooths labels where told to', async () => {
    const plateau = { kind: 'plateau', learningRate: 1e-6, patience: 1, gamma: 0.5 };
    const spec = specOf({ steps: 20, schedule: plateau });
    const { outcome, reports } = await train(spec);
    const rates = [...new Set(reports.map(({ learningRate }) => learningRate))];
    // Next to nothing is learnt at such a rate: the first evaluation sets the mark, the next two lower the rate.
    expect(rates).toEqual([1e-6, 0.5e-6, 0.25e-6].map(Math.fround));
    expect(reports.findIndex(({ learningRate }) => learningRate < Math.fround(1e-6))).toBe(10);
    expect(outcome.scheduleState).toMatchObject({ kind: 'plateau', reductions: 2, waited: 0 });
    const hard = await train(specOf({ steps: 1 }));
    const smooth = await train(specOf({ steps: 1, labelSmoothing: 0.1 }));
    expect(smooth.outcome.stateSha256).not.toBe(hard.outcome.stateSha256);
    expect(smooth.reports[0]!.loss).not.toBe(hard.reports[0]!.loss);
  }, 60_000);

  it('stops with the step when numbers are no longer finite', async () => {
    const spec = specOf({ schedule: { kind: 'constant', learningRate: 1e38 } });
    await expect(train(spec)).rejects.toThrow(/step \d gave parameters that are not finite/);
  });
});
