// Datasets between processes and hosts: what a worker does not see is fetched from the coordinator, and an indexing survives a kill.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tarOf } from '#model/datasets/archives.fixture.js';
import {
  CIFAR10_RECORD_BYTES,
  CIFAR10_TEST_FILE,
  CIFAR10_TRAIN_FILES,
  cifar10Hash,
  type Cifar10Files,
  type DataFile,
  filesOfFolder,
} from '#model/datasets/cifar10-files.js';
import type { ImageFilesSpec } from '#model/datasets/decoded-images.js';
import { ensureFolderIndex, findFolderIndex } from '#model/datasets/image-folder.js';
import { addFiles, files, repainted, smallFolder } from '#model/datasets/image-files.fixture.js';
import { indexFileName } from '#model/datasets/index-places.js';
import { ensureArchiveIndex } from '#model/datasets/web-dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { loadConfig } from '../apps/coordinator/src/config.js';
import { startTestApplication, type TestApplication } from '../apps/coordinator/src/http/testing.js';
import { coordinatorGet } from '../apps/worker/src/coordinator-get.js';
import { DatasetFiles } from '../apps/worker/src/dataset-files.js';
import { hashesOf } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { cifarSpec } from './support/specs.js';
import { startSystem } from './support/system.js';

const specOf = (dataset: object): ImageFilesSpec =>
  resolveJobSpec({ model: { architecture: 'resnet18' }, dataset: { classes: 2, ...dataset } })
    .dataset as ImageFilesSpec;

