import { describe, expect, it } from 'vitest';
import { relativeError } from '../../test/support/float64-layers.js';
import { gradientHash } from '../../test/support/gradient-hash.js';
import { loadedNetwork, modelOf, pass, randomBatch, randomParameters } from '../../test/support/networks.js';
import { runInNode } from '../../test/support/node-bundle.js';
import { Network } from './network.js';
import type { GradientSink, Precision } from './network.js';
import { addon } from './tensorflow/addon.js';
import { liveTensors } from './tensorflow/tensor.js';

const precisions: Precision[] = ['float32', 'bfloat16'];
const ignore: GradientSink = { onGradient: () => undefined, onStatistics: () => undefined };

describe.each(precisions)('a net in %s', (precision) => {
  it('keeps the number of live tensors flat over 100 steps, as the addon counts them too', () => {
    const model = modelOf('resnet8', { shortcut: 'C', imageSize: 8 });
    const network = Network.create(model, precision);
    const { parameters, statistics } = randomParameters(network, model);
    const { images, labels } = randomBatch(2, 8, 10);
    const step = (): [number, number] => {
      network.loadParameters(parameters, statistics);
      network.trainShard(images, labels, 1 / 2, ignore);
      network.evaluate(images, labels);
      return [liveTensors(), addon().getNumOfTensors()];
    };
    const first = step();
    for (let index = 1; index < 100; index++) expect(step()).toEqual(first);
    network.dispose();
  });

  it('gives the same bits twice and in a second process', async () => {
    const first = gradientHash('resnet8', precision);
    expect(gradientHash('resnet8', precision)).toBe(first);
    const other = await runInNode('test/support/gradient-hash.ts', ['resnet8', precision]);
    expect(other.trim()).toBe(first);
  }, 60_000);

  it('evaluates with running statistics: each image by itself', () => {
    const model = modelOf('resnet8', { shortcut: 'A' });
    const network = loadedNetwork(model, precision);
    const { images, labels } = randomBatch(6, 16, 10);
    const all = network.predict(images, 6);
    const single = network.predict(images.subarray(2 * 768, 3 * 768), 1);
    expect(relativeError(single, all.subarray(20, 30))).toBeLessThan(precision === 'float32' ? 1e-6 : 1e-2);
    const halves = [0, 3].map((i) =>
      network.evaluate(images.subarray(i * 768, (i + 3) * 768), labels.subarray(i, i + 3)),
    );
    const whole = network.evaluate(images, labels);
    expect((halves[0]!.lossSum + halves[1]!.lossSum) / whole.lossSum).toBeCloseTo(1, 3);
    expect(halves[0]!.top5Hits + halves[1]!.top5Hits).toBe(whole.top5Hits);
    network.dispose();
  });

  it('copies what it loads', () => {
    const model = modelOf('resnet8');
    const network = Network.create(model, precision);
    const { parameters, statistics } = randomParameters(network, model);
    network.loadParameters(parameters, statistics);
    const { images, labels } = randomBatch(2, 16, 10);
    const before = network.predict(images, 2);
    parameters.fill(NaN);
    statistics.fill(NaN);
    expect(network.predict(images, 2)).toEqual(before);
    expect(network.evaluate(images, labels).lossSum).not.toBeNaN();
    network.dispose();
  });

  it('takes images in shared memory', () => {
    const model = modelOf('resnet8');
    const network = loadedNetwork(model, precision);
    const { images, labels } = randomBatch(2, 16, 10);
    const shared = new Float32Array(new SharedArrayBuffer(images.byteLength));
    shared.set(images);
    expect(network.predict(shared, 2)).toEqual(network.predict(images, 2));
    expect(pass(network, shared, labels, 1).gradient).toEqual(pass(network, images, labels, 1).gradient);
    network.dispose();
  });
});

const everyKind = (['relu', 'leaky_relu', 'sigmoid', 'tanh'] as const).flatMap((activation) =>
  (['A', 'B', 'C'] as const).map((shortcut) => ['resnet8', activation, shortcut, true] as const),
);

describe('bfloat16 against float32', () => {
  it.each([
    ...everyKind,
    ['resnet20', 'relu', 'A', true],
    ['plain8', 'tanh', 'A', true],
    ['resnet8', 'leaky_relu', 'A', false],
  ] as const)(
    '%s %s %s, batch norm %s: loss within 0.01, gradient within 0.08',
    (architecture, activation, shortcut, batchNorm) => {
      const model = modelOf(architecture, { activation, batchNorm, shortcut });
      const { images, labels } = randomBatch(16, 16, 10);
      const [exact, rounded] = precisions.map((precision) => {
        const network = loadedNetwork(model, precision);
        const result = pass(network, images, labels, 1 / 16);
        network.dispose();
        return result;
      });
      expect(Math.abs(rounded!.lossSum / exact!.lossSum - 1)).toBeLessThan(0.01);
      expect(relativeError(rounded!.gradient, exact!.gradient)).toBeLessThan(0.08);
      if (batchNorm) expect(relativeError(rounded!.statistics, exact!.statistics)).toBeLessThan(0.01);
    },
  );
});

describe('a net that is used wrongly', () => {
  it('says so and leaves no tensor behind', () => {
    const network = loadedNetwork(modelOf('resnet8'), 'float32');
    const before = liveTensors();
    const { images, labels } = randomBatch(2, 16, 10);
    expect(() => network.trainShard(images.subarray(1), labels, 1, ignore)).toThrow(
      'are not 2 square images of 3 channels',
    );
    expect(() => network.trainShard(images, Int32Array.of(1, 10), 1, ignore)).toThrow(
      'label 10 of sample 1 is not one of 10 classes',
    );
    const failing: GradientSink = {
      ...ignore,
      onGradient(entry) {
        if (entry.name === 'layer2.0.conv1.weight') throw new Error('the sink failed');
      },
    };
    expect(() => network.trainShard(images, labels, 1, failing)).toThrow('the sink failed');
    expect(liveTensors()).toBe(before);
    expect(network.trainShard(images, labels, 1, ignore).lossSum).toBeGreaterThan(0);
    expect(() => network.loadParameters(new Float32Array(3), new Float32Array(0))).toThrow('parameters');
    network.dispose();
    expect(() => network.predict(images, 2)).toThrow('before any parameters were loaded');
    expect(() => Network.create(modelOf('vgg16'), 'float32')).toThrow("unknown architecture 'vgg16'");
  });
});
