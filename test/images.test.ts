// Training on a folder of photographs: the bits do not depend on who decoded what, and a file that breaks meanwhile is named.
// Refuses to look at speed, and at single images (specs of libs/model/images).
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { picture } from '../libs/model/images/test-images.fixture.js';
import { contributors, expectCleanAudit, hashesOf } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { startSystem, type TestSystem } from './support/system.js';

const classes = ['n01440764', 'n01443537', 'n01484850'];
const perClass = 12;

/** train/<class>/*.JPEG and val/<class>/*.JPEG: pictures of three kinds, of several sizes. */
async function makePhotos(folder: string): Promise<void> {
  for (const [part, count] of [
    ['train', perClass],
    ['val', 4],
  ] as const) {
    for (const [label, name] of classes.entries()) {
      await mkdir(join(folder, part, name), { recursive: true });
      for (let index = 0; index < count; index++) {
        const file = join(folder, part, name, `${name}_${index}.JPEG`);
        await picture(150 + 10 * index, 120, 10 * label + index)
          .jpeg()
          .toFile(file);
      }
    }
  }
}

const specOf = (augmentation: string, rest: object = {}): object => ({
  model: { architecture: 'resnet8' },
  dataset: { kind: 'imagefolder', path: 'photos', classes: classes.length, imageSize: 40, augmentation },
  training: { steps: 4, batchSize: 16, shardSize: 4, schedule: { kind: 'constant', learningRate: 0.01 } },
  evaluation: { everyEpochs: 1 },
  checkpoint: { everySteps: 0 },
  ...rest,
});

async function systemWithPhotos(workers: number, environment = {}): Promise<TestSystem> {
  const system = await startSystem({ workers, environment });
  await makePhotos(join(system.dataDir, 'datasets', 'photos'));
  return system;
}

describe('a folder of photographs', () => {
  let one: TestSystem;
  let two: TestSystem;
  beforeAll(async () => {
    [one, two] = await Promise.all([
      systemWithPhotos(1),
      systemWithPhotos(2, { LOCKSTEP_IMAGE_THREADS: '2', LOCKSTEP_IMAGE_CACHE_BYTES: '0' }),
    ]);
    return () => Promise.all([one.stop(), two.stop()]);
  });

  it.each(['paper', 'random-resized-crop'])(
    'ends with the same bits on one worker, two, and none (%s)',
    async (how) => {
      const spec = specOf(how);
      const [alone, both] = [await one.train(spec), await two.train(spec)];
      expect(await contributors(two, both.id)).toEqual(['worker-1', 'worker-2']);
      expect(hashesOf(both)).toEqual(hashesOf(alone));
      expect(both.test).toEqual(alone.test);
      const dataset = join(two.dataDir, 'datasets', 'photos');
      expect(hashesOf(both)).toEqual(hashesOf(await trainPlainly(spec, { dataset })));
      await expectCleanAudit(two, both.id, 4);
    },
  );

  it('says how the sample of photographs is made where it is not there', async () => {
    const body = { preset: 'resnet152-sample' };
    const problem = await one.api.expect<{ errors: unknown }>(422, '/api/v1/jobs', { method: 'POST', body });
    expect(problem.errors).toEqual([
      {
        path: 'dataset.path',
        message: expect.stringMatching(
          /^there is no imagenet-sample in .*; `npx lockstep dataset prepare imagenet-sample` makes it$/,
        ) as string,
      },
    ]);
  });

  it('tells how images were prepared', async () => {
    const { workers } = await two.api.expect<{ workers: { images: Record<string, number> }[] }>(200, '/api/v1/workers');
    for (const { images } of workers) {
      expect(images['images']).toBeGreaterThan(0);
      expect(images['seconds']).toBeGreaterThan(0);
      expect(images['starvedSeconds']).toBeGreaterThanOrEqual(0);
      expect(images['cacheHits']).toBe(0);
    }
  });

  it('pauses, naming the file, when one turns out to be broken', async () => {
    const { api, dataDir } = two;
    const id = await api.submit(specOf('paper', { training: { steps: 1_000, batchSize: 16, shardSize: 4 } }));
    await api.untilJob(id, ({ step }) => step >= 1);
    const file = join('train', classes[1]!, `${classes[1]}_3.JPEG`);
    const path = join(dataDir, 'datasets', 'photos', file);
    await writeFile(path, Buffer.alloc((await stat(path)).size));
    const { reason } = await api.untilState(id, 'paused');
    expect(reason).toMatch(new RegExp(`${file} cannot be decoded: .*unsupported image format`));
  });
});
