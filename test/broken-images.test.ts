// An image file that breaks after its folder was indexed, as disks and copies do it: the job pauses and names the file and the
// worker; when the file is back, it ends with the bits of a job to which nothing happened. Refuses to check what is broken
// before the folder is indexed; that is left out, and image-folder.spec.ts's.
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { ensureFolderIndex } from '#model/datasets/image-folder.js';
import { expectCleanAudit, hashesOf } from './support/outcomes.js';
import { startSystem } from './support/system.js';

const [side, perClass] = [40, 8];
const classes = ['cat', 'dog'];
const steps = 4;
const spec = {
  model: { architecture: 'resnet8', classes: classes.length, imageSize: 32 },
  dataset: { kind: 'imagefolder', path: 'photos', classes: classes.length, imageSize: 32, augmentation: 'none' },
  training: { steps, batchSize: classes.length * perClass, shardSize: 4 },
  evaluation: { everyEpochs: 0 },
};

/** train/<class>/ and val/<class>/ with small JPEGs, each of another colour. */
async function fill(folder: string): Promise<void> {
  for (const part of ['train', 'val']) {
    for (const [label, name] of classes.entries()) {
      mkdirSync(join(folder, part, name), { recursive: true });
      for (let index = 0; index < perClass; index += 1) {
        const background = { r: 255 * label, g: 30 * index, b: 128 };
        const image = sharp({ create: { width: side, height: side, channels: 3, background } });
        writeFileSync(join(folder, part, name, `${index}.jpg`), await image.jpeg().toBuffer());
      }
    }
  }
}

it('a JPEG that is broken pauses the job, which names it and goes on when it is mended', async () => {
  const system = await startSystem();
  const { api, dataDir } = system;
  const folder = join(dataDir, 'datasets', 'photos');
  await fill(folder);
  await ensureFolderIndex(folder);
  const file = join(folder, 'train', 'dog', '3.jpg');
  const whole = readFileSync(file);
  truncateSync(file, whole.length >> 1);

  const id = await api.submit(spec);
  const paused = await api.untilState(id, 'paused');
  expect(paused.step).toBe(0);
  expect(paused.reason).toMatch(/^Task \d of step 0 failed 5 times, last on worker worker-[12]: .*3\.jpg/);
  expect(paused.reason).toContain(`it has ${whole.length >> 1} bytes, not ${whole.length}`);
  expect(paused.reason).toMatch(/Put that right, then resume the job\.$/);

  writeFileSync(file, whole);
  await api.act(id, 'resume');
  const mended = await api.untilState(id, 'completed');
  await expectCleanAudit(system, id, steps);
  expect(hashesOf(mended)).toEqual(hashesOf(await system.train(spec)));
});
