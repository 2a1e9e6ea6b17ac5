import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resolveJobSpec, type DatasetSpec } from '../job-spec.js';
import { archiveNames } from './archive-names.js';
import { ArchiveOpener, cacheOf } from './archive-source.js';
import { pieceOf, RangeServer, tarOf } from './archives.fixture.js';
import { isAllowedUrl, type DatasetAccess } from './dataset-access.js';
import { files, folderOf, problemOf } from './image-files.fixture.js';
import { findIndex, placesOfArchives } from './index-places.js';
import { ensureArchiveIndex, imagesOfArchives, openWebDataset } from './web-dataset.js';

type ArchiveSpec = Extract<DatasetSpec, { kind: 'webdataset' }>;

function specOf(fields: object = {}): ArchiveSpec {
  const dataset = { kind: 'webdataset', train: 'pets-{00..01}.tar', test: 'val.tar', classes: 2, ...fields };
  return resolveJobSpec({ model: { architecture: 'resnet18' }, dataset }).dataset as ArchiveSpec;
}

let folder: string;
let removeFolder: () => Promise<void>;
beforeEach(async () => {
  ({ root: folder, remove: removeFolder } = await folderOf({}));
});
afterEach(() => removeFolder());

async function put(archives: Readonly<Record<string, Uint8Array>>): Promise<void> {
  for (const [name, bytes] of Object.entries(archives)) await writeFile(path.join(folder, name), bytes);
}

/** Three archives with labels as text. */
async function petArchives(): Promise<Record<'pets-00.tar' | 'pets-01.tar' | 'val.tar', Buffer>> {
  const first = {
    'a/1.jpg': await files.jpeg(1),
    'a/1.cls': 'dog',
    'a/1.json': '{}',
    'a/2.cls': 'cat\n',
    'a/2.PNG': await files.png(2),
  };
  return {
    'pets-00.tar': await tarOf(first),
    'pets-01.tar': await tarOf({
      [`${'deep/'.repeat(40)}3.jpeg`]: await files.jpeg(3),
      [`${'deep/'.repeat(40)}3.cls`]: 'cat',
    }),
    'val.tar': await tarOf({ '1.webp': await files.webp(4), '1.cls': 'dog' }),
  };
}

describe('names of archives', () => {
  it('count in ranges, with the digits of the first number', () => {
    expect(archiveNames('a-{08..11}.tar')).toEqual(['a-08.tar', 'a-09.tar', 'a-10.tar', 'a-11.tar']);
    expect(archiveNames('{0..1}/{3..4}')).toEqual(['0/3', '0/4', '1/3', '1/4']);
    expect(archiveNames('http://h/t-{000000..000146}.tar')).toHaveLength(147);
    expect(archiveNames('a.tar')).toEqual(['a.tar']);
    expect(() => archiveNames('a{3..1}')).toThrow('ends before it starts');
    expect(() => archiveNames('a{1,2}')).toThrow('no range');
    expect(() => archiveNames('a{1..999999999}')).toThrow('more than');
  });
});

