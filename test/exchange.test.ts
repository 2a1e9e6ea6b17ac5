// Trained nets leave and come back: evaluation by the pool, by one process and after export and import gives the same numbers,
// and a job starts from imported weights with the bits of the plain loop. Refuses to look at other libraries (parity/).
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCheckpointModel } from '#model/checkpoint.js';
import type { JobView } from '../apps/coordinator/src/jobs/ports.js';
import { picture } from '../libs/model/images/test-images.fixture.js';
import { hashesOf } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { syntheticSpec } from './support/specs.js';
import { cliEntry, startSystem, type TestSystem } from './support/system.js';

interface CommandEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Evaluated {
  readonly samples: number;
  readonly loss: number;
  readonly top1: number;
  readonly top5: number;
  readonly classes: readonly { readonly samples: number; readonly top1: number }[];
  readonly confusions: readonly { readonly count: number }[];
}

let system: TestSystem;
let folder: string;
let job: JobView;
let checkpoint: string;
const trained = syntheticSpec({ steps: 20, rest: { evaluation: { everyEpochs: 1, crops: 10 } } });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-exchange-'));
  system = await startSystem({ workers: 2, reducers: 2 });
  job = await system.train(trained);
  checkpoint = job.checkpoint!.path;
  return () => system.stop();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function lockstep(...args: string[]): Promise<CommandEnd> {
  return new Promise((resolve) => {
    const env = { ...system.environment, LOCKSTEP_URL: system.url };
    execFile(process.execPath, [cliEntry, ...args], { env, timeout: 90_000, cwd: folder }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

async function json<T>(...args: string[]): Promise<T> {
  const end = await lockstep(...args, '--json');
  expect(end, `${args.join(' ')}: ${end.stderr}`).toMatchObject({ code: 0 });
  return JSON.parse(end.stdout) as T;
}

describe('evaluation', () => {
  it('over ten crops is that of the plain loop, and of one process alone', async () => {
    const { evaluation } = await trainPlainly(trained);
    const { lossSum, top1Hits, samples } = evaluation!;
    expect(job.test).toMatchObject({ step: 20, top1: top1Hits / samples });
    expect(job.test?.loss).toBeCloseTo(lossSum / samples, 12);
    const alone = await json<Evaluated>('evaluate', '--checkpoint', checkpoint, '--crops', '10');
    expect(alone).toMatchObject({ samples, loss: lossSum / samples, top1: job.test?.top1, top5: job.test?.top5 });
  });

  it('of a checkpoint by the pool is that of one process alone', async () => {
    for (const views of [[], ['--crops', '10']]) {
      const alone = await json<Evaluated>('evaluate', '--checkpoint', checkpoint, ...views);
      const pool = await json<Evaluated & { job: string }>(
        'evaluate',
        '--checkpoint',
        checkpoint,
        ...views,
        '--url',
        system.url,
      );
      expect(pool).toMatchObject({ top1: alone.top1, top5: alone.top5 });
      expect(pool.loss).toBeCloseTo(alone.loss, 12);
      expect(await system.api.job(pool.job)).toMatchObject({ state: 'completed', step: 0, totalSteps: 0 });
      expect(await system.api.audit(pool.job)).toMatchObject({ clean: true, expected: 0 });
    }
  });

  it('counts class by class what it counts in all', async () => {
    const one = await json<Evaluated>('evaluate', '--checkpoint', checkpoint);
    const right = one.classes.reduce((sum, { samples, top1 }) => sum + samples * top1, 0);
    const wrong = one.confusions.reduce((sum, { count }) => sum + count, 0);
    expect(right).toBeCloseTo(one.top1 * one.samples, 9);
    expect(right + wrong).toBeCloseTo(one.samples, 9);
    const text = await lockstep('evaluate', '--checkpoint', checkpoint);
    expect(text.stdout).toMatch(/^40 images: loss \d.*, top-1 .* %, top-5 .* %\n\nCLASS +IMAGES +TOP-1 +TOP-5\n/);
  });

  it('of a net with itself is its own, but for the rounding of the mean', async () => {
    const one = await json<Evaluated>('evaluate', '--checkpoint', checkpoint);
    const twice = await json<Evaluated>('evaluate', '--checkpoint', checkpoint, '--checkpoint', checkpoint);
    expect(twice).toMatchObject({ top1: one.top1, top5: one.top5, confusions: one.confusions });
    expect(twice.loss).toBeCloseTo(one.loss, 5);
  });

  it('at sizes that the images do not have is refused', async () => {
    const end = await lockstep('evaluate', '--checkpoint', checkpoint, '--scales', '32,64');
    expect(end).toMatchObject({ code: 2, stdout: '' });
    expect(end.stderr).toContain('evaluation.scales must be empty for synthetic: its images come in one size');
  });
});

describe('export and import', () => {
  it('give back every bit, and the same evaluation', async () => {
    const file = join(folder, 'net.safetensors');
    await json('export', '--checkpoint', checkpoint, '--format', 'safetensors', '--out', file);
    const back = await json<{ path: string }>('import', file);
    expect(back).toMatchObject({ path: join(system.dataDir, 'imported/net/step-00000000'), architecture: 'resnet8' });
    const [before, after] = [checkpoint, back.path].map(readCheckpointModel);
    expect(after!.parameters).toEqual(before!.parameters);
    expect(after!.statistics).toEqual(before!.statistics);
    const dataset = JSON.stringify(job.spec.dataset);
    const evaluations = await Promise.all(
      [checkpoint, back.path, file].map((path) =>
        json<Evaluated>('evaluate', '--checkpoint', path, '--dataset', dataset, '--batch-size', '16'),
      ),
    );
    const [figures] = evaluations.map(({ loss, top1, top5 }) => ({ loss, top1, top5 }));
    for (const { loss, top1, top5 } of evaluations) expect({ loss, top1, top5 }).toEqual(figures);
    expect(await lockstep('import', file)).toMatchObject({ code: 2, stdout: '' });
  });

  it('say in a sentence what cannot be done', async () => {
    const text = join(folder, 'notes.txt');
    writeFileSync(text, 'not a net');
    for (const [args, code, sentence] of [
      [['export', '--checkpoint', checkpoint, '--format', 'onnx'], 2, /choices are safetensors, savedmodel/],
      [['export', '--checkpoint', join(folder, 'none'), '--format', 'savedmodel'], 2, /^There is no .*none/],
      [['export', '--checkpoint', checkpoint, '--format', 'savedmodel', '--out', folder], 2, /is there already/],
      [['import', text], 1, /notes\.txt is not a valid safetensors file/],
      [['evaluate', '--checkpoint', checkpoint, '--dataset', join(folder, 'none')], 2, /--dataset: there is no folder/],
      [['evaluate', '--checkpoint', checkpoint, '--architecture', 'resnet14'], 1, /holds a resnet8, not a resnet14/],
      [['predict', join(folder, 'none.png'), '--checkpoint', checkpoint], 2, /^There is no image/],
      [['predict', text, '--checkpoint', checkpoint], 1, /notes\.txt cannot be decoded/],
    ] as const) {
      const end = await lockstep(...args);
      expect(end.stderr, args.join(' ')).toMatch(sentence);
      expect(end, args.join(' ')).toMatchObject({ code, stdout: '' });
    }
  });
});

describe('predict', () => {
  it('names the five likeliest classes of each image', async () => {
    const images = await Promise.all(
      ['first.png', 'second.jpg'].map(async (name, index) => {
        const path = join(folder, name);
        await picture(60, 48, index).toFile(path);
        return path;
      }),
    );
    const labels = join(folder, 'labels.txt');
    writeFileSync(labels, Array.from({ length: 10 }, (_, index) => `class ${index}`).join('\n'));
    type Predictions = { image: string; top: { index: number; label: string; probability: number }[] }[];
    const predictions = await json<Predictions>('predict', ...images, '--checkpoint', checkpoint, '--labels', labels);
    expect(predictions.map(({ image }) => image)).toEqual(images);
    for (const { top } of predictions) {
      expect(top).toHaveLength(5);
      for (const { index, label } of top) expect(label).toBe(`class ${index}`);
      const shares = top.map(({ probability }) => probability);
      expect(shares).toEqual(shares.toSorted((a, b) => b - a));
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeLessThanOrEqual(1 + 1e-9);
    }
    const text = await lockstep('predict', images[0]!, '--checkpoint', checkpoint);
    expect(text.stdout.split('\n')).toHaveLength(1 + 5 + 1);
  });
});

describe('fine-tuning', () => {
  it('starts from the weights with a new head, and ends with the bits of the plain loop', async () => {
    const path = checkpoint.slice(system.dataDir.length + 1);
    const spec = {
      dataset: { kind: 'synthetic', size: 96, testSize: 20, classes: 5, imageSize: 32, seed: 2 },
      initialWeights: { path },
      training: { steps: 4, batchSize: 32, shardSize: 8, schedule: { learningRate: 0.01 } },
      evaluation: { everyEpochs: 0 },
      checkpoint: { everySteps: 0 },
    };
    const tuned = await system.train(spec);
    expect(tuned.spec.model).toMatchObject({ architecture: 'resnet8', classes: 5 });
    expect(tuned.spec.initialWeights).toMatchObject({ path, head: 'new', sha256: job.parametersSha256 });
    const weights = { checkpoint, head: 'new', sha256: job.parametersSha256! } as const;
    const plain = await trainPlainly(tuned.spec, { weights });
    expect(hashesOf(tuned)).toEqual(hashesOf(plain));
    const start = readCheckpointModel(join(tuned.checkpoint!.path, '../step-00000000'));
    const before = readCheckpointModel(checkpoint);
    expect(start.statistics).toEqual(before.statistics);
    const head = 64 * 10 + 10;
    const body = before.parameters.subarray(0, before.parameters.length - head);
    expect(start.parameters.subarray(0, body.length)).toEqual(body);
  });

  it('is refused at once where the weights are not there or do not fit', async () => {
    const spec = { ...syntheticSpec(), initialWeights: { path: 'imported/none' } };
    await expect(system.api.submit(spec)).rejects.toThrow(/422/);
    const manifest = JSON.parse(readFileSync(join(checkpoint, 'manifest.json'), 'utf8')) as { spec: object };
    expect(manifest.spec).toMatchObject({ initialWeights: null });
  });
});
