import { expect, it } from 'vitest';
import { relativeError } from '../../test/support/float64-layers.js';
import { modelOf, pass, randomBatch, randomParameters } from '../../test/support/networks.js';
import { differentiate } from '../../test/support/tfjs-network.js';
import type { ModelSpec } from './job-spec.js';
import { Network } from './network.js';
import { liveTensors } from './tensorflow/tensor.js';

const activations = ['relu', 'leaky_relu', 'sigmoid', 'tanh'] as const;
const shortcuts = ['A', 'B', 'C'] as const;

// Every shortcut with every activation, every form of the table, with and without batch norm, against tfjs's own autodiff.
const nets: [ModelSpec, samples: number, bound?: number][] = [
  ...activations.flatMap((activation) =>
    shortcuts.map((shortcut): [ModelSpec, number] => [modelOf('resnet8', { activation, shortcut }), 4]),
  ),
  ...activations.map((activation): [ModelSpec, number] => [modelOf('plain8', { activation }), 4]),
  [modelOf('resnet14', { shortcut: 'A', imageSize: 17 }), 3],
  [modelOf('resnet8', { batchNorm: false, shortcut: 'A' }), 4],
  [modelOf('resnet8', { batchNorm: false, shortcut: 'C', activation: 'tanh' }), 4],
  [modelOf('plain8', { batchNorm: false, activation: 'leaky_relu' }), 4],
  // 53 layers deep, rounding alone makes 2e-5.
  [modelOf('resnet18', { shortcut: 'A', activation: 'tanh', imageSize: 48 }), 3, 1e-4],
  [modelOf('plain18', { activation: 'tanh', imageSize: 48 }), 3, 1e-4],
  [modelOf('resnet34', { activation: 'tanh', imageSize: 48 }), 3, 1e-4],
  [modelOf('resnet50', { activation: 'tanh', imageSize: 48 }), 3, 1e-4],
  [modelOf('resnet50-v1.5', { activation: 'tanh', shortcut: 'C', imageSize: 48 }), 3, 1e-4],
  [modelOf('plain50', { activation: 'tanh', imageSize: 48 }), 3, 1e-3],
  // Here an input of a rectifier lies so near to zero that the two roads take different sides of the kink.
  [modelOf('resnet18', { imageSize: 48 }), 3, 1e-2],
];

const name = ({ architecture, activation, shortcut, batchNorm }: ModelSpec): string =>
  `${architecture} ${activation} ${shortcut}${batchNorm ? '' : ' without batch norm'}`;

it.each(nets.map(([model, samples, bound = 2e-5]) => ({ title: name(model), model, samples, bound })))(
  '$title: has the gradient that tfjs derives',
  ({ model, samples, bound }) => {
    const before = liveTensors();
    const network = Network.create(model, 'float32');
    const { parameters, statistics } = randomParameters(network, model);
    const { images, labels } = randomBatch(samples, model.imageSize, model.classes);
    network.loadParameters(parameters, statistics);
    const mine = pass(network, images, labels, 1 / 7);
    network.dispose();
    expect(liveTensors()).toBe(before);
    const theirs = differentiate(model, parameters, images, labels, 1 / 7);

    expect(mine.lossSum / theirs.lossSum).toBeCloseTo(1, 4);
    if (network.layout.statisticCount > 0)
      expect(relativeError(mine.statistics, theirs.statistics)).toBeLessThan(bound);
    const errors = network.layout.parameters.map(({ name: tensor, offset, size }) => ({
      tensor,
      error: relativeError(
        mine.gradient.subarray(offset, offset + size),
        theirs.gradient.subarray(offset, offset + size),
      ),
    }));
    const worst = errors.reduce((a, b) => (a.error > b.error ? a : b));
    expect(relativeError(mine.gradient, theirs.gradient)).toBeLessThan(bound);
    expect(worst.error, worst.tensor).toBeLessThan(5 * bound);
    expect(mine.order).toEqual(network.layout.parameters.map((entry) => entry.name).toReversed());
  },
  60_000,
);
