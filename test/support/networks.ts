// Owns: small nets, images and one-call passes for tests of the engine. Refuses to know: what is expected of them.

import { DeviceParameters } from '#model/device-parameters.js';
import { roundToBfloat16 } from '#model/float-arrays.js';
import type { ModelSpec } from '#model/job-spec.js';
import { Network } from '#model/network.js';
import type { LossResult, Precision } from '#model/network.js';
import { elementsOf, exactRanges } from '#model/parameter-forms.js';
import { initialState, layoutOf } from '#model/parameters.js';
import { randomStream } from '#model/random.js';
import { planOf } from '#model/resnet.js';
import { readInto } from '#model/tensorflow/bfloat16.js';

export function modelOf(architecture: string, changes: Partial<ModelSpec> = {}): ModelSpec {
  return {
    architecture,
    activation: 'relu',
    shortcut: 'B',
    batchNorm: true,
    initialisation: 'he',
    zeroLastGamma: false,
    classes: 10,
    imageSize: 16,
    ...changes,
  };
}

export function randomBatch(
  count: number,
  side: number,
  classes: number,
  key: string | number = 0,
): { images: Float32Array; labels: Int32Array } {
  const random = randomStream(1, 'batch', key);
  return {
    images: Float32Array.from({ length: count * side * side * 3 }, () => random.normal()),
    labels: Int32Array.from({ length: count }, () => random.below(classes)),
  };
}

/**
 * Random everything, also what usually starts at 0 or 1, so that no gradient is trivial. The last scale of each residual
 * block is small: deep nets then do not blow rounding up from block to block, and errors mean something.
 */
export function randomParameters(
  network: Pick<Network, 'layout'>,
  model: ModelSpec,
): { parameters: Float32Array; statistics: Float32Array } {
  const { layout } = network;
  const state = initialState(model, layout, 1);
  const ends = new Set(planOf(model).blocks.map(({ convolutions }) => `${convolutions.at(-1)?.norm}.weight`));
  for (const entry of layout.parameters) {
    if (entry.role === 'filter' || entry.role === 'dense') continue;
    const random = randomStream(2, entry.name);
    const centre = entry.role !== 'gamma' ? 0 : ends.has(entry.name) ? 0.2 : 1;
    const spread = ends.has(entry.name) ? 0.05 : 0.2;
    for (let i = 0; i < entry.size; i++) state.parameters[entry.offset + i] = centre + spread * random.normal();
  }
  return state;
}

/** What a coordinator sends of parameters in bfloat16. */
export function roundedForm(
  { layout }: Pick<Network, 'layout'>,
  parameters: Float32Array,
): { bits: Uint16Array; exact: Float32Array } {
  const bits = new Uint16Array(parameters.length);
  roundToBfloat16(parameters, bits);
  const ranges = exactRanges(layout, 'bfloat16');
  const exact = new Float32Array(elementsOf(ranges));
  let at = 0;
  for (const { from, to } of ranges) {
    exact.set(parameters.subarray(from, to), at);
    at += to - from;
  }
  return { bits, exact };
}

export interface PassResult extends LossResult {
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
  /** Names in the order in which gradients came. */
  readonly order: readonly string[];
}

export function pass(network: Network, images: Float32Array, labels: Int32Array, scale: number): PassResult {
  const gradient = new Float32Array(network.layout.parameterCount);
  const statistics = new Float32Array(network.layout.statisticCount);
  const order: string[] = [];
  const result = network.trainShard(images, labels, scale, {
    onGradient(entry, tensor) {
      readInto(tensor, gradient.subarray(entry.offset, entry.offset + entry.size));
      order.push(entry.name);
    },
    onStatistics: (entry, values) => statistics.set(values, entry.offset),
  });
  return { ...result, gradient, statistics, order };
}

/** Random parameters on the device, without a net. The caller disposes them. */
export function loadedParameters(model: ModelSpec, precision: Precision): DeviceParameters {
  const layout = layoutOf(model);
  const source = new DeviceParameters(layout, precision);
  const { parameters, statistics } = randomParameters({ layout }, model);
  source.load(parameters, statistics);
  return source;
}

/** A net with random parameters, loaded. The caller disposes it. */
export function loadedNetwork(model: ModelSpec, precision: Precision): Network {
  const network = Network.create(model, precision);
  const { parameters, statistics } = randomParameters(network, model);
  network.loadParameters(parameters, statistics);
  return network;
}
