import { describe, expect, it } from 'vitest';
import { elementsOf, viewElements } from '../evaluation-views.js';
import { ByteCache } from '../images/byte-cache.js';
import { imagesOnThisThread, type ImageServices } from '../images/image-services.js';
import { picture } from '../images/test-images.fixture.js';
import { DecodedImages, type ImageFilesSpec } from './decoded-images.js';
import type { EncodedImages, Part } from './encoded-images.js';

const spec: ImageFilesSpec = {
  kind: 'imagefolder',
  path: 'photos',
  classes: 2,
  imageSize: 24,
  augmentation: 'paper',
  normalisation: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
  brokenFiles: 'skip',
};

const good = await Promise.all(
  [0, 1, 2, 3, 4].map((seed) =>
    picture(60 + 8 * seed, 50, seed)
      .jpeg()
      .toBuffer(),
  ),
);
const testImages = await Promise.all([5, 6].map((seed) => picture(50, 60, seed).png().toBuffer()));

/** Files in memory, and which of them were read. */
function filesOf(
  train: readonly Uint8Array[],
  contentsHash: string | null = null,
): EncodedImages & { readonly reads: string[] } {
  const reads: string[] = [];
  const bytesOf = (part: Part, id: number) => (part === 'train' ? train[id] : testImages[id])!;
  return {
    reads,
    trainCount: train.length,
    testCount: testImages.length,
    classNames: ['cat', 'dog'],
    indexHash: 'abc',
    contentsHash,
    labelOf: (_, id) => id % 2,
    nameOf: (part, id) => `${part}/${id}.JPEG`,
    read: async (part, id) => {
      reads.push(`${part} ${id}`);
      return bytesOf(part, id);
    },
    close: async () => undefined,
  };
}

const elements = 24 * 24 * 3;

async function trainImages(dataset: DecodedImages, ids: readonly number[], epoch = 0) {
  const out = new Float32Array(ids.length * elements);
  const labels = new Int32Array(ids.length);
  await dataset.prepareTrain(Uint32Array.from(ids), 7, epoch, 'paper', out, labels);
  return { images: ids.map((_, index) => out.slice(index * elements, (index + 1) * elements)), labels: [...labels] };
}

function withServices(changes: Partial<ImageServices>, files = filesOf(good)): DecodedImages {
  return new DecodedImages(spec, files, { ...imagesOnThisThread(), ...changes });
}

describe('DecodedImages', () => {
  it('gives a sample the same numbers in any order, company and number at once, and other ones in another epoch', async () => {
    const all = await trainImages(withServices({ atOnce: 1 }), [0, 1, 2, 3, 4]);
    const mixed = await trainImages(withServices({ atOnce: 3 }), [4, 2, 0]);
    expect(mixed.images).toEqual([all.images[4], all.images[2], all.images[0]]);
    expect(all.labels).toEqual([0, 1, 0, 1, 0]);
    expect(mixed.labels).toEqual([0, 0, 0]);
    expect((await trainImages(withServices({}), [4], 1)).images[0]).not.toEqual(all.images[4]);
  });

  it('says how large and how many its images are', () => {
    const { kind, trainCount, testCount, classes, imageShape, indexHash } = withServices({});
    expect([kind, trainCount, testCount, classes, imageShape, indexHash]).toEqual([
      'imagefolder',
      5,
      2,
      2,
      [24, 24, 3],
      'abc',
    ]);
  });

  it('prepares test images one like the other', async () => {
    const dataset = withServices({});
    const out = new Float32Array(2 * elements);
    const labels = new Int32Array(2);
    await dataset.prepareTest(0, 2, out, labels);
    const second = new Float32Array(elements);
    await dataset.prepareTest(1, 1, second, labels.subarray(0, 1));
    expect(second).toEqual(out.slice(elements));
    expect([...labels]).toEqual([1, 1]);
  });

  it('has no more images under way than it may', async () => {
    let [now, most] = [0, 0];
    const prepare: ImageServices['prepare'] = async (...image) => {
      most = Math.max(most, ++now);
      await imagesOnThisThread().prepare(...image);
      now -= 1;
    };
    await trainImages(withServices({ atOnce: 2, prepare }), [0, 1, 2, 3, 4]);
    expect(most).toBe(2);
  });

  it('prepares views by the services, several images at once, and leaves no holes between them', async () => {
    const views = { crops: 1, scales: [24, 30] } as const;
    let [now, most] = [0, 0];
    const prepare: ImageServices['prepare'] = async (...image) => {
      most = Math.max(most, ++now);
      await imagesOnThisThread().prepare(...image);
      now -= 1;
    };
    const room = viewElements(views, 24);
    const labels = new Int32Array(2);
    const both = new Float32Array(2 * room);
    const groups = await withServices({ prepare }).prepareTestViews(views, 0, 2, both, labels);
    expect([most, groups.length, labels]).toEqual([2, 2, Int32Array.of(0, 1)]);
    const second = new Float32Array(room);
    const alone = await withServices({}).prepareTestViews(views, 1, 1, second, labels);
    const [from, length] = [elementsOf([groups[0]!]), elementsOf(alone)];
    expect([alone[0], from < room]).toEqual([groups[1], true]);
    expect(both.slice(from, from + length)).toEqual(second.slice(0, length));
  });

  it('reads a file once while the cache holds it', async () => {
    const files = filesOf(good);
    const dataset = withServices({ cache: new ByteCache(1e6) }, files);
    const first = await trainImages(dataset, [0, 1]);
    expect(await trainImages(dataset, [0, 1])).toEqual(first);
    expect(files.reads.toSorted()).toEqual(['train 0', 'train 1']);
  });

  it('does not take files of other contents from the cache', async () => {
    const cache = new ByteCache(1e6);
    const dataset = (train: readonly Uint8Array[], contents: string) =>
      withServices({ cache }, filesOf(train, contents));
    const [before] = (await trainImages(dataset(good, 'before'), [0])).images;
    const swapped = dataset([good[1]!, good[0]!], 'after');
    expect((await trainImages(swapped, [0])).images[0]).not.toEqual(before);
  });

  it('names the file that is broken, once nothing writes to the numbers any more', async () => {
    const broken = [good[0]!, good[1]!.subarray(0, 300), good[2]!];
    await expect(trainImages(withServices({}, filesOf(broken)), [0, 1, 2])).rejects.toThrow(
      /^train\/1\.JPEG cannot be decoded: .+; repair it, or index the dataset anew/,
    );
  });

  it('refuses ids that it does not have', async () => {
    await expect(trainImages(withServices({}), [5])).rejects.toThrow('training sample 5 is outside a dataset of 5');
  });
});