describe('a worker on another host', () => {
  let app: TestApplication;
  let datasets: string;
  let cacheDir: string;
  const token = 'the-worker-token';
  beforeEach(async () => {
    app = await startTestApplication({ LOCKSTEP_WORKER_TOKEN: token, LOCKSTEP_API_TOKENS: 'admin:another' });
    datasets = path.join(app.directory, 'datasets');
    cacheDir = await mkdtemp(path.join(tmpdir(), 'lockstep-worker-cache-'));
  });
  afterEach(async () => {
    await app.stop();
    await rm(cacheDir, { recursive: true });
  });

  function filesOf(
    datasetHash: string,
    datasetIndex: string,
    { presented = token, datasetContentsHash = '', datasetFiles = [] as readonly DataFile[] } = {},
  ): DatasetFiles {
    const datasetsUrl = `${app.url}/api/v1/datasets`;
    const facts = { datasetHash, datasetContentsHash, datasetFiles, datasetIndex, datasetsUrl };
    return new DatasetFiles(facts, { access: { cacheDir }, get: coordinatorGet(presented, undefined) });
  }

  it('fetches a folder: its index and, once each, its images', async () => {
    const contents = await smallFolder();
    const root = path.join(datasets, 'pets');
    await addFiles(root, { ...contents, 'train/dog/a b#%?.jpg': await files.jpeg(50) });
    const { hash } = await ensureFolderIndex(root);
    const spec = specOf({ kind: 'imagefolder', path: 'pets' });
    const images = await filesOf(hash, `pets/${indexFileName}`).open(spec, '/not/on/this/host');
    expect([images.indexHash, images.trainCount]).toEqual([hash, 5]);
    expect(Buffer.from(await images.read('train', 0))).toEqual(contents['train/cat/1.JPEG']);
    expect(Buffer.from(await images.read('train', 4))).toEqual(await files.jpeg(50));
    // What was fetched before is there without the coordinator.
    await app.stop();
    const again = await filesOf(hash, `pets/${indexFileName}`).open(spec, '/not/on/this/host');
    expect(Buffer.from(await again.read('train', 0))).toEqual(contents['train/cat/1.JPEG']);
    app = await startTestApplication();
  });

  it('reads the folder itself where it sees it', async () => {
    const root = path.join(datasets, 'pets');
    await addFiles(root, await smallFolder());
    const { hash } = await ensureFolderIndex(root);
    const images = await filesOf(hash, '').open(specOf({ kind: 'imagefolder', path: 'pets' }), root);
    expect(images.nameOf('train', 0)).toBe(path.join(root, 'train/cat/1.JPEG'));
  });

  it('takes the checksums that the coordinator has, and does without where it cannot have them', async () => {
    const contents = await smallFolder();
    const [here, there] = [path.join(cacheDir, 'pets'), path.join(datasets, 'pets')];
    for (const root of [here, there]) await addFiles(root, contents);
    const quick = await ensureFolderIndex(here);
    const full = await ensureFolderIndex(there, {}, { full: true });
    const spec = specOf({ kind: 'imagefolder', path: 'pets' });
    const datasetContentsHash = full.contentsHash!;
    const checked = await filesOf(quick.hash, `pets/${indexFileName}`, { datasetContentsHash }).open(spec, here);
    expect(checked).toMatchObject({ indexHash: quick.hash, contentsHash: full.contentsHash });
    expect(checked.nameOf('train', 0)).toBe(path.join(here, 'train/cat/1.JPEG'));
    await rm(path.join(cacheDir, 'indexes'), { recursive: true });
    const unchecked = await filesOf(quick.hash, '', { datasetContentsHash }).open(spec, here);
    expect(unchecked).toMatchObject({ indexHash: quick.hash, contentsHash: null });
    // Both have read their files, and one is another.
    await addFiles(here, { 'train/cat/1.JPEG': repainted(contents['train/cat/1.JPEG']!) });
    expect((await ensureFolderIndex(here, {}, { full: true })).hash).toBe(quick.hash);
    const differing = filesOf(quick.hash, '', { datasetContentsHash });
    await expect(differing.open(spec, here)).rejects.toThrow(/the coordinator cannot serve it/);
    const found = await filesOf(quick.hash, `pets/${indexFileName}`, { datasetContentsHash }).open(spec, here);
    await expect(found.read('train', 0)).rejects.toThrow(/1.JPEG has changed .* its checksum is another one/);
  });

  it('fetches a file anew that was overwritten and read again', async () => {
    const root = path.join(datasets, 'pets');
    const contents = await smallFolder();
    await addFiles(root, contents);
    const spec = specOf({ kind: 'imagefolder', path: 'pets' });
    const read = async (): Promise<Uint8Array> => {
      const { hash, contentsHash } = await ensureFolderIndex(root, {}, { full: true, lookAgain: true });
      const facts = { datasetContentsHash: contentsHash! };
      const images = await filesOf(hash, `pets/${indexFileName}`, facts).open(spec, '/not/on/this/host');
      return images.read('train', 0);
    };
    await read();
    const other = repainted(contents['train/cat/1.JPEG']!);
    await addFiles(root, { 'train/cat/1.JPEG': other });
    expect(Buffer.from(await read())).toEqual(other);
  });

  it('fetches pieces of archives', async () => {
    await mkdir(datasets, { recursive: true });
    await writeFile(
      path.join(datasets, 'a.tar'),
      await tarOf({ '1.jpg': await files.jpeg(1), '1.cls': '0', '2.jpg': await files.jpeg(2), '2.cls': '1' }),
    );
    const spec = specOf({ kind: 'webdataset', train: 'a.tar' });
    const index = await ensureArchiveIndex({ train: 'a.tar', test: null }, datasets);
    const images = await filesOf(index.hash, path.relative(datasets, index.file)).open(spec, '/not/on/this/host');
    expect(Buffer.from(await images.read('train', 1))).toEqual(await files.jpeg(2));
  });

  describe('that has no CIFAR-10', () => {
    const { dataset: spec } = resolveJobSpec({ preset: 'resnet20-cifar10' }) as { dataset: { path: string } };
    const perFile = 3;
    let cifar: Cifar10Files;
    beforeEach(async () => {
      const folder = path.join(datasets, spec.path);
      await mkdir(folder, { recursive: true });
      for (const [number, name] of [...CIFAR10_TRAIN_FILES, CIFAR10_TEST_FILE].entries()) {
        const records = new Uint8Array(perFile * CIFAR10_RECORD_BYTES).map((_, at) => (at * 7 + number) % 10);
        await writeFile(path.join(folder, name), records);
      }
      cifar = await filesOfFolder(folder);
    });

    const opened = (presented?: string): Promise<Cifar10Files> => {
      const asked = { datasetFiles: cifar.list, ...(presented === undefined ? {} : { presented }) };
      return filesOf(cifar10Hash(cifar), '', asked).openCifar10(spec, '/not/on/this/host');
    };

    it('fetches its files, once each', async () => {
      const fetched = await opened();
      expect([fetched.list, cifar10Hash(fetched)]).toEqual([cifar.list, cifar10Hash(cifar)]);
      const [first, last] = [cifar.list[0]!, cifar.list.at(-1)!];
      for (const file of [first, last]) expect(Buffer.from(await fetched.read(file))).toEqual(await cifar.read(file));
      const again = await opened();
      const before = await cifar.read(first);
      await app.stop();
      expect(await again.read(first)).toEqual(before);
      app = await startTestApplication();
    });

    it('does not take a kept or a served file that is another one', async () => {
      const [file] = cifar.list;
      await (await opened()).read(file!);
      const kept = path.join(cacheDir, 'dataset-pieces/files', file!.sha256);
      await writeFile(kept, new Uint8Array(file!.bytes));
      expect(Buffer.from(await (await opened()).read(file!))).toEqual(await cifar.read(file!));
      await rm(kept);
      await writeFile(path.join(datasets, spec.path, file!.name), new Uint8Array(file!.bytes));
      await expect((await opened()).read(file!)).rejects.toThrow(/data_batch_1.bin has changed since the job began/);
      await expect((await opened('wrong')).read(file!)).rejects.toThrow(/HTTP status 40[13]/);
    });

    it('reads the folder itself where it is the same', async () => {
      const [here, other] = [path.join(cacheDir, 'same'), path.join(cacheDir, 'other')];
      for (const copy of [here, other]) await cp(path.join(datasets, spec.path), copy, { recursive: true });
      await writeFile(path.join(other, CIFAR10_TEST_FILE), new Uint8Array(CIFAR10_RECORD_BYTES));
      const asked = filesOf(cifar10Hash(cifar), '', { datasetFiles: cifar.list });
      const [file] = cifar.list;
      expect((await asked.openCifar10(spec, here)).nameOf(file!)).toBe(path.join(here, file!.name));
      expect((await asked.openCifar10(spec, other)).nameOf(file!)).toMatch(/^http:.*data_batch_1.bin$/);
    });
  });

  it('says what is wrong where it may not, or where the dataset is another one', async () => {
    const root = path.join(datasets, 'pets');
    await addFiles(root, await smallFolder());
    const { hash } = await ensureFolderIndex(root);
    const spec = specOf({ kind: 'imagefolder', path: 'pets' });
    await expect(filesOf(hash, `pets/${indexFileName}`, { presented: 'wrong' }).open(spec, '/nowhere')).rejects.toThrow(
      /The dataset is not at \/nowhere on this host, and cannot be fetched from the coordinator: .*HTTP status 40[13]/,
    );
    await expect(filesOf('0'.repeat(64), `pets/${indexFileName}`).open(spec, '/nowhere')).rejects.toThrow(
      /the dataset has changed since it began/,
    );
    await expect(filesOf(hash, '').open(spec, '/nowhere')).rejects.toThrow(/the coordinator cannot serve it/);
    const images = await filesOf(hash, `pets/${indexFileName}`).open(spec, '/nowhere');
    await writeFile(path.join(root, 'train/cat/2.jpg'), 'shorter');
    await expect(images.read('train', 1)).rejects.toThrow(/2.jpg has changed since it was indexed/);
    await rm(path.join(root, 'train/cat/1.JPEG'));
    await expect(images.read('train', 0)).rejects.toThrow(/1.JPEG cannot be read: HTTP status 404/);
  });
});