describe('local archives', () => {
  it('are read without unpacking, in the order of archives and members', async () => {
    await put(await petArchives());
    const images = await openWebDataset(specOf(), folder);
    expect([images.trainCount, images.testCount, images.classNames]).toEqual([3, 1, ['cat', 'dog']]);
    expect([0, 1, 2].map((id) => images.labelOf('train', id))).toEqual([1, 0, 0]);
    expect(images.labelOf('test', 0)).toBe(1);
    expect(images.nameOf('train', 2)).toBe(`pets-01.tar: ${'deep/'.repeat(40)}3.jpeg`);
    expect(Buffer.from(await images.read('train', 1))).toEqual(await files.png(2));
    expect(Buffer.from(await images.read('train', 2))).toEqual(await files.jpeg(3));
    expect(Buffer.from(await images.read('test', 0))).toEqual(await files.webp(4));
  });

  it('have classes by number where labels are numbers', async () => {
    await put({
      'pets-00.tar': await tarOf({
        '1.jpg': await files.jpeg(1),
        '1.cls': '10',
        '2.jpg': await files.jpeg(2),
        '2.cls': '9',
      }),
    });
    const index = await ensureArchiveIndex({ train: 'pets-00.tar', test: null }, folder);
    expect([index.head.classNames.length, index.labelAt(0), index.labelAt(1)]).toEqual([11, 10, 9]);
    expect(index.report.warnings).toContain('9 of the 11 classes have no training image.');
    await put({
      'pets-00.tar': await tarOf({
        '1.jpg': await files.jpeg(1),
        '1.cls': '1',
        '2.jpg': await files.jpeg(2),
        '2.cls': 'cat',
      }),
    });
    expect(await problemOf(ensureArchiveIndex({ train: 'pets-00.tar', test: null }, folder))).toMatch(
      /must be of one kind/,
    );
  });

  it('have what is broken, odd or without a label reported by name', async () => {
    const label = (name: string, bytes: Uint8Array) => ({ [`${name}.jpg`]: bytes, [`${name}.cls`]: 'cat' });
    const members = {
      ...label('1', await files.jpeg(1)),
      ...label('cut', await files.truncated()),
      ...label('cmyk', await files.cmyk()),
      ...label('empty', new Uint8Array(0)),
      'lost.jpg': await files.jpeg(2),
      'alone.cls': 'cat',
      'film.mp4': 'x',
    };
    await put({ 'pets-00.tar': await tarOf(members) });
    const { report, head } = await ensureArchiveIndex({ train: 'pets-00.tar', test: null }, folder);
    expect(head.trainCount).toBe(2);
    expect(report.broken.names).toEqual([
      'pets-00.tar: cut.jpg is truncated: it ends without an end-of-image marker',
      'pets-00.tar: empty.jpg is empty',
      'pets-00.tar: lost.jpg has no label: a member of the same name that ends in .cls',
    ]);
    expect(report.traits.cmyk.names).toEqual(['pets-00.tar: cmyk.jpg']);
    expect(report.ignored.names).toEqual(['pets-00.tar: alone.cls', 'pets-00.tar: film.mp4']);
  });

  it('that are cut off, damaged, compressed or missing are named', async () => {
    const { 'pets-00.tar': whole } = await petArchives();
    const patterns = { train: 'pets-00.tar', test: null };
    expect(await problemOf(ensureArchiveIndex(patterns, folder))).toMatch(
      /pets-00.tar cannot be opened: there is no such file/,
    );
    await put({ 'pets-00.tar': whole.subarray(0, 700) });
    expect(await problemOf(ensureArchiveIndex(patterns, folder))).toMatch(
      /is cut off: its entry at byte 0 is not whole/,
    );
    const damaged = Buffer.from(whole);
    damaged.fill(1, 2048, 4096);
    await put({ 'pets-00.tar': damaged });
    expect(await problemOf(ensureArchiveIndex(patterns, folder))).toMatch(/is damaged at byte \d+|is cut off/);
    await put({ 'pets-00.tar': Buffer.from([0x1f, 0x8b, ...Buffer.alloc(600)]) });
    expect(await problemOf(ensureArchiveIndex(patterns, folder))).toMatch(/is compressed/);
    await put({ 'pets-00.tar': await files.jpeg() });
    expect(await problemOf(ensureArchiveIndex(patterns, folder))).toMatch(/is no tar archive|is cut off/);
  });

  it('are indexed anew when they have changed, and changed ones are not read by an old index', async () => {
    const archives = await petArchives();
    await put(archives);
    const before = await ensureArchiveIndex(specOf(), folder);
    const images = imagesOfArchives(before, new ArchiveOpener(folder, {}));
    await put({
      'val.tar': await tarOf({
        '1.webp': await files.webp(5),
        '1.cls': 'dog',
        '2.jpg': await files.jpeg(6),
        '2.cls': 'cat',
      }),
    });
    expect(await problemOf(images.read('test', 0))).toMatch(/The archive val.tar has changed since it was indexed/);
    expect((await ensureArchiveIndex(specOf(), folder)).head.testCount).toBe(2);
  });

  it('hold the same images when contents are read, and then show what was damaged without another length', async () => {
    const archives = await petArchives();
    await put(archives);
    const quick = await ensureArchiveIndex(specOf(), folder);
    const full = await ensureArchiveIndex(specOf(), folder, {}, { full: true });
    expect([full.hash, quick.contentsHash]).toEqual([quick.hash, null]);
    const damaged = Buffer.from(archives['pets-00.tar']);
    damaged[full.entryAt(0).offset + 100]! ^= 1;
    await put({ 'pets-00.tar': damaged });
    const opener = new ArchiveOpener(folder, {});
    await imagesOfArchives(quick, opener).read('train', 0);
    expect(await problemOf(imagesOfArchives(full, opener).read('train', 0))).toMatch(/its checksum is another one/);
  });

  it('that links lead to outside are refused', async () => {
    const { root: outside, remove } = await folderOf({ 'secret.tar': await tarOf({}) });
    await symlink(path.join(outside, 'secret.tar'), path.join(folder, 'pets-00.tar'));
    expect(await problemOf(ensureArchiveIndex({ train: 'pets-00.tar', test: null }, folder))).toMatch(
      /symbolic link that leads out of the datasets folder/,
    );
    await mkdir(path.join(folder, 'inner'));
    await symlink(path.join(outside, 'secret.tar'), path.join(folder, 'inner/a.tar'));
    expect(await problemOf(ensureArchiveIndex({ train: 'inner/a.tar', test: null }, folder))).toMatch(/leads out/);
    await remove();
  });

  it('whose sizes are no numbers are damaged, not read for ever', async () => {
    for (const size of ['-1024', 'many', '1e3', '99999999999999999999']) {
      const archive = await tarOf({ '1.jpg': await files.jpeg(1), '1.cls': 'cat' }, { '1.jpg': { size } });
      await put({ 'pets-00.tar': archive });
      expect(await problemOf(ensureArchiveIndex({ train: 'pets-00.tar', test: null }, folder)), size).toMatch(
        /is damaged at byte 0: the size of its next entry is no number/,
      );
    }
  });

  it('have the image of a sample, and no other picture of it', async () => {
    const members = { 'a.depth.png': await files.png(1), 'a.jpg': await files.jpeg(2), 'a.cls': 'cat' };
    await put({ 'pets-00.tar': await tarOf(members) });
    const index = await ensureArchiveIndex({ train: 'pets-00.tar', test: null }, folder);
    expect([index.count, index.entryAt(0).name]).toEqual([1, 'a.jpg']);
    expect(index.report.ignored.names).toEqual(['pets-00.tar: a.depth.png']);
  });

  it('go on being indexed where it was broken off', async () => {
    const archives = await petArchives();
    await put(archives);
    const whole = await ensureArchiveIndex(specOf(), folder);
    await rm(path.join(folder, '.indexes'), { recursive: true });
    await rm(path.join(folder, 'val.tar'));
    await problemOf(ensureArchiveIndex(specOf(), folder));
    const [file] = placesOfArchives(specOf().train, specOf().test, folder, {});
    const journal = (await readFile(`${file!}.journal`, 'utf8')).split('\n');
    expect(journal.filter((line) => line.includes('"key"')).length).toBe(2);
    await put({ 'val.tar': archives['val.tar'] });
    expect((await ensureArchiveIndex(specOf(), folder)).hash).toBe(whole.hash);
    expect(await readdir(path.dirname(file!))).toEqual([path.basename(file!)]);
  });
});

