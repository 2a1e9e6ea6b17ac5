// Owns: the dataset made of image files: reads them, has them prepared, several at once, and writes numbers and labels.
// Refuses to know: how files are stored (encoded-images.ts), how images are prepared (images/) and on which thread.
import { elementsOf, type EvaluationViews, viewElements, type ViewGroup } from '../evaluation-views.js';
import type { DatasetSpec } from '../job-spec.js';
import type { ImageServices } from '../images/image-services.js';
import type { ImageRecipe } from '../images/prepare-image.js';
import type { Augmentation, Dataset } from './dataset.js';
import { checkRequest, DatasetError, highestOf } from './dataset-error.js';
import type { EncodedImages, Part } from './encoded-images.js';

export type ImageFilesSpec = Extract<DatasetSpec, { kind: 'imagefolder' | 'webdataset' }>;

const CHANNELS = 3;

export class DecodedImages implements Dataset {
  readonly kind: ImageFilesSpec['kind'];
  readonly trainCount: number;
  readonly testCount: number;
  readonly classes: number;
  readonly classNames: readonly string[];
  readonly imageShape: readonly [number, number, number];
  readonly indexHash: string;
  readonly contentsHash: string | null;
  readonly #files: EncodedImages;
  readonly #spec: ImageFilesSpec;
  readonly #services: ImageServices;
  readonly #imageElements: number;

  constructor(spec: ImageFilesSpec, files: EncodedImages, services: ImageServices) {
    const { imageSize } = spec;
    this.kind = spec.kind;
    this.trainCount = files.trainCount;
    this.testCount = files.testCount;
    this.classes = files.classNames.length;
    this.classNames = files.classNames;
    this.imageShape = [imageSize, imageSize, CHANNELS];
    this.indexHash = files.indexHash;
    this.contentsHash = files.contentsHash;
    this.#files = files;
    this.#spec = spec;
    this.#services = services;
    this.#imageElements = imageSize * imageSize * CHANNELS;
  }

  async prepareTrain(
    ids: Uint32Array,
    seed: number,
    epoch: number,
    augmentation: Augmentation,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<void> {
    const request = { length: ids.length, highest: highestOf(ids) };
    checkRequest('training', this.trainCount, request, out, labels, this.#imageElements);
    if (augmentation === 'pad-crop') throw new RangeError('image files are not augmented by pad-crop');
    const recipeOf = (sampleId: number): ImageRecipe => ({
      ...this.#recipe,
      training: { augmentation, seed, epoch, sampleId },
    });
    await this.#prepareAll('train', ids, recipeOf, out, labels);
  }

  async prepareTest(first: number, count: number, out: Float32Array, labels: Int32Array): Promise<void> {
    const request = { length: count, highest: first + count - 1 };
    checkRequest('test', this.testCount, request, out, labels, this.#imageElements);
    const ids = Uint32Array.from({ length: count }, (_, index) => first + index);
    await this.#prepareAll('test', ids, () => this.#recipe, out, labels);
  }

  async prepareTestViews(
    views: EvaluationViews,
    first: number,
    count: number,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<ViewGroup[][]> {
    const { imageSize } = this.#spec;
    // How large an image's views are its header tells; until all are there, each image has room for the most.
    const room = viewElements(views, imageSize);
    if (out.length < count * room)
      throw new RangeError(`views of ${count} images need room for ${count * room} numbers`);
    const { viewGroupsOf } = await import('../images/test-views.js');
    const groups = Array.from({ length: count }, (): ViewGroup[] => []);
    await this.#severalAtOnce(count, async (index, signal) => {
      const id = first + index;
      labels[index] = this.#files.labelOf('test', id);
      const bytes = await this.#read('test', id, signal);
      const write = async (): Promise<void> => {
        groups[index] = await viewGroupsOf(bytes, views, imageSize);
        await this.#services.prepare(bytes, { ...this.#recipe, views }, out.subarray(index * room, (index + 1) * room));
      };
      await this.#named('test', id, write());
    });
    let at = 0;
    for (const [index, seen] of groups.entries()) {
      const elements = elementsOf([seen]);
      out.copyWithin(at, index * room, index * room + elements);
      at += elements;
    }
    return groups;
  }

  async close(): Promise<void> {
    await this.#files.close();
  }

  get #recipe(): ImageRecipe {
    const { imageSize, normalisation } = this.#spec;
    return { imageSize, mean: normalisation.mean, std: normalisation.std };
  }

  async #prepareAll(
    part: Part,
    ids: Uint32Array,
    recipeOf: (id: number) => ImageRecipe,
    out: Float32Array,
    labels: Int32Array,
  ): Promise<void> {
    const size = this.#imageElements;
    await this.#severalAtOnce(ids.length, async (index, signal) => {
      const id = ids[index]!;
      labels[index] = this.#files.labelOf(part, id);
      await this.#prepareOne(part, id, recipeOf(id), out.subarray(index * size, (index + 1) * size), signal);
    });
  }

  /** As many at once as the services allow. Waits for those under way when one fails, as they write to what the caller owns. */
  async #severalAtOnce(count: number, one: (index: number, signal: AbortSignal) => Promise<void>): Promise<void> {
    const abort = new AbortController();
    let next = 0;
    const work = async (): Promise<void> => {
      for (let index = next++; index < count && !abort.signal.aborted; index = next++) await one(index, abort.signal);
    };
    const workers = Array.from({ length: Math.min(this.#services.atOnce, count) }, () =>
      work().catch((error: unknown) => {
        abort.abort(error);
        throw error;
      }),
    );
    await Promise.allSettled(workers);
    if (abort.signal.aborted) throw abort.signal.reason as Error;
  }

  async #prepareOne(
    part: Part,
    id: number,
    recipe: ImageRecipe,
    out: Float32Array,
    signal: AbortSignal,
  ): Promise<void> {
    const bytes = await this.#read(part, id, signal);
    await this.#named(part, id, this.#services.prepare(bytes, recipe, out));
  }

  /** Names the file in what goes wrong with it. */
  async #named<Result>(part: Part, id: number, work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new DatasetError(
        `${this.#files.nameOf(part, id)} ${reason}; repair it, or index the dataset anew with \`npx lockstep dataset index\` and submit the job again`,
        { cause },
      );
    }
  }

  async #read(part: Part, id: number, signal?: AbortSignal): Promise<Uint8Array> {
    const { cache } = this.#services;
    const key = `${this.contentsHash ?? this.indexHash} ${part} ${id}`;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const bytes = await this.#files.read(part, id, signal);
    cache.put(key, bytes);
    return bytes;
  }
}
