import { describe, expect, it } from 'vitest';
import { resolveJobSpec } from '../job-spec.js';
import { openDataset, type Dataset } from './dataset.js';

const specOf = (fields: object = {}) =>
  resolveJobSpec({
    model: { architecture: 'resnet20' },
    dataset: { kind: 'synthetic', size: 40, testSize: 10, classes: 4, imageSize: 16, ...fields },
    training: { batchSize: 8 },
  }).dataset;
const IMAGE = 16 * 16 * 3;

async function train(dataset: Dataset, ids: number[]) {
  const out = new Float32Array(ids.length * IMAGE);
  const labels = new Int32Array(ids.length);
  await dataset.prepareTrain(Uint32Array.from(ids), 1, 0, 'none', out, labels);
  return { out, labels };
}

describe('synthetic', () => {
  it('makes each image from its id alone, classes in turn, about unit variance', async () => {
    const dataset = await openDataset(specOf(), '');
    expect(dataset).toMatchObject({
      kind: 'synthetic',
      trainCount: 40,
      testCount: 10,
      classes: 4,
      imageShape: [16, 16, 3],
    });
    const all = await train(dataset, [...Array(40).keys()]);
    expect([...all.labels.subarray(0, 6)]).toEqual([0, 1, 2, 3, 0, 1]);
    expect((await train(dataset, [17])).out).toEqual(all.out.subarray(17 * IMAGE, 18 * IMAGE));
    const variance = all.out.reduce((sum, value) => sum + value * value, 0) / all.out.length;
    expect(variance).toBeGreaterThan(0.4);
    expect(variance).toBeLessThan(2);
  });

  it('can be learnt: an image is nearer to its class than to the others, in the test part too', async () => {
    const dataset = await openDataset(specOf(), '');
    const { out, labels } = await train(dataset, [...Array(40).keys()]);
    const means = Array.from({ length: 4 }, () => new Float64Array(IMAGE));
    labels.forEach((label, image) => {
      for (let index = 0; index < IMAGE; index++) means[label]![index]! += out[image * IMAGE + index]! / 10;
    });
    const testOut = new Float32Array(10 * IMAGE);
    const testLabels = new Int32Array(10);
    await dataset.prepareTest(0, 10, testOut, testLabels);
    testLabels.forEach((label, image) => {
      const distances = means.map((mean) =>
        mean.reduce((sum, value, index) => sum + (value - testOut[image * IMAGE + index]!) ** 2, 0),
      );
      expect(distances.indexOf(Math.min(...distances))).toBe(label);
    });
    expect(testOut.subarray(0, IMAGE)).not.toEqual(out.subarray(0, IMAGE));
  });

  it('is identified by its fields, and changes with the seed', async () => {
    const [one, same, other] = await Promise.all([
      openDataset(specOf(), ''),
      openDataset(specOf(), 'elsewhere'),
      openDataset(specOf({ seed: 2 }), ''),
    ]);
    expect(one.indexHash).toBe(same.indexHash);
    expect(one.indexHash).not.toBe(other.indexHash);
    expect((await train(one, [3])).out).not.toEqual((await train(other, [3])).out);
    await expect(train(one, [40])).rejects.toThrow('outside a dataset of 40');
    await one.close();
  });
});
