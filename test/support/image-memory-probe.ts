// Owns: a program that has images of a folder prepared as a worker does, over and over, and prints the resident memory on the way.
// Refuses to know: what the network makes of them, and how much memory is too much. Arguments: the folder, images, images per line.
import { openDataset } from '#model/datasets/dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { tensorflowEnvironment } from '#model/tensorflow/settings.js';
import { ImagePool } from '../../apps/worker/src/image-pool.js';

const [folder, images, perLine] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])];
const batchSize = 20;
const imageSize = 224;
/** A worker's tasks by turns: one is prepared while another one is computed. */
const batches = [0, 1].map(() => ({
  out: new Float32Array(new SharedArrayBuffer(4 * batchSize * imageSize * imageSize * 3)),
  labels: new Int32Array(batchSize),
}));

Object.assign(process.env, tensorflowEnvironment(1));
const pool = new ImagePool({
  threads: 2,
  jpegKernel: true,
  cacheBytes: 0,
  script: new URL('../../apps/worker/src/image-thread.js', import.meta.url),
});
const { dataset: spec } = resolveJobSpec({
  model: { architecture: 'resnet18', classes: 2 },
  dataset: { kind: 'imagefolder', path: 'photos', classes: 2, imageSize },
});
const dataset = await openDataset(spec, folder, { images: pool });
let prepared = 0;
let next = 0;
let printed = 0;

async function prepareMore({ out, labels }: (typeof batches)[number]): Promise<void> {
  while (next < images) {
    const first = next;
    next += batchSize;
    const ids = Uint32Array.from({ length: batchSize }, (_, index) => (first + index) % dataset.trainCount);
    const augmentation = first % (2 * batchSize) === 0 ? 'paper' : 'random-resized-crop';
    await dataset.prepareTrain(ids, 1, Math.floor(first / dataset.trainCount), augmentation, out, labels);
    prepared += batchSize;
    if (prepared < printed + perLine) continue;
    printed += perLine;
    console.log(JSON.stringify({ images: pool.counts.images, residentBytes: process.memoryUsage.rss() }));
  }
}

await Promise.all(batches.map(prepareMore));
console.log(JSON.stringify({ images: pool.counts.images, residentBytes: process.memoryUsage.rss() }));
await dataset.close();
await pool.stop();
