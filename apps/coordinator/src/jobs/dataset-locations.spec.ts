import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ensureFolderIndex } from '#model/datasets/image-folder.js';
import { addFiles, smallFolder } from '#model/datasets/image-files.fixture.js';
import { resolveJobSpec, SpecError } from '#model/job-spec.js';
import { DatasetIndexing } from './dataset-indexing.js';
import { DatasetLocations } from './dataset-locations.js';
import { datasetProblem, joined } from './dataset-problem.js';
import { newRecord, withDataset } from './new-record.js';

let dataDir: string;
let locations: DatasetLocations;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'lockstep-locations-'));
  await mkdir(join(dataDir, 'datasets'));
  locations = new DatasetLocations({
    dataDir,
    cacheDir: join(dataDir, 'cache'),
    access: { datasetsFolder: join(dataDir, 'datasets'), urlPrefixes: ['https://data.example/sets'] },
    indexing: new DatasetIndexing(),
    fetchCifar10: async () => 'fetched',
    findCifar10: async () => undefined,
  });
});
afterEach(() => rm(dataDir, { recursive: true }));

const specOf = (dataset: object) => resolveJobSpec({ model: { architecture: 'resnet18', classes: 2 }, dataset });

function refusal(dataset: object): string {
  try {
    locations.check(specOf(dataset));
  } catch (error) {
    if (error instanceof SpecError) return error.message;
    throw error;
  }
  return '';
}

describe('what is not there or not allowed is refused with its field', () => {
  test.each([
    [{ kind: 'imagefolder', path: 'none' }, /^dataset.path there is no none in .*datasets$/],
    [{ kind: 'imagefolder', path: 'imagenet-sample' }, /`npx lockstep dataset prepare imagenet-sample` makes it/],
    [{ kind: 'imagefolder', path: 'empty' }, /^dataset.path has no folder train in .*train\/<class>\//],
    [
      { kind: 'webdataset', train: 'a-{0..1}.tar' },
      /^dataset.train names an archive that is not there: there is no a-1.tar/,
    ],
    [
      { kind: 'webdataset', train: 'a-0.tar', test: 'https://data.example/other/b.tar' },
      /^dataset.test lies outside what LOCKSTEP_DATASET_URLS allows/,
    ],
    [{ kind: 'webdataset', train: 'a-{1..0}.tar' }, /^dataset.train cannot be used: The range/],
  ])('%j', async (dataset, message) => {
    await mkdir(join(dataDir, 'datasets/empty'));
    await writeFile(join(dataDir, 'datasets/a-0.tar'), '');
    expect(refusal(dataset)).toMatch(message);
  });

  test('and what is, is not', async () => {
    await addFiles(join(dataDir, 'datasets/pets'), await smallFolder());
    for (const dataset of [
      { kind: 'imagefolder', path: 'pets' },
      { kind: 'webdataset', train: 'https://data.example/sets/a-{0..9}.tar' },
    ])
      expect(refusal(dataset)).toBe('');
    locations.check(resolveJobSpec({ model: { architecture: 'resnet20' }, dataset: { kind: 'cifar10' } }));
  });
});

test('classes are counted before anything is indexed, training images are known afterwards', async () => {
  const root = join(dataDir, 'datasets/pets');
  await addFiles(root, await smallFolder());
  const dataset = { kind: 'imagefolder', path: 'pets' };
  expect(await locations.classesOf(dataset)).toBe(2);
  expect(await locations.trainCountOf(specOf(dataset))).toBeUndefined();
  await ensureFolderIndex(root);
  expect(await locations.trainCountOf(specOf(dataset))).toBe(4);
  await expect(locations.classesOf({ kind: 'imagefolder', path: 'none' })).rejects.toThrow('there is no none');
  await expect(locations.classesOf({ kind: 'webdataset', train: 'a.tar' })).rejects.toThrow(
    /dataset.classes is missing: these archives are not indexed/,
  );
  for (const nonsense of [
    { kind: 'imagefolder', path: '../x' },
    { kind: 'imagefolder', path: 5 },
    { kind: 'webdataset', train: [] },
  ]) {
    expect(await locations.classesOf(nonsense)).toBeUndefined();
  }
});

test('a dataset that a job cannot be trained on is told in a sentence', () => {
  const record = {
    spec: specOf({ kind: 'webdataset', train: 'a.tar', test: 'b.tar' }),
    datasetHash: 'x'.repeat(64),
    datasetContentsHash: null,
    reached: { step: 1 } as never,
  };
  const dataset = { trainCount: 500, testCount: 10, indexHash: 'x'.repeat(64), contentsHash: null };
  expect(datasetProblem(record, dataset)).toBeUndefined();
  expect(datasetProblem(record, { ...dataset, indexHash: 'y'.repeat(64) })).toMatch(
    /is not the one that the job began with/,
  );
  expect(datasetProblem({ ...record, reached: { step: 0 } as never }, { ...dataset, indexHash: 'y' })).toBeUndefined();
  expect(datasetProblem(record, { ...dataset, trainCount: 50 })).toMatch(
    /batchSize is 128, and the dataset has 50 training images/,
  );
  expect(datasetProblem(record, { ...dataset, testCount: 0 })).toMatch(/everyEpochs 0/);
});

test('contents are compared where both sides have read them', () => {
  const spec = specOf({ kind: 'imagefolder', path: 'pets', classes: 2 });
  const images = { trainCount: 500, testCount: 10, indexHash: 'x'.repeat(64) };
  const record = { ...newRecord('j', spec, 0, undefined), reached: { step: 1 } as never };
  const problemAfter = (began: string | null, now: string | null): string | undefined =>
    datasetProblem(
      { ...record, ...withDataset(record, { ...images, contentsHash: began }), reached: record.reached },
      { ...images, contentsHash: now },
    );
  for (const [began, now] of [
    [null, null],
    [null, 'a'],
    ['a', null],
    ['a', 'a'],
  ] as const)
    expect(problemAfter(began, now), `${began} ${now}`).toBeUndefined();
  expect(problemAfter('a', 'b')).toMatch(
    /is not the one that the job began with \(files of the same names and lengths have other contents: their hash is b…, not a…\): put it back/,
  );
  // What was known once stays known, also after an index without contents.
  const known = { ...record, ...withDataset(record, { ...images, contentsHash: 'a' }), reached: record.reached };
  expect(withDataset(known, { ...images, contentsHash: null }).datasetContentsHash).toBe('a');
  const atStart = { ...known, reached: { step: 0 } as never };
  expect(withDataset(atStart, { ...images, contentsHash: null }).datasetContentsHash).toBeNull();
  // A record of before there were two hashes.
  const older = { ...record, datasetHash: 'full', datasetContentsHash: null };
  expect(datasetProblem(older, { ...images, contentsHash: 'full' })).toBeUndefined();
  expect(datasetProblem(older, { ...images, contentsHash: 'other' })).toMatch(/its index has the hash xxxxxxxxxxxx…/);
});

test('notes are told once', () => {
  expect([joined(null, 'b'), joined('a', null), joined('a', 'b'), joined('a b', 'b')]).toEqual([
    'b',
    'a',
    'a b',
    'a b',
  ]);
});