describe('archives over HTTP', () => {
  let server: RangeServer;
  let archives: Awaited<ReturnType<typeof petArchives>>;
  let where: DatasetAccess;
  let patterns: { train: string; test: string };
  beforeEach(async () => {
    server = await RangeServer.start();
    archives = await petArchives();
    for (const [name, bytes] of Object.entries(archives)) server.files.set(`/open/${name}`, bytes);
    where = { cacheDir: path.join(folder, 'cache'), urlPrefixes: [`${server.url}/open`] };
    patterns = { train: `${server.url}/open/pets-{00..01}.tar`, test: `${server.url}/open/val.tar` };
  });
  afterEach(() => server.stop());
  const opener = (access = where): ArchiveOpener => new ArchiveOpener(folder, access, { firstPauseMs: 1, attempts: 3 });

  it('are read in ranges, and kept on this disk', async () => {
    const images = await openWebDataset(specOf(patterns), folder, where);
    expect(Buffer.from(await images.read('train', 2))).toEqual(await files.jpeg(3));
    expect(images.nameOf('test', 0)).toBe(`${server.url}/open/val.tar: 1.webp`);
    const asked = server.requests.length;
    // Byte caches count it, and other threads are sent it, by its buffer.
    expect((await images.read('train', 1)).buffer.byteLength).toBe((await files.png(2)).length);
    const again = imagesOfArchives(await ensureArchiveIndex(patterns, folder, where), opener());
    const before = server.requests.length;
    for (const id of [0, 1, 2]) await again.read('train', id);
    // One short request an archive, to see whether it is the same.
    expect(server.requests.slice(before).map(({ range }) => range)).toEqual(['bytes=0-0', 'bytes=0-0']);
    expect(before).toBeGreaterThan(asked);
  });

  it('go on from where a connection died', async () => {
    const index = await ensureArchiveIndex(patterns, folder, where);
    const file = archives['pets-00.tar'];
    let deaths = 0;
    server.misbehave = (request, response) => {
      const { range } = request.headers;
      if (!request.url!.includes('pets-00') || range === 'bytes=0-0' || deaths === 4) return false;
      deaths += 1;
      const { from, to, piece } = pieceOf(file, range);
      const etag = index.stamps[`${server.url}/open/pets-00.tar`]!.split(' ')[1]!;
      response.writeHead(206, {
        'content-range': `bytes ${from}-${to}/${file.length}`,
        'content-length': piece.length,
        etag,
      });
      response.write(piece.subarray(0, 500), () => response.destroy());
      return true;
    };
    const images = imagesOfArchives(index, opener({ ...where, cacheDir: undefined }));
    expect(Buffer.from(await images.read('train', 1))).toEqual(await files.png(2));
    expect(deaths).toBe(4);
    const starts = server.requests
      .filter(({ path: at, range }) => at.includes('pets-00') && range !== 'bytes=0-0')
      .slice(-5);
    expect(starts.map(({ range }) => Number(/\d+/.exec(range)![0]))).toEqual([0, 500, 1000, 1500, 2000]);
  });

  it('that die again and again end in a sentence with archive, offset and cause', async () => {
    const index = await ensureArchiveIndex(patterns, folder, where);
    server.misbehave = (request, response) => {
      if (request.headers.range === 'bytes=0-0') return false;
      response.destroy();
      return true;
    };
    const images = imagesOfArchives(index, opener({ ...where, cacheDir: undefined }));
    const problem = await problemOf(images.read('train', 0));
    expect(problem).toContain(`${server.url}/open/pets-00.tar cannot be read at byte 0: `);
    expect(problem).toMatch(/(UND_ERR_SOCKET|ECONNRESET|other side closed) \(3 attempts\)$/);
  });

  it('get time to recover from being overloaded, but none where they are not there or not allowed', async () => {
    let busy = 2;
    server.misbehave = (_request, response) => {
      if (busy === 0) return false;
      busy -= 1;
      response.writeHead(503).end();
      return true;
    };
    expect((await opener().open(`${server.url}/open/val.tar`)).bytes).toBe(archives['val.tar'].length);
    const asked = server.requests.length;
    expect(await problemOf(opener().open(`${server.url}/open/none.tar`))).toMatch(
      /HTTP status 404, there is no such file/,
    );
    expect(server.requests.length).toBe(asked + 1);
    server.misbehave = (_request, response) => Boolean(response.writeHead(200).end('whole'));
    expect(await problemOf(opener().open(`${server.url}/open/val.tar`))).toMatch(/cannot be read in ranges/);
  });

  it('that changed since they were indexed are not mixed with what they were', async () => {
    const index = await ensureArchiveIndex(patterns, folder, where);
    server.files.set('/open/pets-00.tar', Buffer.from(archives['pets-00.tar']).fill(0, 600, 700));
    expect(await problemOf(imagesOfArchives(index, opener()).read('train', 0))).toMatch(
      /has changed since it was indexed/,
    );
    // In the middle of a reading, too.
    server.files.set('/open/pets-00.tar', archives['pets-00.tar']);
    const source = await opener({ ...where, cacheDir: undefined }).open(`${server.url}/open/pets-00.tar`);
    server.files.set('/open/pets-00.tar', Buffer.concat([archives['pets-00.tar'], Buffer.alloc(512)]));
    expect(await problemOf(source.read(0, 10))).toMatch(/has changed/);
  });

  it('of which a server sends other bytes than were asked for are refused', async () => {
    const index = await ensureArchiveIndex(patterns, folder, where);
    server.misbehave = (request, response) => {
      const { range } = request.headers;
      if (range === 'bytes=0-0') return false;
      const { length } = archives['pets-00.tar'];
      const etag = index.stamps[`${server.url}/open/pets-00.tar`]!.split(' ')[1]!;
      const headers = { 'content-range': `bytes 5-${length - 1}/${length}`, etag };
      return Boolean(response.writeHead(206, headers).end(archives['pets-00.tar'].subarray(5)));
    };
    const images = imagesOfArchives(index, opener({ ...where, cacheDir: undefined }));
    expect(await problemOf(images.read('train', 0))).toMatch(/sends bytes from 5 on, not from 0 on/);
  });

  it('outside the allowed prefixes are refused, by themselves and by redirects', async () => {
    server.files.set('/closed/a.tar', archives['val.tar']);
    expect(await problemOf(opener().open(`${server.url}/closed/a.tar`))).toMatch(
      /closed\/a.tar lies outside what LOCKSTEP_DATASET_URLS allows/,
    );
    expect(await problemOf(opener().open(`${server.url}/open/../closed/a.tar`))).toMatch(/lies outside/);
    expect(server.requests).toEqual([]);
    const redirectTo = (location: string): void => {
      server.misbehave = (request, response) =>
        request.url === '/open/moved.tar' && Boolean(response.writeHead(302, { location }).end());
    };
    redirectTo('/closed/a.tar?signature=secret');
    const problem = await problemOf(opener().open(`${server.url}/open/moved.tar`));
    expect(problem).toBe(
      `${server.url}/open/moved.tar redirects to ${server.url}/closed/a.tar, which lies outside what LOCKSTEP_DATASET_URLS allows`,
    );
    expect(server.requests.map(({ path: at }) => at)).toEqual(['/open/moved.tar']);
    redirectTo('/open/val.tar');
    expect((await opener().open(`${server.url}/open/moved.tar`)).bytes).toBe(archives['val.tar'].length);
    redirectTo('/open/moved.tar');
    expect(await problemOf(opener().open(`${server.url}/open/moved.tar`))).toMatch(/redirects more than 5 times/);
  });
});

