// The files of a job's dataset: where the coordinator says that they are, if this host sees them there, else fetched from the coordinator.
// Refuses to know jobs and pixels.
import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { ArchiveOpener, cacheOf, Limit, remoteArchive, type ArchiveSource } from '#model/datasets/archive-source.js';
import { cifar10Hash, filesOfFolder, type Cifar10Files, type DataFile } from '#model/datasets/cifar10-files.js';
import type { DatasetAccess } from '#model/datasets/dataset-access.js';
import { DatasetError } from '#model/datasets/dataset-error.js';
import type { ImageFilesSpec } from '#model/datasets/decoded-images.js';
import type { EncodedImages } from '#model/datasets/encoded-images.js';
import type { FileCache } from '#model/datasets/file-cache.js';
import { HttpFile, type HttpGet } from '#model/datasets/http-file.js';
import { findFolderIndex, imagesOfFolder } from '#model/datasets/image-folder.js';
import { decodeIndex, loadIndex, saveIndex, type ImageIndex } from '#model/datasets/image-index.js';
import { IndexedImages } from '#model/datasets/indexed-images.js';
import { areThere, findArchiveIndex, imagesOfArchives } from '#model/datasets/web-dataset.js';
import { isArchiveUrl } from '#model/job-spec-datasets.js';

/** What the coordinator tells of a job's dataset. */
export interface DatasetFacts {
  readonly datasetHash: string;
  /** Of the images' contents; empty where it has not read them. */
  readonly datasetContentsHash: string;
  /** Those of a dataset without an index. */
  readonly datasetFiles: readonly DataFile[];
  /** URL below which it serves the datasets folder. */
  readonly datasetsUrl: string;
  /** Path of the index below that; empty where it cannot be served. */
  readonly datasetIndex: string;
}

/** How a worker gets at image files. */
export interface DatasetSources {
  readonly access: DatasetAccess;
  /** Asks the coordinator's REST. */
  readonly get: HttpGet;
}

/** More than an index of a hundred million images has. */
const mostIndexBytes = 8e9;
const requestsAtOnce = 16;

export class DatasetFiles {
  readonly #facts: DatasetFacts;
  readonly #access: DatasetAccess;
  readonly #get: HttpGet;
  /** One for all files and archives of the job: bounds hold for what they take together. */
  readonly #cache: FileCache | undefined;
  readonly #limit = new Limit(requestsAtOnce);

  constructor(facts: DatasetFacts, { access, get }: DatasetSources) {
    this.#facts = facts;
    this.#access = access;
    this.#get = get;
    this.#cache = cacheOf(access);
  }

