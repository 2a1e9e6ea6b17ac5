import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeIndex, ImageIndexBuilder, type IndexEntry, loadIndex, peekIndex, saveIndex } from './image-index.js';
import { emptyReport } from './image-report.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'lockstep-index-'));
});
afterEach(() => rm(folder, { recursive: true }));

function encoded(
  entries: readonly IndexEntry[],
  trainCount: number,
  kind: 'imagefolder' | 'webdataset',
  contents = true,
): Uint8Array {
  const builder = new ImageIndexBuilder();
  for (const entry of entries) builder.add(entry);
  const head = { kind, classNames: ['a', 'b'], containers: ['x', 'y', 'z'], trainCount, contents };
  return builder.encode(head, { report: emptyReport(), stamps: { x: '1 2' } });
}

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const entry = fc.record({
  container: fc.integer({ min: 0, max: 2 }),
  label: fc.integer({ min: 0, max: 1 }),
  name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
  bytes: uint32,
  offset: fc.maxSafeNat(),
  checksum: uint32,
  modifiedMs: fc.integer({ min: 0, max: 2e12 }),
  traits: fc.integer({ min: 0, max: 31 }),
});

describe('an index', () => {
  it('gives back what was put in, whatever the names and numbers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 30 }), fc.nat(30), fc.boolean(), async (entries, cut, contents) => {
        const trainCount = Math.min(cut, entries.length);
        const archives = await decodeIndex(encoded(entries, trainCount, 'webdataset', contents), 'spec');
        expect([archives.head.trainCount, archives.head.testCount]).toEqual([trainCount, entries.length - trainCount]);
        const found = Array.from({ length: archives.count }, (_, row) => archives.entryAt(row));
        expect(found).toEqual(entries.map((one) => ({ ...one, modifiedMs: 0, checksum: contents ? one.checksum : 0 })));
        const plain = entries.map((one) => ({ ...one, name: one.name.replaceAll('/', '-') }));
        const ofFolder = await decodeIndex(encoded(plain, trainCount, 'imagefolder'), 'spec');
        const times = Array.from({ length: ofFolder.count }, (_, row) => ofFolder.entryAt(row));
        expect(times).toEqual(plain.map((one) => ({ ...one, offset: 0 })));
      }),
      { numRuns: 50 },
    );
  });

  it('of which a path leads out of the dataset is refused', async () => {
    const builder = new ImageIndexBuilder();
    const one = { container: 0, label: 0, name: 'n', bytes: 1, offset: 0, checksum: 0, modifiedMs: 0, traits: 0 };
    builder.add(one);
    for (const kind of ['imagefolder', 'webdataset'] as const) {
      for (const container of ['/etc', '../secrets', 'train/../../secrets']) {
        const head = { kind, classNames: ['a'], containers: [container], trainCount: 1, contents: false };
        const bytes = builder.encode(head, { report: emptyReport(), stamps: {} });
        await expect(decodeIndex(bytes, 'spec'), container).rejects.toThrow('names files outside');
      }
    }
    const climbing = encoded([{ ...one, name: '../../secret.jpg' }], 1, 'imagefolder');
    await expect(decodeIndex(climbing, 'spec')).rejects.toThrow('names files outside');
  });

  const one = { container: 0, label: 1, name: 'n', bytes: 5, offset: 6, checksum: 7, modifiedMs: 8, traits: 1 };
  const two = { container: 1, label: 0, name: 'é.jpg', bytes: 50, offset: 60, checksum: 70, modifiedMs: 80, traits: 0 };

  it('has a hash of all that says which samples there are, one of their contents, and none of anything else', async () => {
    const hashesOf = async (changed: object) => {
      const { hash, contentsHash } = await decodeIndex(encoded([{ ...one, ...changed }], 1, 'webdataset'), 'spec');
      return { hash, contentsHash };
    };
    const hashes = await hashesOf({});
    for (const same of [{ modifiedMs: 9 }, { traits: 2 }]) expect(await hashesOf(same)).toEqual(hashes);
    for (const other of [{ container: 1 }, { label: 0 }, { name: 'm' }, { bytes: 6 }, { offset: 7 }]) {
      expect((await hashesOf(other)).hash).not.toBe(hashes.hash);
    }
    const overwritten = await hashesOf({ checksum: 8 });
    expect(overwritten.hash).toBe(hashes.hash);
    expect(overwritten.contentsHash).not.toBe(hashes.contentsHash);
  });

  it('has the same hash whether or not contents were read', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { maxLength: 30 }),
        fc.nat(30),
        fc.constantFrom('webdataset', 'imagefolder'),
        async (entries, cut, kind) => {
          const plain = entries.map((any) => ({ ...any, name: any.name.replaceAll('/', '-') }));
          const trainCount = Math.min(cut, plain.length);
          const quick = await decodeIndex(encoded(plain, trainCount, kind, false), 'spec');
          const full = await decodeIndex(encoded(plain, trainCount, kind, true), 'spec');
          expect(full.hash).toBe(quick.hash);
          expect(quick.contentsHash).toBeNull();
          expect(full.contentsHash).toMatch(/^[0-9a-f]{64}$/);
        },
      ),
      { numRuns: 50 },
    );
  });

  it.each([
    ['imagefolder', 'a9fcd4f2649904c58992a0dc8ff3f69051347e79a8225e3f4f1b8675dcd6b0c1', 'e9524b223b51b2ef'],
    ['webdataset', 'be1ec53661ad3a94cfdce5608dc29182bc9e45c44b45261f32e77576039d8aef', '6e0986b6fba5e79e'],
  ] as const)('keeps the format and the hash of before there were two hashes (%s)', async (kind, hash, contents) => {
    const full = await decodeIndex(encoded([one, two], 1, kind), 'spec');
    expect(full.hash).toBe(hash);
    expect(full.contentsHash?.slice(0, 16)).toBe(contents);
    const newer = encoded([one, two], 1, kind);
    newer[8] = 2;
    await expect(decodeIndex(newer, 'spec')).rejects.toThrow(
      'The index spec has format 2, and this version of Lockstep knows 1; remove it, and `npx lockstep dataset index` makes it anew',
    );
  });

  it('is refused when any bit of it is another', async () => {
    const entries = Array.from({ length: 40 }, (_, at) => ({
      container: 0,
      label: 0,
      name: `image ${at}`,
      bytes: at,
      offset: at,
      checksum: at,
      modifiedMs: 0,
      traits: 0,
    }));
    const whole = encoded(entries, 30, 'webdataset');
    await fc.assert(
      fc.asyncProperty(fc.nat(8 * whole.length - 1), async (bit) => {
        const byte = bit >> 3;
        const unused = byte >= 24 && byte < 32;
        const damaged = whole.slice();
        damaged[byte]! ^= 1 << (bit & 7);
        if (!unused)
          await expect(decodeIndex(damaged, 'spec'), `byte ${byte}`).rejects.toThrow(/lockstep dataset index/);
      }),
      { numRuns: 200 },
    );
    await expect(decodeIndex(whole.subarray(0, -1), 'spec')).rejects.toThrow(/is damaged/);
    await expect(decodeIndex(new Uint8Array(10), 'spec')).rejects.toThrow(/is not an index/);
  });

  it('takes some 50 bytes an image, and tells its size without being read whole', async () => {
    const entries = Array.from({ length: 20_000 }, (_, at) => ({
      container: at % 3,
      label: 0,
      name: `n01440764_${at}.JPEG`,
      bytes: 1,
      offset: 0,
      checksum: 0,
      modifiedMs: 1.6e12,
      traits: 0,
    }));
    const file = path.join(folder, 'index');
    await saveIndex(file, encoded(entries, 15_000, 'imagefolder', false));
    const { length } = await readFile(file);
    expect(length / entries.length).toBeLessThan(50);
    expect(peekIndex(file)).toMatchObject({ trainCount: 15_000, testCount: 5000, classNames: ['a', 'b'] });
    expect((await loadIndex(file))?.entryAt(19_999).name).toBe('n01440764_19999.JPEG');
    await writeFile(file, 'something else');
    expect(peekIndex(file)).toBeUndefined();
    expect(peekIndex(path.join(folder, 'none'))).toBeUndefined();
    expect(await loadIndex(path.join(folder, 'none'))).toBeUndefined();
  });
});
