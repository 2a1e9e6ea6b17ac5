// Owns: what every dataset offers to whoever prepares images, and the choice of the reader by kind.
// Refuses to know: how samples are ordered, cut into shards or computed on.
import type { EvaluationViews, ViewGroup } from '../evaluation-views.js';
import { imagesOnThisThread, type ImageServices } from '../images/image-services.js';
import type { DatasetSpec } from '../job-spec.js';
import { openCifar10 } from './cifar10.js';
import { type Cifar10Files, type DataFile, filesOfFolder } from './cifar10-files.js';
import type { DatasetAccess } from './dataset-access.js';
import type { openImageFiles } from './image-files.js';
import { openSynthetic } from './synthetic.js';

/** Labelled images, numbered from 0 in the training and in the test part. */
export interface Dataset {
  readonly kind: DatasetSpec['kind'];
  readonly trainCount: number;
  readonly testCount: number;
  readonly classes: number;
  /** Names by class number, where classes have names. */
  readonly classNames?: readonly string[];
  /** Files that are the dataset where it has no index: whoever has these has it. */
  readonly files?: readonly DataFile[];
  /** Height, width and channels of what the prepare functions write per image. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /** SHA-256 in hex of what sample ids mean: which images there are, in which order, with which labels. */
  readonly indexHash: string;
  /**
   * SHA-256 in hex of the images' contents, where they were read and are not in `indexHash`; null elsewhere. Two datasets that
   * both have one must have the same; else only lengths tell that files are the same.
   */
  readonly contentsHash: string | null;
  /**
   * Writes training images, augmented and normalised; a pure function of its arguments and the data.
   *
   * @param ids sample ids, each below trainCount
   * @param seed the training's seed
   * @param out gets [ids.length, height, width, channels] numbers
   * @param labels gets ids.length class numbers
   */
  prepareTrain(
    ids: Uint32Array,
    seed: number,
    epoch: number,
    augmentation: Augmentation,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<void>;
  /** Writes the test images [first, first + count), normalised and not augmented. */
  prepareTest(first: number, count: number, out: Float32Array, labels: Int32Array): Promise<void>;
  /**
   * Writes several normalised views of the test images [first, first + count), those of one sample after those of the one
   * before it.
   *
   * @param out has room for count times `viewElements(views, …)` numbers; views may leave some of it free
   * @returns each sample's views, as they lie in `out`
   * @throws RangeError for views that images of this kind do not have: other sizes of images that come in one size
   */
  prepareTestViews(
    views: EvaluationViews,
    first: number,
    count: number,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<ViewGroup[][]>;
  close(): Promise<void>;
}

/** What a dataset of image files needs besides them. */
export interface DatasetServices {
  readonly access?: DatasetAccess;
  /** Opens the files themselves. @default from the location told */
  readonly files?: typeof openImageFiles;
  /** Those of CIFAR-10. @default the location's */
  readonly cifar10?: (spec: Extract<DatasetSpec, { kind: 'cifar10' }>, location: string) => Promise<Cifar10Files>;
  /** @default on the thread that asks */
  readonly images?: ImageServices;
}

export type Augmentation = DatasetSpec['augmentation'];

/**
 * Opens a dataset.
 *
 * @param location the folder that holds it (already resolved and checked by the caller); synthetic ignores it
 * @throws DatasetError if it is not there or damaged
 */
export async function openDataset(
  spec: DatasetSpec,
  location: string,
  { access = {}, files, cifar10, images = imagesOnThisThread() }: DatasetServices = {},
): Promise<Dataset> {
  switch (spec.kind) {
    case 'cifar10':
      return openCifar10(await (cifar10?.(spec, location) ?? filesOfFolder(location)), spec.normalisation);
    case 'synthetic':
      return openSynthetic(spec);
    case 'imagefolder':
    case 'webdataset': {
      // Only those who have image files load what reads and decodes them.
      const [{ openImageFiles }, { DecodedImages }] = await Promise.all([
        import('./image-files.js'),
        import('./decoded-images.js'),
      ]);
      return new DecodedImages(spec, await (files ?? openImageFiles)(spec, location, access), images);
    }
  }
}
