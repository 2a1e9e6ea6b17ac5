// Datasets between processes and hosts: what a worker does not see is fetched from the coordinator, and an indexing survives a kill.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tarOf } from '#model/datasets/archives.fixture.js';
import type { ImageFilesSpec } from '#model/datasets/decoded-images.js';
import { ensureFolderIndex, findFolderIndex } from '#model/datasets/image-folder.js';
import { addFiles, files, repainted, smallFolder } from '#model/datasets/image-files.fixture.js';
import { indexFileName } from '#model/datasets/index-places.js';
import { ensureArchiveIndex } from '#model/datasets/web-dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { startTestApplication, type TestApplication } from '../apps/coordinator/src/http/testing.js';
import { coordinatorGet } from '../apps/worker/src/coordinator-get.js';
import { DatasetFiles } from '../apps/worker/src/dataset-files.js';

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
    { presented = token, datasetContentsHash = '' } = {},
  ): DatasetFiles {
    const facts = { datasetHash, datasetContentsHash, datasetIndex, datasetsUrl: `${app.url}/api/v1/datasets` };
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
