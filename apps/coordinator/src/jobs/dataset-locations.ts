// Where a job's dataset lies, whether it may be used, and how one that Lockstep can fetch or index gets ready.
// Refuses to know what is in it.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { archiveNames } from '#model/datasets/archive-names.js';
import { CIFAR10_FOLDER } from '#model/datasets/cifar10-files.js';
import { isAllowedUrl, shownUrl, type DatasetAccess } from '#model/datasets/dataset-access.js';
import { DatasetError } from '#model/datasets/dataset-error.js';
import type { IndexingProgress } from '#model/datasets/folder-indexer.js';
import { indexPlaces, type ImageFilesName } from '#model/datasets/image-files.js';
import { peekIndex } from '#model/datasets/image-index.js';
import { isArchiveUrl } from '#model/job-spec-datasets.js';
import { type JobSpec, SpecError } from '#model/job-spec.js';
import type { DatasetIndexing } from './dataset-indexing.js';

export interface DatasetPlaces {
  readonly dataDir: string;
  readonly cacheDir: string;
  readonly access: DatasetAccess;
  readonly indexing: DatasetIndexing;
  /** Resolves to the folder of CIFAR-10, fetching it first where it is not there. */
  readonly fetchCifar10: () => Promise<string>;
  /** The folder of CIFAR-10, where it is there already. */
  readonly findCifar10: () => Promise<string | undefined>;
}

/** A dataset that can be opened. */
export interface ReadyDataset {
  readonly location: string;
  /** Where its index lies, relative to the datasets folder; empty where it has none or lies elsewhere. */
  readonly indexPath: string;
  /** What people should know about it. */
  readonly note: string | null;
}

const samplePath = 'imagenet-sample';

export class DatasetLocations {
  readonly #places: DatasetPlaces;
  readonly #folder: string;

  constructor(places: DatasetPlaces) {
    this.#places = places;
    this.#folder = join(places.dataDir, 'datasets');
  }

  /**
   * Checks that a spec's dataset is there, or can be fetched, and is allowed.
   * @throws SpecError where it is not
   */
  check({ dataset }: JobSpec): void {
    if (dataset.kind === 'webdataset') {
      this.#checkArchives('dataset.train', dataset.train);
      if (dataset.test !== null) this.#checkArchives('dataset.test', dataset.test);
    } else if (dataset.kind !== 'synthetic') this.#checkFolder(dataset.kind, dataset.path);
  }

