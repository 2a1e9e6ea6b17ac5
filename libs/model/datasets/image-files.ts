// Owns: what datasets of image files have in common, however they are stored: finding, making and opening by their index.
// Refuses to know: folders and archives (image-folder.ts, web-dataset.ts), and pixels.
import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import type { DatasetAccess } from './dataset-access.js';
import type { ImageFilesSpec } from './decoded-images.js';
import type { EncodedImages } from './encoded-images.js';
import type { IndexingOptions } from './folder-indexer.js';
import { ensureFolderIndex, openImageFolder } from './image-folder.js';
import type { ImageIndex } from './image-index.js';
import { placesOfArchives, placesOfFolder } from './index-places.js';
import { ensureArchiveIndex, openWebDataset } from './web-dataset.js';

/** What names the files; the rest of a spec does not change the index. */
export type ImageFilesName =
  | Pick<Extract<ImageFilesSpec, { kind: 'imagefolder' }>, 'kind'>
  | Pick<Extract<ImageFilesSpec, { kind: 'webdataset' }>, 'kind' | 'train' | 'test'>;

/** @param location the folder of an imagefolder; what paths of archives are relative to */
export function openImageFiles(spec: ImageFilesSpec, location: string, where?: DatasetAccess): Promise<EncodedImages> {
  return spec.kind === 'imagefolder' ? openImageFolder(spec, location, where) : openWebDataset(spec, location, where);
}

/** The index, made where there is none or the files have changed since. Throws DatasetError, the signal's reason. */
export function ensureImageIndex(
  spec: ImageFilesName,
  location: string,
  where?: DatasetAccess,
  options?: IndexingOptions,
): Promise<ImageIndex> {
  return spec.kind === 'imagefolder'
    ? ensureFolderIndex(location, where, options)
    : ensureArchiveIndex(spec, location, where, options);
}

/** What two indexings of the same files have in common, by whatever path they are named. */
export async function indexKey(spec: ImageFilesName, location: string): Promise<string> {
  const real = await realpath(location).catch(() => location);
  const { kind } = spec;
  const name = kind === 'imagefolder' ? [kind, real] : [kind, real, spec.train, spec.test];
  return createHash('sha256').update(JSON.stringify(name)).digest('hex');
}

/** Where the index may lie, in the order in which it is looked for. */
export async function indexPlaces(spec: ImageFilesName, location: string, where: DatasetAccess): Promise<string[]> {
  return spec.kind === 'imagefolder'
    ? placesOfFolder(location, where)
    : placesOfArchives(spec.train, spec.test, location, where);
}
