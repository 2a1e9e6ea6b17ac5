import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseFlavour, ensureNativeLibrary, findNativeLibrary, placeOf, rememberFlavour } from './native-library.js';
import { silentReporter } from './progress.js';
import { SetupError } from './setup-error.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'lockstep-library-'))));
afterEach(async () => await rm(folder, { recursive: true }));

async function files(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), path);
  }
}

const header = 'include/tensorflow/c/eager/c_api.h';
const find = async (): ReturnType<typeof findNativeLibrary> =>
  await findNativeLibrary({ cacheDir: join(folder, 'cache'), tensorflowDir: folder, flavour: 'cpu' });

describe('LOCKSTEP_TENSORFLOW_DIR', () => {
  it('may be an installed Python package', async () => {
    await files(header, 'libtensorflow_cc.so.2', 'libtensorflow_framework.so.2');
    expect(await find()).toMatchObject({
      libraryDir: folder,
      libraries: ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'],
      includeDir: join(folder, 'include'),
      flavour: 'given',
    });
  });

  it('may be an unpacked C archive, and another library there has another identity', async () => {
    await files(header, 'lib/libtensorflow.so.2', 'lib/libtensorflow_framework.so.2');
    const first = await find();
    expect(first).toMatchObject({
      libraryDir: join(folder, 'lib'),
      libraries: ['libtensorflow.so.2', 'libtensorflow_framework.so.2'],
    });
    await writeFile(join(folder, 'lib/libtensorflow.so.2'), 'another');
    expect((await find())?.identity).not.toBe(first?.identity);
  });

  it.each([
    [
      'no headers',
      ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'],
      /holds no include\/tensorflow\/c\/eager\/c_api\.h\. Point it/,
    ],
    ['no library', [header], /holds neither libtensorflow_cc\.so\.2 nor .* Point it/],
    ['half of the library', [header, 'lib/libtensorflow.so.2'], /holds neither/],
    ['nothing', [], /holds no include/],
  ])('with %s gets a sentence', async (_what, paths, sentence) => {
    await files(...paths);
    await expect(find()).rejects.toThrow(SetupError);
    await expect(find()).rejects.toThrow(sentence);
  });
});

describe('the pinned library', () => {
  it('is not found in an empty cache, and --offline says what to do', async () => {
    const options = { cacheDir: folder, flavour: 'cpu' } as const;
    expect(await findNativeLibrary(options)).toBeUndefined();
    const ensuring = ensureNativeLibrary({ ...options, offline: true, report: silentReporter, environment: {} });
    await expect(ensuring).rejects.toThrow(/^tensorflow-cpu 2\.21\.0 is not in the cache .* --offline forbids/);
  });

  it('stays with the flavour that was asked for last', async () => {
    expect(await chooseFlavour(folder, undefined)).toBe('cpu');
    expect(await chooseFlavour(folder, 'cuda')).toBe('cuda');
    await rememberFlavour(folder, 'cuda');
    await rememberFlavour(folder, undefined);
    expect(await chooseFlavour(folder, undefined)).toBe('cuda');
    expect(await chooseFlavour(folder, 'cpu')).toBe('cpu');
    await rememberFlavour(folder, 'cpu');
    expect(await chooseFlavour(folder, undefined)).toBe('cpu');
  });

  it("takes from the wheels what is linked to, its headers, and where TensorFlow looks for NVIDIA's libraries", () => {
    expect(placeOf('tensorflow/libtensorflow_cc.so.2')).toBe('lib/libtensorflow_cc.so.2');
    expect(placeOf('tensorflow/include/tensorflow/c/eager/c_api.h')).toBe(header);
    expect(placeOf('tensorflow/include/tsl/platform/ctstring_internal.h')).toBe(
      'include/tsl/platform/ctstring_internal.h',
    );
    expect(placeOf('nvidia/cudnn/lib/libcudnn.so.9')).toBe('nvidia/cudnn/lib/libcudnn.so.9');
    expect(placeOf('nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc')).toBe(
      'nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc',
    );
    for (const name of [
      'tensorflow/__init__.py',
      'tensorflow/include/tensorflow/core/framework/tensor.h',
      'tensorflow/python/_pywrap_tensorflow_internal.so',
      'nvidia/cudnn/include/cudnn.h',
      'evil/../../tensorflow/libtensorflow_cc.so.2',
    ]) {
      expect(placeOf(name)).toBeUndefined();
    }
  });
});
