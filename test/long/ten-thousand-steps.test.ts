// Ten thousand small steps leave memory flat on both sides: resident memory of every process, the coordinator's heap, the
// workers' tensors. Refuses to look at what a few hundred steps show already; that is flatness.test.ts's.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { expectCleanAudit } from '../support/outcomes.js';
import { startSystem, type TestSystem } from '../support/system.js';

const steps = 10_000;
/** By when caches, pools, kept series and just-in-time compilers have what they want. */
const settledAt = 2_500;
const sampleEvery = 100;
/** Between two collections of garbage a sample says little: of so many the least counts. */
const window = 10;
/**
 * What a process may grow by in the steps after that, by the line that fits these least ones best. Two kilobytes that each
 * step leaves behind would be 15 MB.
 */
const allowedBytes = 12e6;
const minutes = 60_000;

/** As little computing as there can be in a step of two tasks: it is the steps that count. */
const spec = {
  model: { architecture: 'resnet8' },
  dataset: { kind: 'synthetic', size: 401, testSize: 40, classes: 10, imageSize: 8 },
  training: { steps, batchSize: 4, shardSize: 2, schedule: { kind: 'constant', learningRate: 0.01 } },
  evaluation: { everyEpochs: 10 },
  checkpoint: { everySteps: 500, keep: 2 },
};

type Sample = Readonly<Record<string, number>> & { readonly step: number };

it(
  'ten thousand steps leave nothing behind',
  async () => {
    const system = await startSystem({ workers: 2, reducers: 2 });
    const id = await system.api.submit(spec);
    const samples: Sample[] = [];
    for (let next = sampleEvery; next <= steps - sampleEvery; next = samples.at(-1)!.step + sampleEvery) {
      const { step } = await system.api.untilJob(id, (job) => job.step >= next, 5 * minutes);
      samples.push({ step, ...(await bytesOf(system)) });
    }
    await system.api.untilState(id, 'completed', 5 * minutes);
    await expectCleanAudit(system, id, steps);
    const settled = samples.filter(({ step }) => step >= settledAt);
    expect(settled.length).toBeGreaterThan(5 * window);
    const names = Object.keys(settled[0]!).filter((name) => name !== 'step');
    const grown = Object.fromEntries(names.map((name) => [name, slope(settled, name) * (steps - settledAt)]));
    console.log(table(samples, names, grown));
    for (const [name, bytes] of Object.entries(grown)) expect(bytes, name).toBeLessThan(allowedBytes);
    const { tensors } = (await system.api.workers())[0]!;
    expect(tensors).toBeLessThan(1000);
  },
  60 * minutes,
);

/** Resident memory of each process and the coordinator's used heap, bytes. */
async function bytesOf({ api, coordinator, workers }: TestSystem): Promise<Record<string, number>> {
  const { text } = await api.request('/metrics');
  const heap = /^lockstep_nodejs_heap_size_used_bytes (\S+)/m.exec(text)?.[1];
  const resident = [coordinator, ...workers].map(({ name, pid }) => [name, residentBytes(pid)]);
  return { ...Object.fromEntries(resident), 'heap of the coordinator': Number(heap) };
}

function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Bytes per step of the line through the least sample of each window with the least squared distance. */
function slope(all: readonly Sample[], name: string): number {
  const samples = Array.from({ length: Math.floor(all.length / window) }, (_, index) =>
    all.slice(index * window, (index + 1) * window).reduce((least, one) => (one[name]! < least[name]! ? one : least)),
  );
  const mean = (of: (sample: Sample) => number) => samples.reduce((sum, one) => sum + of(one), 0) / samples.length;
  const [step, bytes] = [mean((one) => one.step), mean((one) => one[name]!)];
  const covariance = mean((one) => (one.step - step) * (one[name]! - bytes));
  return covariance / mean((one) => (one.step - step) ** 2);
}

function table(samples: readonly Sample[], names: readonly string[], grown: Readonly<Record<string, number>>): string {
  const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1).padStart(8);
  const shown = samples.filter((_, index) => index % 10 === 0);
  return [
    `step ${names.join(', ')}; MB`,
    ...shown.map((one) => `${String(one.step).padStart(6)} ${names.map((name) => megabytes(one[name]!)).join(' ')}`),
    ` grown ${names.map((name) => megabytes(grown[name]!)).join(' ')}`,
  ].join('\n');
}