describe('archives in an S3-compatible store', () => {
  it('are asked for with a signature, and credentials are told to nobody', async () => {
    const server = await RangeServer.start();
    server.files.set('/bucket/sets/val.tar', (await petArchives())['val.tar']);
    const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'a-secret', sessionToken: undefined };
    const s3 = { endpoint: server.url, region: 'eu-central-1', credentials };
    const where = { urlPrefixes: ['s3://bucket/sets'], s3, cacheDir: path.join(folder, 'cache') };
    const spec = specOf({ train: 's3://bucket/sets/val.tar', test: null, classes: 2 });
    const index = await ensureArchiveIndex(spec, folder, where);
    expect(index.head.trainCount).toBe(1);
    const images = imagesOfArchives(index, new ArchiveOpener(folder, where));
    expect(Buffer.from(await images.read('train', 0))).toEqual(await files.webp(4));
    for (const { headers } of server.requests) {
      expect(headers.authorization).toMatch(
        /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/s3\/aws4_request, SignedHeaders=\S+, Signature=[0-9a-f]{64}$/,
      );
      expect(headers['x-amz-content-sha256']).toBeDefined();
    }
    expect((await readFile(index.file)).includes('a-secret')).toBe(false);
    // Elsewhere, where a redirect leads, nobody gets a signature.
    server.files.set('/mirror/val.tar', (await petArchives())['val.tar']);
    server.misbehave = (request, response) =>
      request.url === '/bucket/sets/val.tar' &&
      Boolean(response.writeHead(307, { location: `${server.url}/mirror/val.tar` }).end());
    const both = { ...where, urlPrefixes: [...where.urlPrefixes, `${server.url}/mirror`] };
    await new ArchiveOpener(folder, both).open('s3://bucket/sets/val.tar');
    expect(server.requests.at(-1)).toMatchObject({ path: '/mirror/val.tar' });
    expect(server.requests.at(-1)!.headers.authorization).toBeUndefined();
    server.misbehave = (_request, response) => Boolean(response.writeHead(403).end());
    const problem = await problemOf(new ArchiveOpener(folder, where).open('s3://bucket/sets/val.tar'));
    expect(problem).toMatch(/^s3:\/\/bucket\/sets\/val.tar cannot be read: HTTP status 403, access is denied/);
    expect(await problemOf(new ArchiveOpener(folder, where).open('s3://other/val.tar'))).toMatch(/lies outside/);
    await server.stop();
  });
});