describe('a worker with an empty cache', () => {
  it('trains on CIFAR-10, which only the coordinator has, to the same bits', async () => {
    const { cacheDir } = loadConfig(process.env);
    // What lies in its working directory, others do not see under this name.
    const system = await startSystem({
      workers: 0,
      coordinatorFolder: cacheDir,
      environment: { LOCKSTEP_CACHE_DIR: '/proc/self/cwd' },
    });
    const cache = path.join(system.dataDir, 'worker-cache');
    system.addWorker({ LOCKSTEP_CACHE_DIR: cache }).start();
    const spec = cifarSpec({ architecture: 'resnet8', steps: 2 });
    expect(hashesOf(await system.train(spec))).toEqual(hashesOf(await trainPlainly(spec)));
    expect(await readdir(path.join(cache, 'dataset-pieces/files'))).toHaveLength(CIFAR10_TRAIN_FILES.length);
  });
});

describe('lockstep dataset index', () => {
  const main = path.join(import.meta.dirname, '../dist/apps/coordinator/src/cli/main.js');

  it('goes on after a kill, and gives what an indexing in one piece gives', async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'lockstep-index-'));
    const root = path.join(dataDir, 'datasets/many');
    const image = await files.jpeg(1);
    const contents: Record<string, Uint8Array> = {};
    for (let name = 0; name < 12_000; name++) contents[`train/${name % 3}/${name}.jpg`] = image;
    await addFiles(root, contents);
    const environment = { ...process.env, LOCKSTEP_DATA_DIR: dataDir };
    const journal = path.join(root, `${indexFileName}.journal`);
    const killed = spawn(process.execPath, [main, 'dataset', 'index', 'many'], { env: environment, stdio: 'ignore' });
    const ended = once(killed, 'exit');
    // Killed as soon as the first folder's findings are on the disk.
    for (let bytes = 0; bytes < 10_000 && killed.exitCode === null;) {
      bytes = (await stat(journal).catch(() => undefined))?.size ?? 0;
      await new Promise(setImmediate);
    }
    killed.kill('SIGKILL');
    await ended;
    expect(await findFolderIndex(root)).toBeUndefined();
    const lines = (await readFile(journal, 'utf8')).split('\n').length;
    expect(lines).toBeGreaterThan(1);
    const child = spawn(process.execPath, [main, 'dataset', 'index', 'many', '--json'], { env: environment });
    let text = '';
    child.stdout.on('data', (piece) => (text += String(piece)));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(0);
    const answer = JSON.parse(text) as { hash: string; train: number };
    expect(answer.train).toBe(12_000);
    await rm(path.join(root, indexFileName));
    expect((await ensureFolderIndex(root)).hash).toBe(answer.hash);
    expect((await readdir(root)).toSorted()).toEqual([indexFileName, 'train']);
    await rm(dataDir, { recursive: true });
  });
});
