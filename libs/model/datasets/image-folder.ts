// Owns: opening a folder of image files, and the place of its index: in the folder, or in the cache where that cannot be written to.
// Refuses to know: how an index is made and what is in it.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { DatasetSpec } from '../job-spec.js';
import type { DatasetAccess } from './dataset-access.js';
import { DatasetError } from './dataset-error.js';
import type { EncodedImages } from './encoded-images.js';
import { indexFolder, isFresh, type IndexingOptions } from './folder-indexer.js';
import { loadIndex, saveIndex, type ImageIndex } from './image-index.js';
import { IndexedImages } from './indexed-images.js';

type FolderSpec = Extract<DatasetSpec, { kind: 'imagefolder' }>;

export const indexFileName = '.lockstep-index';

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
  for (const file of await placesOf(root, where)) {
    const index = await loadIndex(file).catch((error: unknown) => {
      if (error instanceof DatasetError) return undefined; // damaged or of another version: it is made anew
      throw error;
    });
    if (index?.head.kind === 'imagefolder') return index;
  }
  return undefined;
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
  if (older !== undefined && older.head.contents === full && (await isFresh(older, root))) return older;
  const file = await placeFor(root, where);
  const allowedRoots = where.datasetsFolder === undefined ? [] : [await realpath(where.datasetsFolder)];
  const indexing = { ...options, root, full, journal: `${file}.journal`, allowedRoots };
  await saveIndex(file, await indexFolder(older === undefined ? indexing : { ...indexing, older }));
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

async function placesOf(root: string, where: DatasetAccess): Promise<string[]> {
  const inFolder = path.join(root, indexFileName);
  if (where.cacheDir === undefined) return [inFolder];
  const real = await realpath(root).catch(() => root);
  const key = createHash('sha256').update(real).digest('hex').slice(0, 16);
  return [inFolder, path.join(where.cacheDir, 'indexes', `${path.basename(real)}-${key}`)];
}

/** The first place that can be written to. */
async function placeFor(root: string, where: DatasetAccess): Promise<string> {
  const [inFolder, inCache] = await placesOf(root, where);
  try {
    const taken = await stat(inFolder!).catch(() => undefined);
    await access(root, constants.W_OK);
    if (taken === undefined || taken.isFile()) return inFolder!;
  } catch (error) {
    if (!['EACCES', 'EROFS', 'EPERM'].includes(String((error as NodeJS.ErrnoException).code))) {
      throw new DatasetError(`${root} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error });
    }
  }
  if (inCache === undefined) throw new DatasetError(`The index cannot be put into ${root}: it cannot be written to`);
  await mkdir(path.dirname(inCache), { recursive: true });
  return inCache;
}
