import { cp, chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../config.js';
import { ensureAddon, findPackage, inspectAddon, probeAddon, type AddonOptions } from './addon.js';
import type { NativeLibrary } from './native-library.js';
import { silentReporter } from './progress.js';
import { SetupError } from './setup-error.js';
import { setup } from './setup.js';
import { inheritedEnvironment } from './subprocess.js';

const { cacheDir, tensorflowDir, redisUrl } = loadConfig(process.env);
let library: NativeLibrary;
let folder: string;
let packageDir: string;
let options: AddonOptions;

beforeAll(async () => {
  ({ library } = await setup({ cacheDir, tensorflowDir, redisUrl }));
}, 300_000);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-addon-'));
  packageDir = join(folder, 'package');
  await cp(join(findPackage(), 'binding'), join(packageDir, 'binding'), { recursive: true });
  options = { cacheDir, packageDir, report: silentReporter, environment: inheritedEnvironment };
});
afterEach(async () => await rm(folder, { recursive: true }));

const state = async (): Promise<string> => (await inspectAddon(library, packageDir)).kind;

describe('the addon in the package', () => {
  it('is missing after npm ci, comes from the cache without a compiler, and answers', async () => {
    expect(await state()).toBe('missing');
    const addon = await ensureAddon(library, { ...options, environment: { PATH: '' } });
    expect(await state()).toBe('good');
    expect(await probeAddon(addon.path, inheritedEnvironment)).toBe(addon.tensorflowVersion);
    expect((await readdir(join(packageDir, 'lib/napi-v8'))).sort()).toEqual([
      'tfjs_binding.lockstep.json',
      'tfjs_binding.node',
    ]);
  });

  it('is replaced when somebody else put it there', async () => {
    const path = join(packageDir, 'lib/napi-v8/tfjs_binding.node');
    await mkdir(join(packageDir, 'lib/napi-v8'), { recursive: true });
    await writeFile(path, 'from elsewhere');
    expect(await state()).toBe('foreign');
    const said: string[] = [];
    await ensureAddon(library, { ...options, report: { ...silentReporter, say: (sentence) => said.push(sentence) } });
    expect(said.join()).toMatch(/was not made by Lockstep; it is replaced/);
    expect(await state()).toBe('good');
    await writeFile(path, 'over ours');
    expect(await state()).toBe('foreign');
  });

  it('is out of date when the library or the sources are others', async () => {
    await ensureAddon(library, options);
    expect((await inspectAddon({ ...library, identity: 'a newer one' }, packageDir)).kind).toBe('out-of-date');
    expect((await inspectAddon({ ...library, libraryDir: '/elsewhere' }, packageDir)).kind).toBe('out-of-date');
    const source = join(packageDir, 'binding/tfjs_backend.cc');
    await writeFile(source, `${await readFile(source, 'utf8')}\n// changed\n`);
    expect(await state()).toBe('out-of-date');
  });
});

describe('compiling the addon', () => {
  const compiler = async (script: string): Promise<AddonOptions> => {
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await writeFile(join(bin, 'g++'), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, 'g++'), 0o755);
    return { ...options, cacheDir: join(folder, 'cache'), environment: { PATH: bin } };
  };

  it('without a compiler says what to install', async () => {
    const ensuring = ensureAddon(library, { ...options, cacheDir: join(folder, 'cache'), environment: { PATH: '' } });
    await expect(ensuring).rejects.toThrow(SetupError);
    await expect(ensuring).rejects.toThrow(/^No C\+\+ compiler, .* Install g\+\+ \(Debian: apt-get install g\+\+\)\.$/);
  });

  it.each([
    [
      'fails',
      'echo "x.cc:1:2: error: unrecognized option -std=c++17" >&2; exit 1',
      /could not compile the native addon: unrecognized option/,
    ],
    [
      'meets a full disk',
      'echo "as: No space left on device" >&2; exit 1',
      /^The disk is full: the compiler could not write/,
    ],
    [
      'makes something that does not load',
      'for output; do :; done; echo nonsense > "$output"',
      /does not load: .*(invalid ELF header|file too short)/,
    ],
  ])('with a compiler that %s says so, and keeps nothing', async (_what, script, sentence) => {
    const failing = await compiler(script);
    const ensuring = ensureAddon(library, failing);
    await expect(ensuring).rejects.toThrow(SetupError);
    await expect(ensuring).rejects.toThrow(sentence);
    expect(await readdir(join(failing.cacheDir, 'addons'))).toEqual([]);
    expect(await state()).toBe('missing');
  });
});