describe('allowed URLs', () => {
  it('lie below a prefix, whatever is written to make them seem so', () => {
    const prefixes = ['https://host/data', 's3://bucket'];
    for (const url of ['https://host/data/a.tar', 'https://HOST/data/x/y?z', 's3://bucket/a/b'])
      expect(isAllowedUrl(url, prefixes), url).toBe(true);
    for (const url of [
      'https://host/database/a.tar',
      'https://host/data/../a.tar',
      'https://host/data/%2e%2e/a.tar',
      'http://host/data/a.tar',
      'https://host:444/data/a.tar',
      'https://host.evil/data/a.tar',
      'https://me@host/data/a.tar',
      's3://bucket2/a',
      'file:///etc/passwd',
      'nonsense',
    ])
      expect(isAllowedUrl(url, prefixes), url).toBe(false);
  });
});

describe('the cache of pieces', () => {
  it('stays below its bound, and what was used last stays', async () => {
    const { FileCache } = await import('./file-cache.js');
    const cache = new FileCache(path.join(folder, 'pieces'), 100_000);
    let made = 0;
    const get = (key: string) =>
      cache.get(key, 5000, async () => {
        made += 1;
        return new Uint8Array(5000).fill(made);
      });
    for (let round = 0; round < 60; round++) await get(`a/${round}`);
    const names = await readdir(path.join(folder, 'pieces/a'));
    const total = (await Promise.all(names.map((name) => stat(path.join(folder, 'pieces/a', name))))).reduce(
      (sum, { size }) => sum + size,
      0,
    );
    expect(total).toBeLessThanOrEqual(100_000);
    expect(names).toContain('59');
    expect(made).toBe(60);
    await get('a/59');
    expect(made).toBe(60);
    // Cut off by a full disk: it is made anew.
    await writeFile(path.join(folder, 'pieces/a/59'), 'x');
    expect((await get('a/59')).length).toBe(5000);
    expect(made).toBe(61);
    const [one, other] = await Promise.all([get('b/1'), get('b/1')]);
    expect([one, made]).toEqual([other, 62]);
  });

  it('is one for all that a process reads, so that its bound is one', () => {
    const access = { cacheDir: path.join(folder, 'cache'), cacheBytes: 1e9 };
    expect(cacheOf({ ...access })).toBe(cacheOf({ ...access, urlPrefixes: ['https://host/'] }));
    expect(cacheOf({ ...access, cacheDir: path.join(folder, 'other') })).not.toBe(cacheOf(access));
    expect(cacheOf({ ...access, cacheBytes: 0 })).toBeUndefined();
  });

  it('is of no harm where it cannot be written', async () => {
    const { FileCache } = await import('./file-cache.js');
    await writeFile(path.join(folder, 'file'), '');
    const cache = new FileCache(path.join(folder, 'file'), 100_000);
    expect(await cache.get('a', 3, async () => new Uint8Array([1, 2, 3]))).toEqual(new Uint8Array([1, 2, 3]));
  });
});

it('finds no index of another kind', async () => {
  await put(await petArchives());
  const { file } = await ensureArchiveIndex(specOf(), folder);
  expect(await findIndex([file], 'imagefolder')).toBeUndefined();
});
