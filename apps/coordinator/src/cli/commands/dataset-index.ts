// `dataset index`: looks at every image of a folder or of archives, and keeps what it found as the index that jobs use.
// Refuses to know what an index holds and how images are looked at.
import { existsSync, realpathSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve, sep } from 'node:path';
import { DatasetError } from '#model/datasets/dataset-error.js';
import type { IndexingProgress } from '#model/datasets/folder-indexer.js';
import { ensureImageIndex, indexKey, type ImageFilesName } from '#model/datasets/image-files.js';
import type { ImageIndex } from '#model/datasets/image-index.js';
import { reportLines } from '#model/datasets/image-report.js';
import { isArchiveUrl } from '#model/job-spec-datasets.js';
import { type CoordinatorConfig, loadConfig } from '../../config.js';
import { waitForLock } from '../../setup/lock.js';
import { CommandFailed, exitCodes, Interrupted, WrongUsage } from '../exit.js';
import { interruption } from '../interruption.js';
import { printJson, printLines } from '../output.js';

export interface DatasetIndexOptions {
  /** Archives of test images, named like those of training images. */
  readonly test?: string;
  readonly full?: boolean;
  readonly json?: boolean;
}

const lockWaitMs = 24 * 3_600_000;
const redrawMs = 100;
const plainMs = 5_000;

/** @param source folder with train and val, or a path or URL of archives, in which braces stand for a range */
export async function indexDatasetCommand(
  source: string,
  options: DatasetIndexOptions,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  const config = loadConfig(environment);
  const { name, location } = whatIsMeant(source, options.test, config);
  const bar = progressBar(source);
  try {
    const lock = await waitForLock(config.cacheDir, `index ${await indexKey(name, location)}`, {
      deadlineMs: lockWaitMs,
      onWait: (holder) => bar.say(`Waiting for process ${holder ?? '?'}, which is indexing it …`),
    });
    try {
      const indexing = { full: options.full === true, lookAgain: true, onProgress: bar.show, signal: stop.signal };
      const index = await ensureImageIndex(name, location, config.datasetAccess, indexing);
      bar.end();
      if (options.json === true) printJson(summaryOf(index));
      else printLines(linesOf(index));
    } finally {
      await lock.release();
    }
    return exitCodes.good;
  } catch (error) {
    bar.end();
    if (stop.signal.aborted) {
      bar.say('Broken off; the next run goes on from here.');
      throw new Interrupted();
    }
    if (error instanceof DatasetError) throw new CommandFailed(error.message, { cause: error });
    throw error;
  }
}

/** A folder by its path, or by its name in the datasets folder; all else are archives. */
function whatIsMeant(
  source: string,
  test: string | undefined,
  { dataDir }: CoordinatorConfig,
): { name: ImageFilesName; location: string } {
  const datasets = join(dataDir, 'datasets');
  const places = isAbsolute(source) ? [source] : [resolve(source), join(datasets, source)];
  const folder = places.find((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory());
  if (!isArchiveUrl(source) && !source.includes('{') && !places.some((path) => existsSync(path))) {
    throw new WrongUsage(
      `There is no folder or archive ${source}; looked for ${places.join(' and ')}. Put a folder with train/<class>/… and ` +
        'val/<class>/… there, or tar archives with images and labels (docs/datasets.md).',
    );
  }
  if (!isArchiveUrl(source) && folder !== undefined) {
    if (test !== undefined) throw new WrongUsage('--test belongs to archives: a folder of images has its own val.');
    return { name: { kind: 'imagefolder' }, location: inDatasets(folder, datasets) };
  }
  const [train, testing] = [source, test].map((pattern) =>
    pattern === undefined ? undefined : relativeTo(pattern, datasets),
  );
  return { name: { kind: 'webdataset', train: train!, test: testing ?? null }, location: datasets };
}

/** Jobs see a folder by its path among the datasets, so that links in it are judged from there. */
function inDatasets(folder: string, datasets: string): string {
  const real = realpathSync(folder);
  return existsSync(datasets) && real.startsWith(realpathSync(datasets) + sep)
    ? join(datasets, real.slice(realpathSync(datasets).length + 1))
    : folder;
}

function relativeTo(pattern: string, datasets: string): string {
  if (isArchiveUrl(pattern)) return pattern;
  const absolute = resolve(pattern);
  if (absolute.startsWith(datasets + sep)) return absolute.slice(datasets.length + 1);
  if (pattern.startsWith('/') || pattern.split('/').includes('..')) {
    throw new WrongUsage(
      `${pattern} lies outside ${datasets}, where jobs look for archives: put it there, or name a folder or a URL.`,
    );
  }
  return pattern;
}

function summaryOf({ file, hash, contentsHash, head, report }: ImageIndex): object {
  const { classNames, trainCount, testCount, contents } = head;
  const counts = { classes: classNames.length, train: trainCount, test: testCount };
  return { index: file, hash, contentsHash, ...counts, contents, report };
}

function linesOf({ file, hash, head, report }: ImageIndex): string[] {
  const { classNames, trainCount, testCount } = head;
  const counts = [trainCount, testCount, classNames.length].map((count) => count.toLocaleString('en'));
  return [
    ...reportLines(report),
    `${counts[0]!} training images, ${counts[1]!} test images, ${counts[2]!} classes; index ${hash.slice(0, 12)}`,
    file,
  ];
}

/** A line that is redrawn on a terminal, few plain lines elsewhere; on standard error. */
function progressBar(what: string) {
  const { stderr } = process;
  let drawnMs = 0;
  let open = false;
  const show = ({ done, total, unit }: IndexingProgress): void => {
    const now = Date.now();
    if (now - drawnMs < (stderr.isTTY ? redrawMs : plainMs) && done < total) return;
    drawnMs = now;
    const share = Math.floor((100 * done) / Math.max(1, total));
    const cells = Math.floor(share / 5);
    const text = `Indexing ${what} [${'#'.repeat(cells)}${'.'.repeat(20 - cells)}] ${share} % ${done.toLocaleString('en')}/${total.toLocaleString('en')} ${unit}`;
    stderr.write(stderr.isTTY ? `\r\x1b[K${text}` : `${text}\n`);
    open = stderr.isTTY;
  };
  const end = (): void => {
    if (open) stderr.write('\n');
    open = false;
  };
  return { show, end, say: (sentence: string) => void stderr.write(`${sentence}\n`) };
}
