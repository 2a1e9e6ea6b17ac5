// How fast photographs become training images: Lockstep's image threads and, where a Python has it, torchvision's DataLoader,
// by turns on the same files. Refuses to train on them.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Dataset, openDataset } from '#model/datasets/dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { tensorflowEnvironment } from '#model/tensorflow/settings.js';
import { loadConfig } from '../../apps/coordinator/src/config.js';
import { imagenetSampleName, prepareImagenetSample } from '../../apps/coordinator/src/setup/imagenet-sample.js';
import { ImagePool } from '../../apps/worker/src/image-pool.js';
import { formatted, printTable, progress, quantile } from './table.js';

const augmentations = ['random-resized-crop', 'paper'] as const;
type Augmentation = (typeof augmentations)[number];

const rounds = 4;
/** Per round and augmentation; with all rounds 20,000 images go through the image threads. */
const batches = { lockstep: 78, torchvision: 24 };
const batchSize = 32;
const imageSize = 224;
const cores = availableParallelism();

interface Figures {
  readonly images: number;
  readonly seconds: number;
  /** Of all threads and processes that prepare images. */
  readonly cpuSeconds: number;
}

Object.assign(process.env, tensorflowEnvironment(1));
const { cacheDir } = loadConfig(process.env);
const folder = await prepareImagenetSample({ folder: join(cacheDir, 'datasets', imagenetSampleName), cacheDir });
const pool = new ImagePool({
  threads: cores,
  cacheBytes: 0,
  jpegKernel: true,
  script: new URL('../../apps/worker/src/image-thread.js', import.meta.url),
});
const spec = resolveJobSpec({ preset: 'resnet152-sample' }).dataset;
const dataset = await openDataset(spec, folder, { images: pool });
const python = process.env['LOCKSTEP_PARITY_PYTHON'];
const torchvision = python === undefined ? undefined : startTorchvision(python);

const found = new Map<string, Figures[]>();
const residentMegabytes: number[] = [];
for (let round = 0; round < rounds; round++) {
  for (const augmentation of augmentations) {
    progress(`round ${round + 1} of ${rounds}, ${augmentation}`);
    note('Lockstep', augmentation, await measure(dataset, augmentation, round));
    if (torchvision !== undefined) note('torchvision', augmentation, await torchvision.measure(augmentation));
  }
  residentMegabytes.push(process.memoryUsage.rss() / 1e6);
}
await dataset.close();
await pool.stop();
torchvision?.stop();

const perCore = (figures: Figures) => figures.images / figures.cpuSeconds;
const perSecond = (figures: Figures) => figures.images / figures.seconds;
const median = (who: string, augmentation: Augmentation, of: (figures: Figures) => number) =>
  quantile((found.get(`${who} ${augmentation}`) ?? []).map(of), 0.5);
const programs = torchvision === undefined ? ['Lockstep'] : ['Lockstep', 'torchvision'];
printTable({
  title: `Images: JPEG photographs of 500x375 to augmented ${imageSize}x${imageSize}, normalised, in batches of ${batchSize}`,
  columns: ['', 'images per second of a core', `images/s on ${cores} cores`],
  rows: augmentations.flatMap((augmentation) =>
    programs.map((who) => [
      `${who}, ${augmentation}`,
      formatted(median(who, augmentation, perCore), 0),
      formatted(median(who, augmentation, perSecond), 0),
    ]),
  ),
  notes: [
    `Medians of ${rounds} turns. A second of a core is one of processor time, so that what else the machine does counts little.`,
    ...(torchvision === undefined
      ? []
      : [
          `torchvision: PIL images, DataLoader with ${cores} worker processes, the same crops and flips in distribution.`,
        ]),
    `Lockstep's resident memory after each turn, ${formatted(batches.lockstep * batchSize * augmentations.length, 0)} images each: ` +
      `${residentMegabytes.map((megabytes) => formatted(megabytes, 0)).join(', ')} MB.`,
  ],
});

function note(who: string, augmentation: Augmentation, figures: Figures): void {
  const key = `${who} ${augmentation}`;
  found.set(key, [...(found.get(key) ?? []), figures]);
}

/** Two batches at once, as a worker that computes one while it prepares another. */
async function measure(images: Dataset, augmentation: Augmentation, epoch: number): Promise<Figures> {
  const elements = imageSize * imageSize * 3;
  let next = 0;
  const prepare = async (count: number): Promise<void> => {
    const out = new Float32Array(new SharedArrayBuffer(4 * batchSize * elements));
    const labels = new Int32Array(batchSize);
    for (let batch = next++; batch < count; batch = next++) {
      const ids = Uint32Array.from(
        { length: batchSize },
        (_, index) => (batch * batchSize + index) % images.trainCount,
      );
      await images.prepareTrain(ids, 1, epoch, augmentation, out, labels);
    }
  };
  if (epoch === 0) await prepare(4);
  next = 0;
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  await Promise.all([prepare(batches.lockstep), prepare(batches.lockstep)]);
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    images: batches.lockstep * batchSize,
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: (user + system) / 1e6,
  };
}

/** torchvision in a process of its own, which measures once per line that it is sent. */
function startTorchvision(program: string) {
  const script = fileURLToPath(new URL('../../../test/bench/pytorch_images.py', import.meta.url));
  const args = [
    '--folder',
    join(folder, 'train'),
    '--workers',
    cores,
    '--batch',
    batchSize,
    '--batches',
    batches.torchvision,
  ];
  const child: ChildProcess = spawn(program, [script, ...args.map(String)], { stdio: ['pipe', 'pipe', 'inherit'] });
  process.once('exit', () => child.kill());
  const lines = createInterface({ input: child.stdout! });
  return {
    measure: async (augmentation: Augmentation): Promise<Figures> => {
      const answer = once(lines, 'line') as Promise<[string]>;
      child.stdin!.write(`${augmentation}\n`);
      const died = once(child, 'exit').then(() => Promise.reject(new Error(`${program} ended before it answered.`)));
      const [line] = await Promise.race([answer, died]);
      died.catch(() => undefined);
      return JSON.parse(line) as Figures;
    },
    stop: () => child.stdin!.end(),
  };
}
