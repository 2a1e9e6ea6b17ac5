// Owns: opening images in tar archives by their index.
// Refuses to know: how an index is made, what is in it, and how pieces of archives are had.
import type { DatasetSpec } from '../job-spec.js';
import { indexArchives } from './archive-indexer.js';
import { ArchiveOpener, type ArchiveSource } from './archive-source.js';
import { shownUrl, type DatasetAccess } from './dataset-access.js';
import { DatasetError } from './dataset-error.js';
import type { EncodedImages } from './encoded-images.js';
import { mapLimited, type IndexingOptions } from './folder-indexer.js';
import { checkAgainst, loadSaved } from './image-folder.js';
import { saveIndex, type ImageIndex } from './image-index.js';
import { findIndex, placesOfArchives, placeToWrite } from './index-places.js';
import { IndexedImages } from './indexed-images.js';

type ArchiveSpec = Extract<DatasetSpec, { kind: 'webdataset' }>;
export type ArchivePatterns = Pick<ArchiveSpec, 'train' | 'test'>;

const stampsAtOnce = 8;

/**
 * Opens tar archives; those that were not indexed before, or have changed since, are indexed first.
 *
 * @param location what paths of archives are relative to
 * @throws DatasetError where they cannot be indexed, or are not what the spec says
 */
export async function openWebDataset(
  spec: ArchiveSpec,
  location: string,
  where: DatasetAccess = {},
): Promise<EncodedImages> {
  const index = await ensureArchiveIndex(spec, location, where);
  checkAgainst(spec, index, spec.train);
  return imagesOfArchives(index, new ArchiveOpener(location, where));
}

/** The images of archives whose index is at hand. */
export function imagesOfArchives(index: ImageIndex, opener: Pick<ArchiveOpener, 'open'>): EncodedImages {
  const sources = new Map<string, Promise<ArchiveSource>>();
  const sourceOf = (name: string): Promise<ArchiveSource> => {
    const opened = sources.get(name) ?? openUnchanged(opener, name, index);
    sources.set(name, opened);
    // Not remembered: the next image of the archive tries again.
    opened.catch(() => sources.delete(name));
    return opened;
  };
  return new IndexedImages(index, {
    nameOf: (archive, entry) => `${shownUrl(archive)}: ${entry.name}`,
    read: async (archive, { offset, bytes }, signal) => (await sourceOf(archive)).read(offset, bytes, signal),
    close: async () => sources.clear(),
  });
}

async function openUnchanged(
  opener: Pick<ArchiveOpener, 'open'>,
  name: string,
  index: ImageIndex,
): Promise<ArchiveSource> {
  const source = await opener.open(name);
  if (!isSame(source.stamp, index.stamps[name] ?? '', name)) {
    throw new DatasetError(
      `The archive ${shownUrl(name)} has changed since it was indexed; index it anew with \`npx lockstep dataset index\``,
    );
  }
  return source;
}

/** Of local files only the length counts: a copy on another host has another time of change. */
function isSame(stamp: string, indexed: string, name: string): boolean {
  return name.includes('://') ? stamp === indexed : stamp.split(' ')[0] === indexed.split(' ')[0];
}

export function findArchiveIndex(
  patterns: ArchivePatterns,
  location: string,
  where: DatasetAccess = {},
): Promise<ImageIndex | undefined> {
  return findIndex(placesOfArchives(patterns.train, patterns.test, location, where), 'webdataset');
}

/**
 * The index of archives, made where there is none, or where they have changed since. One at a time per pair of patterns: the
 * caller sees to that. An indexing that is broken off goes on where it was.
 *
 * @throws DatasetError, the signal's reason
 */
export async function ensureArchiveIndex(
  { train, test }: ArchivePatterns,
  location: string,
  where: DatasetAccess = {},
  options: IndexingOptions = {},
): Promise<ImageIndex> {
  const opener = new ArchiveOpener(location, where);
  const places = placesOfArchives(train, test, location, where);
  const older = await findIndex(places, 'webdataset');
  const full = options.full === true || older?.head.contents === true;
  if (older?.head.contents === full && (await isFresh(older, opener, options.signal))) return older;
  const file = await placeToWrite(places);
  await saveIndex(file, await indexArchives({ ...options, full, train, test, opener, journal: `${file}.journal` }));
  return loadSaved(file);
}

async function isFresh(index: ImageIndex, opener: ArchiveOpener, signal: AbortSignal | undefined): Promise<boolean> {
  const same = await mapLimited(
    Object.entries(index.stamps),
    stampsAtOnce,
    async ([name, stamp]) => (await opener.open(name, signal)).stamp === stamp,
  );
  // One without stamps says nothing of what it was made from.
  return same.length > 0 && same.every(Boolean);
}

/** Whether each archive that is a local file is there, with the length that it was indexed with. */
export async function areThere(index: ImageIndex, location: string): Promise<boolean> {
  const opener = new ArchiveOpener(location, {});
  const local = Object.entries(index.stamps).filter(([name]) => !name.includes('://'));
  const same = await mapLimited(local, stampsAtOnce, async ([name, stamp]) => {
    const source = await opener.open(name).catch(() => undefined); // not there is an answer
    return source !== undefined && isSame(source.stamp, stamp, name);
  });
  return same.every(Boolean);
}
