import { describe, expect, it } from 'vitest';
import { loadedNetwork, modelOf, randomBatch } from '../../test/support/networks.js';
import { evaluationShardSize, viewElements } from './evaluation-views.js';
import { evaluateEnsemble, evaluateViews, softmax } from './view-scores.js';

const model = modelOf('resnet8', { shortcut: 'A', classes: 7, imageSize: 16 });

/** What averaging is by definition: logits of each view by itself, softmax, mean. */
function byHand(rows: readonly Float32Array[], label: number): { loss: number; scores: number[] } {
  const shares = rows.map((logits) => {
    const powers = [...logits].map(Math.exp);
    const sum = powers.reduce((total, each) => total + each, 0);
    return powers.map((each) => each / sum);
  });
  const scores = shares[0]!.map((_, index) => shares.reduce((sum, row) => sum + row[index]!, 0) / rows.length);
  return { loss: -Math.log(scores[label]!), scores };
}

describe('scores', () => {
  it('of several nets are the mean of their softmax outputs', () => {
    const networks = ['float32', 'bfloat16'].map((precision) => loadedNetwork(model, precision as 'float32'));
    const { images, labels } = randomBatch(3, 16, model.classes);
    const size = 16 * 16 * 3;
    const batch = evaluateEnsemble(networks, images, labels);
    let loss = 0;
    for (const [sample, label] of labels.entries()) {
      const image = images.slice(sample * size, (sample + 1) * size);
      const expected = byHand(
        networks.map((network) => network.predict(image, 1)),
        label,
      );
      loss += expected.loss;
      for (const [index, score] of expected.scores.entries()) {
        expect(batch.scores[sample * model.classes + index]).toBeCloseTo(score, 4);
      }
    }
    expect(batch.lossSum).toBeCloseTo(loss, 3);
    for (const network of networks) network.dispose();
  });

  it('of several views are their mean, whatever their sizes', () => {
    const network = loadedNetwork(model, 'float32');
    const groups = [
      [
        { height: 16, width: 16, count: 2 },
        { height: 20, width: 31, count: 1 },
      ],
      [{ height: 24, width: 16, count: 1 }],
    ];
    const sizes = groups.flat().map(({ height, width, count }) => height * width * count * 3);
    const { images } = randomBatch(1, 64, 2);
    const pixels = images.subarray(
      0,
      sizes.reduce((sum, size) => sum + size, 0),
    );
    const labels = Int32Array.of(3, 5);
    const batch = evaluateViews([network], pixels, groups, labels);
    const views = [
      network.predict(pixels.slice(0, 768), 1),
      network.predict(pixels.slice(768, 1536), 1),
      network.predict(pixels.slice(1536, 1536 + 1860), 1, { height: 20, width: 31 }),
      network.predict(pixels.slice(1536 + 1860), 1, { height: 24, width: 16 }),
    ];
    const [first, second] = [byHand(views.slice(0, 3), 3), byHand(views.slice(3), 5)];
    expect(batch.lossSum).toBeCloseTo(first.loss + second.loss, 5);
    for (const [index, score] of [...first.scores, ...second.scores].entries()) {
      expect(batch.scores[index]).toBeCloseTo(score, 5);
    }
    network.dispose();
  });

  it('of very different logits are finite', () => {
    const shares = softmax(Float32Array.of(-1e30, 0, 1e30));
    expect([...shares]).toEqual([0, 0, 1]);
  });
});

it('shards get fewer samples where each has many views', () => {
  const imagenet = { imageSize: 224 };
  expect(evaluationShardSize(imagenet, { crops: 1, scales: [] }, 32)).toBe(32);
  expect(evaluationShardSize(imagenet, { crops: 10, scales: [] }, 32)).toBe(11);
  const paper = { crops: 1, scales: [224, 256, 384, 480, 640] } as const;
  expect(evaluationShardSize(imagenet, paper, 32)).toBe(3);
  expect(evaluationShardSize(imagenet, { crops: 10, scales: [2048, 2048] }, 32)).toBe(5);
  expect(viewElements(paper, 224)).toBe(6 * (224 ** 2 + 256 ** 2 + 384 ** 2 + 480 ** 2 + 640 ** 2));
});