  /** How many classes image files have, where that can be told at once. Throws SpecError where the files are not there. */
  async classesOf(dataset: Readonly<Record<string, unknown>>): Promise<number | undefined> {
    const { kind, path, train, test } = dataset;
    if (kind === 'imagefolder' && typeof path === 'string' && isInside(path)) {
      this.#checkFolder(kind, path);
      return classFolders(join(this.#folder, path, 'train'));
    }
    const testing = test === undefined ? null : test;
    if (kind !== 'webdataset' || typeof train !== 'string' || (typeof testing !== 'string' && testing !== null)) {
      return undefined;
    }
    const classes = (await this.#peek({ kind, train, test: testing }, this.#folder))?.classNames.length;
    if (classes !== undefined) return classes;
    const message =
      'is missing: these archives are not indexed yet, so that the number of their classes is not known; give it, or run `npx lockstep dataset index`';
    throw new SpecError([{ path: 'dataset.classes', message }]);
  }

  /** Training images, where an index tells it. */
  async trainCountOf({ dataset }: JobSpec): Promise<number | undefined> {
    if (dataset.kind !== 'imagefolder' && dataset.kind !== 'webdataset') return undefined;
    const location = dataset.kind === 'imagefolder' ? join(this.#folder, dataset.path) : this.#folder;
    return (await this.#peek(dataset, location))?.trainCount;
  }

  /**
   * Fetches or indexes what is not ready.
   *
   * @param onWait told in a sentence why the job has to wait
   * @throws UnavailableError, DatasetError, the signal's reason
   */
  async prepare({ dataset }: JobSpec, onWait: (reason: string) => void, signal: AbortSignal): Promise<ReadyDataset> {
    if (dataset.kind === 'synthetic') return { location: '', indexPath: '', note: null };
    if (dataset.kind === 'cifar10') {
      const present = this.#local(dataset.path) ?? (await this.#places.findCifar10());
      if (present === undefined) onWait('The dataset is being fetched.');
      return { location: present ?? (await this.#places.fetchCifar10()), indexPath: '', note: null };
    }
    const location = dataset.kind === 'imagefolder' ? join(this.#folder, dataset.path) : this.#folder;
    const name: ImageFilesName =
      dataset.kind === 'imagefolder'
        ? { kind: dataset.kind }
        : { kind: dataset.kind, train: dataset.train, test: dataset.test };
    const { cacheDir, access, indexing } = this.#places;
    const onProgress = (progress: IndexingProgress): void => onWait(progressSentence(progress));
    const { file, note } = await indexing.ensure({ name, location, access, cacheDir }, onProgress, signal);
    const path = relative(this.#folder, file);
    return { location, indexPath: isInside(path) ? path.split(sep).join('/') : '', note };
  }

  #checkFolder(kind: string, path: string): void {
    const folder = this.#local(path);
    if (folder === undefined) {
      if (kind === 'cifar10' && path === CIFAR10_FOLDER) return;
      const remedy = path === samplePath ? '; `npx lockstep dataset prepare imagenet-sample` makes it' : '';
      throw new SpecError([{ path: 'dataset.path', message: `there is no ${path} in ${this.#folder}${remedy}` }]);
    }
    if (kind === 'imagefolder' && !existsSync(join(folder, 'train'))) {
      const message = `has no folder train in ${folder}: images must lie in train/<class>/ and val/<class>/`;
      throw new SpecError([{ path: 'dataset.path', message }]);
    }
  }

  #checkArchives(path: string, pattern: string): void {
    const problem = this.#problemOfArchives(pattern);
    if (problem !== undefined) throw new SpecError([{ path, message: problem }]);
  }

  #problemOfArchives(pattern: string): string | undefined {
    let names;
    try {
      names = archiveNames(pattern);
    } catch (error) {
      if (error instanceof DatasetError) return `cannot be used: ${error.message}`;
      throw error;
    }
    const { urlPrefixes = [] } = this.#places.access;
    for (const name of names) {
      if (isArchiveUrl(name)) {
        if (!isAllowedUrl(name, urlPrefixes))
          return `lies outside what LOCKSTEP_DATASET_URLS allows: ${shownUrl(name)}`;
      } else if (this.#local(name) === undefined)
        return `names an archive that is not there: there is no ${name} in ${this.#folder}`;
    }
    return undefined;
  }

  async #peek(name: ImageFilesName, location: string): Promise<ReturnType<typeof peekIndex>> {
    for (const file of await indexPlaces(name, location, this.#places.access)) {
      const head = peekIndex(file);
      if (head !== undefined) return head;
    }
    return undefined;
  }

  #local(path: string): string | undefined {
    const folder = join(this.#folder, path);
    return existsSync(folder) ? folder : undefined;
  }
}

function isInside(path: string): boolean {
  return !/^([/\\]|[a-zA-Z]:)/.test(path) && !path.split(/[/\\]/).includes('..');
}

function classFolders(train: string): number {
  return readdirSync(train).filter((name) => {
    return !name.startsWith('.') && statSync(join(train, name), { throwIfNoEntry: false })?.isDirectory() === true;
  }).length;
}

function progressSentence({ done, total, unit }: IndexingProgress): string {
  const counts = `${done.toLocaleString('en')} of ${total.toLocaleString('en')} ${unit}`;
  return `The dataset is being indexed, as it was not before or has changed since: ${counts}.`;
}
