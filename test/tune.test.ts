// `lockstep tune` on a small net, with real engine processes: figures for each setting, and a recommendation among them.
// Refuses to judge which setting is quickest: that is the machine's to say.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cliEntry } from './support/system.js';

interface Setting {
  readonly workers: number;
  readonly threads: number;
  readonly shardSize: number;
  readonly shardsPerTask: number;
}
interface Answer {
  readonly measured: readonly (Setting & { readonly imagesPerSecond: number; readonly workerBytes: number })[];
  readonly skipped: readonly (Setting & { readonly why: string })[];
  readonly recommended: {
    readonly spec: { readonly training: { readonly shardSize: number; readonly shardsPerTask: number } };
    readonly workers: number;
    readonly threads: number;
  };
}

let folder: string;
let file: string;
const run = (...args: string[]) => promisify(execFile)(process.execPath, [cliEntry, 'tune', ...args]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-tune-'));
  file = join(folder, 'job.yaml');
  await writeFile(
    file,
    `model: { architecture: resnet8 }
dataset: { kind: synthetic, size: 256, classes: 10, imageSize: 32 }
training: { steps: 1, batchSize: 64, shardSize: 16 }
`,
  );
});
afterAll(() => rm(folder, { recursive: true }));

test('measures settings and recommends one of them', async () => {
  const { stdout, stderr } = await run(file, '--run-seconds', '1', '--json');
  const { measured, recommended } = JSON.parse(stdout) as Answer;
  // Ways to share the cores at the spec's own shards, then other shards.
  expect(measured[0]).toMatchObject({ shardSize: 16, shardsPerTask: 1 });
  expect(new Set(measured.map(({ shardSize }) => shardSize)).size).toBeGreaterThan(1);
  for (const { imagesPerSecond, workerBytes } of measured) {
    expect(imagesPerSecond).toBeGreaterThan(0);
    expect(workerBytes).toBeGreaterThan(50e6);
  }
  const { workers, threads, spec } = recommended;
  expect(measured).toContainEqual(expect.objectContaining({ workers, threads, ...spec.training }));
  expect(stderr).toContain('s left');
});

test('shows a table, the fragment and what the choice means; settings beyond the memory are left out, saying so', async () => {
  const large = [
    '--set',
    'model.architecture=resnet152',
    '--set',
    'dataset.imageSize=224',
    '--set',
    'dataset.size=8192',
  ];
  const { stdout } = await run(
    file,
    ...large,
    '--set',
    'training.batchSize=8192',
    '--set',
    'training.shardSize=4096',
    '--json',
  );
  const { measured, skipped } = JSON.parse(stdout) as Answer;
  expect(measured).toEqual([]);
  expect(skipped.length).toBeGreaterThan(0);
  for (const { why } of skipped) expect(why).toMatch(/^needs [\d.]+ GB of [\d.]+ GB$/);
  const table = await run(file, '--run-seconds', '1', '--set', 'training.batchSize=16');
  expect(table.stdout).toMatch(/--set training\.shardSize=\d+ --set training\.shardsPerTask=1/);
  expect(table.stdout).toMatch(/LOCKSTEP_THREADS=\d+ npx lockstep up --workers \d+/);
  expect(table.stdout).toContain('part of what determines the bits');
});

test('a wrong spec is wrong usage', async () => {
  await expect(run(file, '--set', 'training.shardSize=0')).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('training.shardSize') as unknown,
  });
});
