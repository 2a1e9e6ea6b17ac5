import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { modelOf, randomBatch, randomParameters, roundedForm } from '../../test/support/networks.js';
import { Network } from './network.js';
import { readInto } from './tensorflow/bfloat16.js';
import { liveTensors } from './tensorflow/tensor.js';

const lost = new Error('the rest is lost');

describe('parameters that arrive', () => {
  // The bottleneck net has batch norm everywhere; without it biases are rounded too.
  it.each([
    ['resnet8', {}],
    ['plain20', { batchNorm: false }],
  ] as const)('as bits of bfloat16 give the gradient that float32 gives (%s)', (architecture, changes) => {
    const network = Network.create(modelOf(architecture, changes), 'bfloat16');
    const { parameters, statistics } = randomParameters(network, modelOf(architecture, changes));
    const { images, labels } = randomBatch(4, 16, 10);
    const bitsOfPass = (): string => {
      const hash = createHash('sha256');
      const take = (values: Float32Array): void =>
        void hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      network.trainShard(images, labels, 1 / 4, {
        onGradient: (_, gradient) => {
          const values = new Float32Array(gradient.size);
          readInto(gradient, values);
          take(values);
        },
        onStatistics: (_, values) => take(values),
      });
      take(network.predict(images, 4));
      return hash.digest('hex');
    };
    network.loadParameters(parameters, statistics);
    const expected = bitsOfPass();
    network.dispose();
    const { bits, exact } = roundedForm(network, parameters);
    const ends: number[] = [];
    network.lendParameters({ parameters: bits, exact, statistics, wait: (end) => ends.push(end) });
    expect(bitsOfPass()).toBe(expected);
    // Forward asks from the front to the end, each tensor once.
    const [first] = ends;
    expect(first).toBe(network.layout.parameters[0]!.size);
    expect(Math.max(...ends)).toBe(network.layout.parameterCount);
    const asked = ends.length;
    bitsOfPass();
    expect(ends.length).toBe(asked);
    network.dispose();
  });

  it('only in part leave nothing behind, and the next version is taken whole', () => {
    const model = modelOf('resnet8');
    const network = Network.create(model, 'float32');
    const { parameters, statistics } = randomParameters(network, model);
    const { images, labels } = randomBatch(2, 16, 10);
    network.loadParameters(parameters, statistics);
    const expected = network.predict(images, 2);
    network.dispose();
    const before = liveTensors();
    const half = network.layout.parameterCount / 2;
    const wait = (end: number): void => {
      if (end > half) throw lost;
    };
    network.lendParameters({ parameters, exact: new Float32Array(0), statistics, wait });
    expect(() => network.evaluate(images, labels)).toThrow(lost);
    expect(liveTensors()).toBe(before);
    network.lendParameters({ parameters, exact: new Float32Array(0), statistics, wait: () => undefined });
    expect(network.predict(images, 2)).toEqual(expected);
    network.dispose();
    expect(liveTensors()).toBe(before);
  });
});
