// Owns: opening a folder of image files by its index, which is made where there is none.
// Refuses to know: how an index is made, where it lies and what is in it.
import { readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import type { DatasetSpec } from '../job-spec.js';
import type { DatasetAccess } from './dataset-access.js';
import { DatasetError } from './dataset-error.js';
import type { EncodedImages } from './encoded-images.js';
import { indexFolder, isFresh, type IndexingOptions } from './folder-indexer.js';
import { loadIndex, saveIndex, type ImageIndex } from './image-index.js';
import { findIndex, placesOfFolder, placeToWrite } from './index-places.js';
import { IndexedImages } from './indexed-images.js';

type FolderSpec = Extract<DatasetSpec, { kind: 'imagefolder' }>;

/**
 * Opens a folder with train/<class>/… and val/…; one that was not indexed before, or has changed since, is indexed first.
 *
 * @param location the folder
 * @throws DatasetError where it cannot be indexed, or is not what the spec says
 */
export async function openImageFolder(
  spec: FolderSpec,
  location: string,
  where: DatasetAccess = {},
): Promise<EncodedImages> {
  const index = await ensureFolderIndex(location, where);
  checkAgainst(spec, index, location);
  return imagesOfFolder(index, location);
}

/** The images of a folder whose index is at hand. */
export function imagesOfFolder(index: ImageIndex, root: string): EncodedImages {
  const nameOf = (folder: string, entry: { name: string }): string => path.join(root, folder, entry.name);
  return new IndexedImages(index, {
    nameOf,
    read: (folder, entry, signal) => readFile(nameOf(folder, entry), signal === undefined ? {} : { signal }),
    close: async () => undefined,
  });
}

/** The index of a folder where there is one that can be read; whether the folder has changed since is another question. */
export async function findFolderIndex(root: string, where: DatasetAccess = {}): Promise<ImageIndex | undefined> {
  return findIndex(await placesOfFolder(root, where), 'imagefolder');
}

/**
 * The index of a folder, made where there is none, or where the folder has changed since. One at a time per folder: the caller
 * sees to that. An indexing that is broken off goes on where it was.
 *
 * @throws DatasetError, the signal's reason
 */
export async function ensureFolderIndex(
  root: string,
  where: DatasetAccess = {},
  options: IndexingOptions = {},
): Promise<ImageIndex> {
  const older = await findFolderIndex(root, where);
  const full = options.full === true || older?.head.contents === true;
  const lookAgain = options.lookAgain === true;
  if (!lookAgain && older !== undefined && older.head.contents === full && (await isFresh(older, root))) return older;
  // Who asks for contents to be read does not trust sizes and times.
  const everything = lookAgain && options.full === true;
  const file = await placeToWrite(await placesOfFolder(root, where));
  const allowedRoots = where.datasetsFolder === undefined ? [] : [await realpath(where.datasetsFolder)];
  const indexing = { ...options, root, full, journal: `${file}.journal`, allowedRoots };
  await saveIndex(file, await indexFolder(older === undefined || everything ? indexing : { ...indexing, older }));
  return loadSaved(file);
}

/** Reads what was just written: what is on the disk is what counts. */
export async function loadSaved(file: string): Promise<ImageIndex> {
  const index = await loadIndex(file);
  if (index === undefined) throw new DatasetError(`The index ${file} is gone as soon as it was written`);
  return index;
}

/** Checks what a job's spec says of a dataset. Throws DatasetError. */
export function checkAgainst(
  spec: { classes: number; brokenFiles: 'skip' | 'fail' },
  index: ImageIndex,
  what: string,
): void {
  const { broken } = index.report;
  const { length } = index.head.classNames;
  if (length !== spec.classes)
    throw new DatasetError(`${what} has ${length} classes, not ${spec.classes} as dataset.classes says`);
  if (spec.brokenFiles === 'fail' && broken.count > 0) {
    const more = broken.count > 3 ? ` and ${broken.count - 3} more` : '';
    throw new DatasetError(
      `${what} has images that cannot be used: ${broken.names.slice(0, 3).join(', ')}${more}; ` +
        "mend or remove them, or set dataset.brokenFiles to 'skip'",
    );
  }
}