  /** Throws DatasetError where the files are neither here nor to be had. */
  async open(spec: ImageFilesSpec, location: string): Promise<EncodedImages> {
    if (spec.kind === 'imagefolder') {
      const index = await this.#index(await findFolderIndex(location, this.#access), location);
      return (await seesFolder(index, location))
        ? imagesOfFolder(index, location)
        : this.#fetchedFolder(spec.path, index);
    }
    const index = await this.#index(await findArchiveIndex(spec, location, this.#access), location);
    const opener = new ArchiveOpener(location, this.#access);
    if (await areThere(index, location)) return imagesOfArchives(index, opener);
    return imagesOfArchives(index, {
      open: (name) => (isArchiveUrl(name) ? opener.open(name) : this.#fetchedArchive(name)),
    });
  }

  /** CIFAR-10's files: those at the location where they are the coordinator's, else fetched as they are asked for. */
  async openCifar10({ path: folder }: { readonly path: string }, location: string): Promise<Cifar10Files> {
    const { datasetHash, datasetFiles } = this.#facts;
    const found = await filesOfFolder(location).catch(() => undefined); // not there or not to be read: fetched
    if (found !== undefined && cifar10Hash(found) === datasetHash) return found;
    const nameOf = ({ name }: DataFile): string => this.#urlOf(`${folder}/${name}`);
    return {
      list: datasetFiles,
      nameOf,
      read: (wanted) => this.#fetchedFile(nameOf(wanted), wanted),
    };
  }

  async #fetchedFile(url: string, { bytes, sha256 }: DataFile): Promise<Uint8Array> {
    const isRight = (piece: Uint8Array): boolean => createHash('sha256').update(piece).digest('hex') === sha256;
    const fetched = async (): Promise<Uint8Array> => {
      const file = new HttpFile(url, { get: this.#get });
      const piece = await this.#limit.run(() => file.read(0, bytes, { bytes }));
      if (!isRight(piece)) throw new DatasetError(`${url} has changed since the job began: its hash is another one`);
      return piece;
    };
    return this.#cache === undefined ? fetched() : this.#cache.get(`files/${sha256}`, bytes, fetched, isRight);
  }

  /** The coordinator's index: the one found here if it is the same, else one fetched before, else fetched now. */
  async #index(found: ImageIndex | undefined, location: string): Promise<ImageIndex> {
    if (this.#knowsAll(found)) return found;
    const { cacheDir } = this.#access;
    const kept = cacheDir === undefined ? undefined : path.join(cacheDir, 'indexes', this.#facts.datasetHash);
    const before = kept === undefined ? undefined : await loadIndex(kept).catch(() => undefined); // a damaged one is fetched anew
    if (this.#knowsAll(before)) return before;
    try {
      return await this.#fetchedIndex(kept, location);
    } catch (error) {
      // It lacks checksums that the coordinator has, and is of the same images.
      if (found !== undefined && this.#fits(found)) return found;
      throw error;
    }
  }

  /** Whether an index is of the job's images, as far as can be told. */
  #fits({ hash, contentsHash }: ImageIndex): boolean {
    const { datasetHash, datasetContentsHash } = this.#facts;
    const bothRead = contentsHash !== null && datasetContentsHash !== '';
    return hash === datasetHash && (!bothRead || contentsHash === datasetContentsHash);
  }

  /** Whether it has checksums, too, where the coordinator has them. */
  #knowsAll(index: ImageIndex | undefined): index is ImageIndex {
    if (index === undefined || !this.#fits(index)) return false;
    return index.contentsHash !== null || this.#facts.datasetContentsHash === '';
  }

  /** @param kept where it is put */
  async #fetchedIndex(kept: string | undefined, location: string): Promise<ImageIndex> {
    const { datasetIndex } = this.#facts;
    if (datasetIndex === '') {
      throw new DatasetError(
        `The dataset is not at ${location} on this host, and the coordinator cannot serve it: its index lies outside the datasets folder`,
      );
    }
    const url = this.#urlOf(datasetIndex);
    let bytes;
    try {
      bytes = await new HttpFile(url, { get: this.#get }).readAll(mostIndexBytes);
    } catch (error) {
      throw new DatasetError(
        `The dataset is not at ${location} on this host, and cannot be fetched from the coordinator: ${(error as Error).message}; ` +
          'mount it here, or let the coordinator be reached (its LOCKSTEP_HTTP_HOST and LOCKSTEP_ADVERTISED_URL)',
        { cause: error },
      );
    }
    const index = await decodeIndex(bytes, url);
    if (!this.#fits(index))
      throw new DatasetError(`${url} is not the index of the job: the dataset has changed since it began`);
    if (kept !== undefined) await this.#keep(kept, bytes);
    return index;
  }

  async #keep(file: string, bytes: Uint8Array): Promise<void> {
    try {
      await mkdir(path.dirname(file), { recursive: true });
      await saveIndex(file, bytes);
    } catch {
      // A full or read-only disk: the next start fetches it again.
    }
  }

  #fetchedFolder(dataset: string, index: ImageIndex): EncodedImages {
    const cache = this.#cache;
    const urlOf = (folder: string, name: string): string => this.#urlOf(`${dataset}/${folder}/${name}`);
    return new IndexedImages(index, {
      nameOf: (folder, { name }) => urlOf(folder, name),
      read: async (folder, { name, bytes, checksum }) => {
        const file = new HttpFile(urlOf(folder, name), { get: this.#get });
        const fetched = (): Promise<Uint8Array> => this.#limit.run(() => file.read(0, bytes, { bytes }));
        // Of the contents where they are known: a file that was overwritten is fetched again.
        const named = index.head.contents ? `${folder}/${name} ${checksum}` : `${folder}/${name}`;
        const key = createHash('sha256').update(named).digest('hex').slice(0, 32);
        return cache === undefined ? fetched() : cache.get(`${index.hash.slice(0, 32)}/${key}`, bytes, fetched);
      },
      close: async () => undefined,
    });
  }

  async #fetchedArchive(name: string): Promise<ArchiveSource> {
    const file = new HttpFile(this.#urlOf(name), { get: this.#get });
    const state = await this.#limit.run(() => file.state());
    return remoteArchive(name, file, state, this.#cache, this.#limit);
  }

  #urlOf(name: string): string {
    return `${this.#facts.datasetsUrl}/${name.split('/').map(encodeURIComponent).join('/')}`;
  }
}

/** Whether the first and the last image are where the index says, with the sizes that it says. */
async function seesFolder(index: ImageIndex, root: string): Promise<boolean> {
  for (const row of [0, index.count - 1]) {
    const { name, bytes } = index.entryAt(row);
    const found = await stat(path.join(root, index.containerAt(row), name)).catch(() => undefined); // not there is an answer
    if (found?.size !== bytes) return false;
  }
  return true;
}
