// Owns: how a folder of images is laid out: its classes, which file belongs to which part and class, and what is wrong with that.
// Refuses to know: what is in the files.
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { DatasetError } from './dataset-error.js';
import type { Part } from './encoded-images.js';
import { formatByName } from './image-header.js';

/** Some image files of one folder. */
export interface FolderUnit {
  readonly part: Part;
  /** The folder, relative to the dataset's: 'train/n01440764'. */
  readonly folder: string;
  /** Byte-wise sorted. */
  readonly names: readonly string[];
  /** Class number of each name. */
  readonly labels: readonly number[];
}

export interface FolderLayout {
  /** Names of the folders in train, byte-wise sorted: a class's number is its place. */
  readonly classNames: readonly string[];
  /** Training images first. */
  readonly units: readonly FolderUnit[];
  /** Files that are no images by their names. */
  readonly ignored: readonly string[];
  readonly warnings: readonly string[];
  /** For each folder and label file what changes when something is added, removed or renamed in it. */
  readonly stamps: Readonly<Record<string, string>>;
}

/** Classes of a flat val folder: lines of a file name and a class folder's name; the second as it is on Kaggle. */
export const labelFiles = ['val_labels.txt', 'LOC_val_solution.csv'] as const;

const deepest = 8;
const namesInMessage = 5;

/**
 * Lists a dataset: train/<class>/…, val/<class>/… or a flat val with a label file.
 *
 * @param allowedRoots real paths that symbolic links may lead into, besides the dataset's own
 * @throws DatasetError with what is wrong and what to do
 */
export async function layOutFolder(root: string, allowedRoots: readonly string[] = []): Promise<FolderLayout> {
  const walk = new Walk(root, allowedRoots);
  const train = await walk.list('train');
  const classNames = train.folders;
  if (classNames.length < 2) {
    throw new DatasetError(
      `${path.join(root, 'train')} must hold a folder of images for each of at least two classes; it has ${classNames.length}`,
    );
  }
  const units: FolderUnit[] = [];
  const empty: string[] = [];
  for (const [label, name] of classNames.entries()) {
    const found = await walk.unitsOf('train', `train/${name}`, label);
    if (found.length === 0) empty.push(`train/${name}`);
    units.push(...found);
  }
  if (empty.length > 0) {
    throw new DatasetError(
      `${some(empty)} in ${root} ${empty.length === 1 ? 'holds' : 'hold'} no images, so that nothing could be learned of ` +
        `${empty.length === 1 ? 'this class' : 'these classes'}: put images there or remove the folder`,
    );
  }
  const warnings: string[] = [];
  units.push(...(await testUnits(walk, classNames, warnings)));
  return { classNames, units, ignored: walk.ignored, warnings, stamps: walk.stamps };
}

async function testUnits(walk: Walk, classNames: readonly string[], warnings: string[]): Promise<FolderUnit[]> {
  if (!(await walk.has('val'))) {
    warnings.push(`There is no val folder in ${walk.root}: nothing can be evaluated.`);
    return [];
  }
  const val = await walk.list('val');
  if (val.folders.length === 0)
    return val.images.length === 0
      ? noTestImages(walk, warnings)
      : [await flatUnit(walk, classNames, val.images, warnings)];
  const unknown = val.folders.filter((name) => !classNames.includes(name));
  if (unknown.length > 0) {
    throw new DatasetError(
      `${some(unknown.map((name) => `val/${name}`))} in ${walk.root} ${unknown.length === 1 ? 'is no class' : 'are no classes'} ` +
        'that train has: remove it, or add its training images',
    );
  }
  const units: FolderUnit[] = [];
  const missing: string[] = [];
  for (const [label, name] of classNames.entries()) {
    const found = val.folders.includes(name) ? await walk.unitsOf('test', `val/${name}`, label) : [];
    if (found.length === 0) missing.push(name);
    units.push(...found);
  }
  if (missing.length === classNames.length) return noTestImages(walk, warnings);
  if (missing.length > 0) {
    warnings.push(
      `val has no images of ${some(missing)}: test accuracy says nothing about ${missing.length === 1 ? 'this class' : 'these classes'}.`,
    );
  }
  return units;
}

function noTestImages({ root }: Walk, warnings: string[]): FolderUnit[] {
  warnings.push(`The val folder in ${root} holds no images: nothing can be evaluated.`);
  return [];
}

async function flatUnit(
  walk: Walk,
  classNames: readonly string[],
  images: readonly string[],
  warnings: string[],
): Promise<FolderUnit> {
  const { file, classOf } = await readLabelFile(walk);
  const numbers = new Map(classNames.map((name, number) => [name, number]));
  const unlabelled: string[] = [];
  const labels = images.map((name) => {
    const wanted = classOf.get(stem(name));
    if (wanted === undefined) unlabelled.push(name);
    const label = numbers.get(wanted ?? '');
    if (wanted !== undefined && label === undefined) {
      throw new DatasetError(
        `${path.join(walk.root, file)} says that ${name} is of class '${wanted}', which has no folder in train`,
      );
    }
    return label ?? 0;
  });
  if (unlabelled.length > 0) {
    throw new DatasetError(
      `${path.join(walk.root, file)} names no class for ${some(unlabelled)} of val: add a line for each, or remove the images`,
    );
  }
  const absent = classOf.size - images.length;
  if (absent > 0) warnings.push(`${file} names ${absent} ${absent === 1 ? 'image' : 'images'} that val does not have.`);
  const present = new Set(labels);
  const without = classNames.filter((_name, label) => !present.has(label));
  if (without.length > 0) warnings.push(`val has no images of ${some(without)}.`);
  return { part: 'test', folder: 'val', names: images, labels };
}

