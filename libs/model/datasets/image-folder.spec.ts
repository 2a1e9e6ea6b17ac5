import { mkdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { resolveJobSpec, type DatasetSpec } from '../job-spec.js';
import { isFresh } from './folder-indexer.js';
import { ensureFolderIndex, findFolderIndex, openImageFolder } from './image-folder.js';
import { indexFileName } from './index-places.js';
import { addFiles, files, folderOf, problemOf, repainted, smallFolder } from './image-files.fixture.js';

type FolderSpec = Extract<DatasetSpec, { kind: 'imagefolder' }>;

function specOf(fields: object = {}): FolderSpec {
  const dataset = { kind: 'imagefolder', path: 'pets', classes: 2, ...fields };
  return resolveJobSpec({ model: { architecture: 'resnet18' }, dataset }).dataset as FolderSpec;
}

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

async function folder(contents: Readonly<Record<string, Uint8Array | string>>): Promise<string> {
  const { root, remove } = await folderOf(contents);
  cleanUps.push(remove);
  return root;
}

describe('a folder of images', () => {
  it('is indexed by itself, and read in the order of class folders and names', async () => {
    const contents = await smallFolder();
    const root = await folder(contents);
    const images = await openImageFolder(specOf(), root);
    expect([images.trainCount, images.testCount, images.classNames]).toEqual([4, 2, ['cat', 'dog']]);
    const names = ['train/cat/1.JPEG', 'train/cat/2.jpg', 'train/dog/1.png', 'train/dog/2.webp'];
    for (const [id, name] of names.entries()) {
      expect(images.nameOf('train', id)).toBe(path.join(root, name));
      expect(images.labelOf('train', id)).toBe(id < 2 ? 0 : 1);
      expect(Buffer.from(await images.read('train', id))).toEqual(contents[name]);
    }
    expect(images.labelOf('test', 1)).toBe(1);
    expect(() => images.labelOf('test', 2)).toThrow(RangeError);
    await images.close();
  });

  it('sorts by bytes, so that labels are the same everywhere', async () => {
    const image = await files.jpeg();
    const names = ['a', 'B', 'b', 'é', 'z', '\u{1f600}', '\uffee'];
    const root = await folder(Object.fromEntries(names.map((name) => [`train/${name}/1.jpg`, image])));
    const { head } = await ensureFolderIndex(root);
    expect(head.classNames).toEqual(['B', 'a', 'b', 'z', 'é', '\uffee', '\u{1f600}']);
  });

  it('has a hash of names, labels and sizes, wherever it lies and whenever it was copied', async () => {
    const contents = await smallFolder();
    const one = await folder(contents);
    const other = await folder(contents);
    await utimes(path.join(other, 'train/cat/1.JPEG'), 1, 1);
    const { hash } = await ensureFolderIndex(one);
    expect((await ensureFolderIndex(other)).hash).toBe(hash);
    await rename(path.join(other, 'train/cat/1.JPEG'), path.join(other, 'train/cat/3.JPEG'));
    expect((await ensureFolderIndex(other)).hash).not.toBe(hash);
  });

  it('holds nested folders of a class', async () => {
    const root = await folder({ ...(await smallFolder()), 'train/cat/images/0.jpg': await files.jpeg(9) });
    const images = await openImageFolder(specOf(), root);
    expect(images.nameOf('train', 2)).toBe(path.join(root, 'train/cat/images/0.jpg'));
    expect([images.trainCount, images.labelOf('train', 2)]).toEqual([5, 0]);
  });

  it('may have a flat val folder with a label file', async () => {
    const { 'val/cat/1.jpeg': cat, 'val/dog/1.JPG': dog, ...train } = await smallFolder();
    const flat = { ...train, 'val/ILSVRC2012_val_00000001.JPEG': dog!, 'val/ILSVRC2012_val_00000002.JPEG': cat! };
    const listed = 'ILSVRC2012_val_00000002.JPEG cat\nILSVRC2012_val_00000001.JPEG dog\n';
    const kaggle =
      'ImageId,PredictionString\nILSVRC2012_val_00000001,dog 1 2 3 4 \nILSVRC2012_val_00000002,cat 1 2 3 4 \n';
    for (const labels of [{ 'val_labels.txt': listed }, { 'LOC_val_solution.csv': kaggle }]) {
      const images = await openImageFolder(specOf(), await folder({ ...flat, ...labels }));
      expect([images.testCount, images.labelOf('test', 0), images.labelOf('test', 1)]).toEqual([2, 1, 0]);
    }
    expect(await problemOf(ensureFolderIndex(await folder(flat)))).toMatch(
      /holds images but no class folders: put a file val_labels.txt/,
    );
    const numbers = { ...flat, 'val_labels.txt': '490\n361\n' };
    expect(await problemOf(ensureFolderIndex(await folder(numbers)))).toMatch(
      /bare numbers.* count classes in another order/,
    );
    const unknown = { ...flat, 'val_labels.txt': listed.replace('dog', 'horse') };
    expect(await problemOf(ensureFolderIndex(await folder(unknown)))).toMatch(
      /of class 'horse', which has no folder in train/,
    );
    const short = { ...flat, 'val_labels.txt': listed.split('\n')[0]! };
    expect(await problemOf(ensureFolderIndex(await folder(short)))).toMatch(
      /names no class for ILSVRC2012_val_00000001.JPEG/,
    );
  });
});

describe('files that are broken', () => {
  const kinds: [what: string, name: string, bytes: () => Promise<Uint8Array> | Uint8Array, problem: RegExp][] = [
    ['an empty one', '3.jpg', () => new Uint8Array(0), /is empty/],
    ['one that is cut off', '3.jpg', files.truncated, /is truncated: it ends without an end-of-image marker/],
    [
      'a PNG that is cut off',
      '3.png',
      async () => (await files.png()).subarray(0, -20),
      /is truncated: it ends without its last chunk/,
    ],
    ['a WebP that is cut off', '3.webp', async () => (await files.webp()).subarray(0, -20), /is truncated/],
    [
      'one of which only the first bytes are there',
      '3.jpg',
      async () => (await files.jpeg()).subarray(0, 30),
      /is truncated: it ends before its header ends/,
    ],
    ['a web page', '3.jpg', () => Buffer.from('<html>404</html>'), /is no JPEG, PNG or WebP image but a web page/],
    ['another format', '3.jpg', files.gif, /but a GIF/],
    ['noise', '3.jpg', () => new Uint8Array(999).fill(7), /is no JPEG, PNG or WebP image$/],
  ];
  it.each(kinds)('%s is left out and named', async (_what, name, bytes, problem) => {
    const root = await folder({ ...(await smallFolder()), [`train/cat/${name}`]: await bytes() });
    const index = await ensureFolderIndex(root);
    expect(index.head.trainCount).toBe(4);
    expect(index.report.broken.count).toBe(1);
    expect(index.report.broken.names[0]).toMatch(new RegExp(`^train/cat/${name} `));
    expect(index.report.broken.names[0]).toMatch(problem);
    await openImageFolder(specOf(), root);
    expect(await problemOf(openImageFolder(specOf({ brokenFiles: 'fail' }), root))).toMatch(
      /images that cannot be used: train\/cat\/3/,
    );
  });

  it('one that is damaged in its middle shows when contents are read', async () => {
    const root = await folder({ ...(await smallFolder()), 'train/cat/3.png': await files.damaged() });
    expect((await ensureFolderIndex(root)).report.broken.count).toBe(0);
    const full = await ensureFolderIndex(root, {}, { full: true });
    expect(full.report.broken.names).toEqual([expect.stringMatching(/^train\/cat\/3.png cannot be decoded: /)]);
    expect(full.head).toMatchObject({ contents: true, trainCount: 4 });
  });

  it('a link to nowhere, and a file that may not be read', async () => {
    const root = await folder(await smallFolder());
    await symlink('nowhere.jpg', path.join(root, 'train/cat/3.jpg'));
    expect((await ensureFolderIndex(root)).report.broken.names).toEqual(['train/cat/3.jpg cannot be read (ENOENT)']);
  });
});

describe('files that are odd', () => {
  it('are in the index and reported by name', async () => {
    const root = await folder({
      ...(await smallFolder()),
      'train/cat/cmyk.jpg': await files.cmyk(),
      'train/cat/deep.png': await files.deep(),
      'train/cat/grey.jpg': await files.grey(),
      'train/cat/misnamed.JPEG': await files.png(),
      'train/cat/rotated.jpg': await files.rotated(),
      'train/cat/notes.txt': 'not an image',
      'train/cat/._1.JPEG': 'what a file manager leaves',
    });
    for (const options of [{}, { full: true }]) {
      const { report, head } = await ensureFolderIndex(root, {}, options);
      expect(head.trainCount).toBe(9);
      expect(report.broken).toEqual({ count: 0, names: [] });
      const names = Object.fromEntries(Object.entries(report.traits).map(([trait, found]) => [trait, found.names]));
      expect(names).toEqual({
        cmyk: ['train/cat/cmyk.jpg'],
        '16-bit': ['train/cat/deep.png'],
        grey: ['train/cat/grey.jpg'],
        misnamed: ['train/cat/misnamed.JPEG'],
        rotated: ['train/cat/rotated.jpg'],
      });
      expect(report.ignored.names.toSorted()).toEqual(['train/cat/._1.JPEG', 'train/cat/notes.txt']);
    }
  });
});

describe('a folder that is laid out in another way', () => {
  it('without train', async () => {
    const root = await folder({ 'cat/1.jpg': await files.jpeg() });
    expect(await problemOf(ensureFolderIndex(root))).toMatch(
      /train cannot be read \(ENOENT\): images must lie in train\/<class>\//,
    );
  });

  it('with an empty class folder', async () => {
    const root = await folder(await smallFolder());
    await mkdir(path.join(root, 'train/emu'));
    expect(await problemOf(ensureFolderIndex(root))).toMatch(
      /^train\/emu in .* holds no images.*: put images there or remove the folder$/,
    );
  });

  it('with a class of broken files only', async () => {
    const root = await folder({ ...(await smallFolder()), 'train/emu/1.jpg': '' });
    expect(await problemOf(ensureFolderIndex(root))).toMatch(
      /No image of train\/emu in .* can be decoded \(train\/emu\/1.jpg is empty\)/,
    );
  });

  it('with a class missing from val', async () => {
    const { 'val/dog/1.JPG': _gone, ...rest } = await smallFolder();
    const { report, head } = await ensureFolderIndex(await folder(rest));
    expect(head.testCount).toBe(1);
    expect(report.warnings).toEqual(['val has no images of dog: test accuracy says nothing about this class.']);
  });

  it('with a class that only val has', async () => {
    const root = await folder({ ...(await smallFolder()), 'val/emu/1.jpg': await files.jpeg() });
    expect(await problemOf(ensureFolderIndex(root))).toMatch(/val\/emu in .* is no class that train has/);
  });

  it('without val', async () => {
    const { 'val/cat/1.jpeg': _cat, 'val/dog/1.JPG': _dog, ...rest } = await smallFolder();
    const { report, head } = await ensureFolderIndex(await folder(rest));
    expect([head.testCount, report.warnings.length]).toEqual([0, 1]);
  });

  it('with another number of classes than the spec says', async () => {
    const root = await folder(await smallFolder());
    expect(await problemOf(openImageFolder(specOf({ classes: 3 }), root))).toMatch(/has 2 classes, not 3/);
  });

  it('with symbolic links that lead out of the datasets folder', async () => {
    const outside = await folder({ 'secret/1.jpg': await files.jpeg() });
    const datasets = await folder({});
    const root = path.join(datasets, 'pets');
    await addFiles(root, await smallFolder());
    await addFiles(path.join(datasets, 'more'), { '1.jpg': await files.jpeg(20) });
    await symlink(path.join(datasets, 'more/1.jpg'), path.join(root, 'train/cat/linked.jpg'));
    const where = { datasetsFolder: datasets };
    expect(await problemOf(ensureFolderIndex(root))).toMatch(/linked.jpg is a symbolic link that leads out/);
    expect((await ensureFolderIndex(root, where)).head.trainCount).toBe(5);
    const flat = path.join(datasets, 'flat');
    await addFiles(flat, {
      'train/cat/1.jpg': await files.jpeg(),
      'train/dog/1.jpg': await files.jpeg(),
      'val/1.jpg': await files.jpeg(),
    });
    await symlink(path.join(outside, 'secret/1.jpg'), path.join(flat, 'val_labels.txt'));
    expect(await problemOf(ensureFolderIndex(flat, where))).toMatch(/val_labels.txt is a symbolic link that leads out/);
    for (const [link, target] of [
      ['train/cat/out.jpg', path.join(outside, 'secret/1.jpg')],
      ['train/out', path.join(outside, 'secret')],
    ] as const) {
      await symlink(target, path.join(root, link));
      const problem = await problemOf(ensureFolderIndex(root, where));
      expect(problem).toContain(`${path.join(root, link)} is a symbolic link that leads out of the datasets folder`);
      await rm(path.join(root, link));
    }
  });
});

describe('an index that is there', () => {
  it('is used again without looking at the files, until something is added, removed or renamed', async () => {
    const root = await folder(await smallFolder());
    await ensureFolderIndex(root);
    const made = await readFile(path.join(root, indexFileName));
    await ensureFolderIndex(root);
    expect(await readFile(path.join(root, indexFileName))).toEqual(made);
    await addFiles(root, { 'train/dog/3.jpg': await files.jpeg(30) });
    expect((await ensureFolderIndex(root)).head.trainCount).toBe(5);
    await rm(path.join(root, 'train/dog/3.jpg'));
    await rm(path.join(root, 'val/dog'), { recursive: true });
    expect((await ensureFolderIndex(root)).head).toMatchObject({ trainCount: 4, testCount: 1 });
  });

  it('is made anew where it is damaged, cut off or of another version', async () => {
    const root = await folder(await smallFolder());
    const file = path.join(root, indexFileName);
    const { hash } = await ensureFolderIndex(root);
    const made = await readFile(file);
    for (const at of [0, 8, 12, 40, 70, 200, made.length - 1]) {
      const damaged = Buffer.from(made);
      damaged[at]! ^= 1;
      await writeFile(file, damaged);
      expect(await findFolderIndex(root), `byte ${at}`).toBeUndefined();
      expect((await ensureFolderIndex(root)).hash).toBe(hash);
    }
    await writeFile(file, made.subarray(0, 100));
    expect((await ensureFolderIndex(root)).hash).toBe(hash);
  });

  it('finds out when a file was overwritten', async () => {
    const root = await folder(await smallFolder());
    const images = await openImageFolder(specOf(), root);
    await writeFile(path.join(root, 'train/cat/1.JPEG'), await files.png(40));
    expect(await problemOf(images.read('train', 0))).toMatch(
      /1.JPEG has changed since it was indexed: it has \d+ bytes, not \d+/,
    );
    await rm(path.join(root, 'train/cat/2.jpg'));
    expect(await problemOf(images.read('train', 1))).toMatch(/2.jpg cannot be read \(ENOENT\)/);
  });

  it('is of the same images when contents are read, and then finds out what was overwritten with the same length', async () => {
    const root = await folder(await smallFolder());
    const quick = await openImageFolder(specOf(), root);
    const full = await ensureFolderIndex(root, {}, { full: true });
    const checked = await openImageFolder(specOf(), root);
    expect([full.hash, checked.indexHash]).toEqual([quick.indexHash, quick.indexHash]);
    expect([quick.contentsHash, checked.contentsHash]).toEqual([null, full.contentsHash]);
    await addFiles(root, { 'train/cat/1.JPEG': repainted(await checked.read('train', 0)) });
    await quick.read('train', 0);
    expect(await problemOf(checked.read('train', 0))).toMatch(/its checksum is another one/);
    const after = await ensureFolderIndex(root, {}, { lookAgain: true });
    expect(after.hash).toBe(full.hash);
    expect(after.contentsHash).not.toBe(full.contentsHash);
  });

  it('is of other images when one turns out not to be decodable', async () => {
    const root = await folder({ ...(await smallFolder()), 'train/cat/3.png': await files.damaged() });
    const { hash } = await ensureFolderIndex(root);
    expect((await ensureFolderIndex(root, {}, { full: true })).hash).not.toBe(hash);
  });

  it('is made anew where a broken file was mended in place', async () => {
    const root = await folder({ ...(await smallFolder()), 'train/cat/3.jpg': await files.truncated() });
    await symlink('nowhere.jpg', path.join(root, 'train/cat/4.jpg'));
    const { file, report } = await ensureFolderIndex(root);
    expect(report.broken.count).toBe(2);
    const made = await stat(file);
    await ensureFolderIndex(root);
    expect((await stat(file)).ino).toBe(made.ino);
    await writeFile(path.join(root, 'train/cat/3.jpg'), await files.jpeg(50));
    expect((await ensureFolderIndex(root)).report.broken.names).toEqual(['train/cat/4.jpg cannot be read (ENOENT)']);
  });

  it('is made anew when told to look again where a file was overwritten in place', async () => {
    const root = await folder(await smallFolder());
    const before = await ensureFolderIndex(root);
    const image = await files.png(40);
    await writeFile(path.join(root, 'train/cat/1.JPEG'), image);
    expect((await ensureFolderIndex(root)).hash).toBe(before.hash);
    const after = await ensureFolderIndex(root, {}, { lookAgain: true });
    expect(after.entryAt(0)).toMatchObject({ name: '1.JPEG', bytes: image.length });
    expect((await ensureFolderIndex(root)).hash).toBe(after.hash);
  });

  it('is made anew where it has no stamps', async () => {
    const root = await folder(await smallFolder());
    const index = await ensureFolderIndex(root);
    expect(await isFresh(index, root)).toBe(true);
    expect(await isFresh(Object.assign(Object.create(index) as typeof index, { stamps: {} }), root)).toBe(false);
  });

  it('is not written through a link that came with the dataset', async () => {
    const outside = await folder({ precious: 'precious' });
    const root = await folder(await smallFolder());
    await symlink(path.join(outside, 'precious'), path.join(root, `${indexFileName}.journal`));
    expect(await problemOf(ensureFolderIndex(root))).toMatch(/journal is a symbolic link, and nothing is written/);
    expect(await readFile(path.join(outside, 'precious'), 'utf8')).toBe('precious');
  });

  it('lies in the cache where the folder cannot be written to', async () => {
    const root = await folder(await smallFolder());
    const cacheDir = await folder({});
    // Nobody may put a file in the place of a folder, not even root.
    await mkdir(path.join(root, indexFileName, 'taken'), { recursive: true });
    const { hash } = await ensureFolderIndex(root, { cacheDir });
    expect((await findFolderIndex(root, { cacheDir }))?.hash).toBe(hash);
    expect(await problemOf(ensureFolderIndex(root))).toMatch(/cannot be written to/);
  });
});

describe('an indexing that is broken off', () => {
  it('goes on where it was, and gives the same index', async () => {
    const contents = await smallFolder();
    for (let name = 10; name < 60; name++) contents[`train/emu/${name}.jpg`] = await files.jpeg(name);
    const root = await folder(contents);
    const whole = await ensureFolderIndex(await folder(contents));
    const abort = new AbortController();
    const options = {
      signal: abort.signal,
      onProgress: ({ done }: { done: number }) => done > 50 && abort.abort(new Error('stopped')),
    };
    await expect(ensureFolderIndex(root, {}, options)).rejects.toThrow('stopped');
    expect(await findFolderIndex(root)).toBeUndefined();
    const journal = path.join(root, `${indexFileName}.journal`);
    const lines = (await readFile(journal, 'utf8')).trim().split('\n');
    expect(lines.length).toBeGreaterThan(3);
    // A kill in the middle of a line.
    await writeFile(journal, `${lines.slice(0, 3).join('\n')}\n${lines[3]!.slice(0, 20)}`);
    const seen: number[] = [];
    const resumed = await ensureFolderIndex(root, {}, { onProgress: ({ done }) => void seen.push(done) });
    expect(resumed.hash).toBe(whole.hash);
    expect(seen.at(-1)).toBe(56);
    await expect(readFile(journal)).rejects.toThrow('ENOENT');
  });
});
