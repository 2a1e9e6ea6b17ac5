import { mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkFolder, makeFolder } from './marker.js';
import { SetupError } from './setup-error.js';

let cache: string;
let folder: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'lockstep-marker-'));
  folder = join(cache, 'thing');
});
afterEach(async () => await rm(cache, { recursive: true }));

async function make(content = 'content'): Promise<void> {
  await makeFolder(folder, 'origin 1', async (draft) => {
    await writeFile(join(draft, 'file'), content);
    return [{ path: 'file' }];
  });
}

describe('a folder of the cache', () => {
  it('is good once it is made, and stays so when it is copied', async () => {
    await make();
    expect(await checkFolder(folder, 'origin 1')).toBeDefined();
    await utimes(join(folder, 'file'), 1, 1);
    expect(await checkFolder(folder, 'origin 1')).toBeDefined();
  });

  it.each([
    ['another origin', async () => {}, 'origin 2'],
    ['a file that is gone', async () => await rm(join(folder, 'file')), 'origin 1'],
    ['a file of another size', async () => await writeFile(join(folder, 'file'), 'conten'), 'origin 1'],
    [
      'a file of another content',
      async () => {
        await writeFile(join(folder, 'file'), 'CONTENT');
        await utimes(join(folder, 'file'), 1, 1);
      },
      'origin 1',
    ],
    ['a torn mark', async () => await writeFile(join(folder, 'lockstep.json'), '{"origin": "orig'), 'origin 1'],
    ['no mark', async () => await rm(join(folder, 'lockstep.json')), 'origin 1'],
  ])('is not good with %s', async (_what, spoil, origin) => {
    await make();
    await spoil();
    expect(await checkFolder(folder, origin)).toBeUndefined();
    await make('anew');
    expect(await readFile(join(folder, 'file'), 'utf8')).toBe('anew');
    expect(await readdir(cache)).toEqual(['thing']);
  });

  it('is not there while it is being made, and an interrupted making is cleared', async () => {
    const interrupted = makeFolder(folder, 'origin 1', async (draft) => {
      await writeFile(join(draft, 'half'), '');
      expect(await checkFolder(folder, 'origin 1')).toBeUndefined();
      throw new Error('interrupted');
    });
    await expect(interrupted).rejects.toThrow('interrupted');
    expect(await readdir(cache)).toEqual([]);
  });

  it('keeps the good one when making its successor fails on a full disk, and says so in a sentence', async () => {
    await make();
    const failing = makeFolder(folder, 'origin 2', async (draft) => {
      await symlink('/dev/full', join(draft, 'file'));
      await writeFile(join(draft, 'file'), 'x');
      return [{ path: 'file' }];
    });
    await expect(failing).rejects.toThrow(SetupError);
    await expect(failing).rejects.toThrow(/The disk is full: .* Free some space, or point LOCKSTEP_CACHE_DIR/);
    expect(await checkFolder(folder, 'origin 1')).toBeDefined();
    expect(await readdir(cache)).toEqual(['thing']);
  });
});
