// Owns: where the index of a dataset lies: with the images, else in the datasets folder, else in the cache; the first that can be written.
// Refuses to know: what an index holds.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { DatasetAccess } from './dataset-access.js';
import { DatasetError } from './dataset-error.js';
import { loadIndex, type ImageIndex } from './image-index.js';

export const indexFileName = '.lockstep-index';
const sharedFolder = '.indexes';

/** Of a folder of images, in the order in which they are looked for. */
export async function placesOfFolder(root: string, where: DatasetAccess): Promise<string[]> {
  const real = await realpath(root).catch(() => root);
  return [
    path.join(root, indexFileName),
    ...sharedPlaces(`${path.basename(real)}-${keyOf(real)}`, where.datasetsFolder, where),
  ];
}

/** Of archives, whose paths are relative to `folder`. */
export function placesOfArchives(train: string, test: string | null, folder: string, where: DatasetAccess): string[] {
  return sharedPlaces(`archives-${keyOf(JSON.stringify([train, test]))}`, folder, where);
}

/** The first index there that can be read and is of this kind; a damaged one counts as none, as it can be made anew. */
export async function findIndex(
  places: readonly string[],
  kind: ImageIndex['head']['kind'],
): Promise<ImageIndex | undefined> {
  for (const file of places) {
    const index = await loadIndex(file).catch((error: unknown) => {
      if (error instanceof DatasetError) return undefined;
      throw error;
    });
    if (index?.head.kind === kind) return index;
  }
  return undefined;
}

/** The first place that can be written to. Throws DatasetError where none can. */
export async function placeToWrite(places: readonly string[]): Promise<string> {
  for (const [order, file] of places.entries()) {
    const folder = path.dirname(file);
    // The folder of the images is there or not; the others are made.
    if (order > 0 || path.basename(folder) === sharedFolder)
      await mkdir(folder, { recursive: true }).catch(() => undefined);
    const taken = await stat(file).catch(() => undefined);
    const writable = await access(folder, constants.W_OK).then(
      () => true,
      () => false,
    );
    if (writable && (taken === undefined || taken.isFile())) return file;
  }
  throw new DatasetError(
    `The index has no place: ${places.map((file) => path.dirname(file)).join(', ')} cannot be written to`,
  );
}

function sharedPlaces(name: string, folder: string | undefined, { cacheDir }: DatasetAccess): string[] {
  const places = folder === undefined || folder === '' ? [] : [path.join(folder, sharedFolder, name)];
  return cacheDir === undefined ? places : [...places, path.join(cacheDir, 'indexes', name)];
}

function keyOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