/** Class by file name without its extension. */
async function readLabelFile(walk: Walk): Promise<{ file: string; classOf: Map<string, string> }> {
  for (const file of labelFiles) {
    if (!(await walk.has(file))) continue;
    await walk.stamp(file);
    const lines = (await readFile(path.join(walk.root, file), 'utf8'))
      .split(/\r?\n/)
      .filter((line) => line.trim() !== '');
    const pairs = lines.map((line) => line.trim().split(/[\s,]+/)).filter(([first]) => first !== 'ImageId');
    if (pairs.some(([, name]) => name === undefined)) {
      throw new DatasetError(
        `${path.join(walk.root, file)} must have a file name and a class folder's name on each line, such as ` +
          "'ILSVRC2012_val_00000001.JPEG n01751748'; bare numbers, as in ImageNet's development kit, count classes in another order",
      );
    }
    return { file, classOf: new Map(pairs.map(([image, name]) => [stem(image!), name!])) };
  }
  throw new DatasetError(
    `${path.join(walk.root, 'val')} holds images but no class folders: put a file ${labelFiles[0]} beside it with lines such as ` +
      "'ILSVRC2012_val_00000001.JPEG n01751748', or ImageNet's LOC_val_solution.csv, or move the images into class folders",
  );
}

interface Listing {
  /** Byte-wise sorted. */
  readonly folders: string[];
  readonly images: string[];
}

/** Reads folders and notes what is in them besides images. */
class Walk {
  readonly root: string;
  readonly ignored: string[] = [];
  readonly stamps: Record<string, string> = {};
  readonly #allowedRoots: readonly string[];
  #realRoot: string | undefined;

  constructor(root: string, allowedRoots: readonly string[]) {
    this.root = root;
    this.#allowedRoots = allowedRoots;
  }

  async has(name: string): Promise<boolean> {
    return (await stat(path.join(this.root, name)).catch(() => undefined)) !== undefined;
  }

  /** Throws DatasetError where it is a link that leads out. */
  async stamp(name: string): Promise<void> {
    await this.#mustBeInside(name);
    this.stamps[name] = await stampOf(path.join(this.root, name));
  }

  async list(folder: string): Promise<Listing> {
    const at = path.join(this.root, folder);
    let entries;
    try {
      await this.stamp(folder);
      entries = await readdir(at, { withFileTypes: true });
    } catch (error) {
      if (error instanceof DatasetError) throw error;
      const code = (error as NodeJS.ErrnoException).code;
      const hint =
        folder === 'train' && code === 'ENOENT' ? ': images must lie in train/<class>/ and val/<class>/' : '';
      throw new DatasetError(`${at} cannot be read (${code ?? String(error)})${hint}`, { cause: error });
    }
    const listing: Listing = { folders: [], images: [] };
    for (const entry of entries) {
      const name = `${folder}/${entry.name}`;
      let kind: Pick<typeof entry, 'isDirectory' | 'isFile'> | undefined = entry;
      if (entry.isSymbolicLink()) {
        await this.#mustBeInside(name);
        kind = await stat(path.join(this.root, name)).catch(() => undefined);
      }
      if (entry.name.startsWith('.')) this.ignored.push(name);
      else if (kind?.isDirectory() === true) listing.folders.push(entry.name);
      // A link to nowhere counts as a file: looking at it tells that it is broken.
      else if (kind?.isFile() !== false && formatByName(entry.name) !== undefined) listing.images.push(entry.name);
      else this.ignored.push(name);
    }
    sortByBytes(listing.folders);
    sortByBytes(listing.images);
    return listing;
  }

  /** The images of one class: those of its folder, then those of the folders in it. */
  async unitsOf(part: Part, folder: string, label: number, depth = 1): Promise<FolderUnit[]> {
    const { folders, images } = await this.list(folder);
    const units: FolderUnit[] = [];
    if (images.length > 0) units.push({ part, folder, names: images, labels: images.map(() => label) });
    if (folders.length > 0 && depth >= deepest)
      throw new DatasetError(`${path.join(this.root, folder)} has folders nested more than ${deepest} deep`);
    for (const name of folders) units.push(...(await this.unitsOf(part, `${folder}/${name}`, label, depth + 1)));
    return units;
  }

  /** Links may lead about in the dataset and in the datasets folder, and nowhere else. */
  async #mustBeInside(name: string): Promise<void> {
    this.#realRoot ??= await realpath(this.root);
    const target = await realpath(path.join(this.root, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (target === undefined) return;
    const inside = [this.#realRoot, ...this.#allowedRoots].some(
      (root) => target === root || target.startsWith(root + path.sep),
    );
    if (!inside) {
      throw new DatasetError(
        `${path.join(this.root, name)} is a symbolic link that leads out of the datasets folder, to ${target}: ` +
          "put the files there, or link the dataset's folder as a whole",
      );
    }
  }
}

/** What changes when a folder's list of names does, or a file's contents. */
export async function stampOf(file: string): Promise<string> {
  const { mtimeMs, size } = await stat(file);
  return `${mtimeMs} ${size}`;
}

/** In place, by the bytes of UTF-8; JavaScript's own order differs from it only beyond U+FFFF. */
function sortByBytes(names: string[]): void {
  if (names.some((name) => /[\ud800-\udfff]/.test(name))) {
    names.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  } else {
    names.sort();
  }
}

function stem(name: string): string {
  return formatByName(name) === undefined ? name : name.slice(0, name.lastIndexOf('.'));
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, namesInMessage).join(', ');
  return names.length > namesInMessage ? `${shown} and ${names.length - namesInMessage} more` : shown;
}
