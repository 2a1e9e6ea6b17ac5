// The flat vectors: which tensor lies where among a net's parameters and running statistics, and what they start as.
// It knows names, shapes and random numbers, never TensorFlow, and nothing of how the vectors travel.

import { createHash } from 'node:crypto';
import type { ModelSpec } from './job-spec.js';
import { randomStream } from './random.js';
import { planOf } from './resnet.js';
import type { ConvolutionPlan } from './resnet.js';

export type TensorRole = 'filter' | 'dense' | 'bias' | 'gamma' | 'beta' | 'mean' | 'variance';

export interface TensorEntry {
  /** torchvision's name, such as 'layer1.0.conv1.weight'. */
  readonly name: string;
  /** Filters are [height, width, inputs, outputs], the dense layer [inputs, outputs]. */
  readonly shape: readonly number[];
  /** Elements before it in its region (parameters or statistics). */
  readonly offset: number;
  readonly size: number;
  readonly role: TensorRole;
}

export interface ParameterLayout {
  /** In forward order, so that backward finishes the vector from its end. */
  readonly parameters: readonly TensorEntry[];
  readonly statistics: readonly TensorEntry[];
  readonly parameterCount: number;
  readonly statisticCount: number;
  /** SHA-256, hex, of the entries as JSON: equal layouts and only they have equal hashes. */
  readonly hash: string;
}

/** Where each tensor of the net lies. @throws RangeError for an unknown architecture. */
export function layoutOf(model: ModelSpec): ParameterLayout {
  const plan = planOf(model);
  const parameters = new Region();
  const statistics = new Region();
  const addConvolution = (convolution: ConvolutionPlan): void => {
    const { name, norm, kernel, inputs, outputs } = convolution;
    parameters.add(`${name}.weight`, [kernel, kernel, inputs, outputs], 'filter');
    if (norm === undefined) {
      parameters.add(`${name}.bias`, [outputs], 'bias');
      return;
    }
    parameters.add(`${norm}.weight`, [outputs], 'gamma');
    parameters.add(`${norm}.bias`, [outputs], 'beta');
    statistics.add(`${norm}.running_mean`, [outputs], 'mean');
    statistics.add(`${norm}.running_var`, [outputs], 'variance');
  };
  addConvolution(plan.stem);
  for (const block of plan.blocks) {
    block.convolutions.forEach(addConvolution);
    if (block.shortcut.kind === 'projection') addConvolution(block.shortcut.convolution);
  }
  parameters.add(`${plan.dense.name}.weight`, [plan.dense.inputs, plan.dense.outputs], 'dense');
  parameters.add(`${plan.dense.name}.bias`, [plan.dense.outputs], 'bias');
  const entries = { parameters: parameters.entries, statistics: statistics.entries };
  return {
    ...entries,
    parameterCount: parameters.count,
    statisticCount: statistics.count,
    hash: createHash('sha256').update(canonicalJson(entries)).digest('hex'),
  };
}

class Region {
  readonly entries: TensorEntry[] = [];
  count = 0;

  add(name: string, shape: readonly number[], role: TensorRole): void {
    const size = shape.reduce((product, side) => product * side, 1);
    this.entries.push({ name, shape, offset: this.count, size, role });
    this.count += size;
  }
}

/** JSON whose bytes depend on the entries alone: fixed keys in a fixed order. */
function canonicalJson(regions: Record<'parameters' | 'statistics', readonly TensorEntry[]>): string {
  const rows = (entries: readonly TensorEntry[]): unknown[] =>
    entries.map(({ name, shape, offset, size, role }) => [name, [...shape], offset, size, role]);
  return JSON.stringify([rows(regions.parameters), rows(regions.statistics)]);
}

/**
 * Version 0 of parameters and running statistics. Random numbers are keyed by (seed, 'init', tensor name), so a tensor's
 * start depends on nothing else. Filters: 'he' normal with variance 2 / fan-out (He et al. 2015, equation 14, the form
 * that keeps gradients' size), 'xavier' uniform with variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010, equation
 * 16). The dense layer feeds no rectifier, so 'he' takes variance 1 / fan-in there. Biases, betas and means are 0,
 * gammas and variances 1 (the last gamma of a residual block is 0 with `zeroLastGamma`).
 * @param parameters where they go
 */
export function initialState(
  model: ModelSpec,
  layout: ParameterLayout,
  seed: number,
  parameters: Float32Array = new Float32Array(layout.parameterCount),
): { parameters: Float32Array; statistics: Float32Array } {
  const start = initialTensors(model, seed);
  for (const entry of layout.parameters) start(entry, parameters.subarray(entry.offset, entry.offset + entry.size));
  return { parameters, statistics: initialStatistics(layout, new Float32Array(layout.statisticCount)) };
}

/** The same, one parameter tensor at a time: fills its values. */
export function initialTensors(model: ModelSpec, seed: number): (entry: TensorEntry, values: Float32Array) => void {
  const zeroGammas = zeroGammaNames(model);
  return (entry, values) => {
    if (entry.role === 'filter' || entry.role === 'dense') fillWeights(values, entry, model, seed);
    else values.fill(entry.role === 'gamma' && !zeroGammas.has(entry.name) ? 1 : 0);
  };
}

/** The same for the running statistics, which it returns. */
export function initialStatistics(layout: ParameterLayout, statistics: Float32Array): Float32Array {
  for (const { role, offset, size } of layout.statistics) {
    statistics.fill(role === 'variance' ? 1 : 0, offset, offset + size);
  }
  return statistics;
}

function fillWeights(values: Float32Array, entry: TensorEntry, model: ModelSpec, seed: number): void {
  const random = randomStream(seed, 'init', entry.name);
  const [fanIn, fanOut] = fans(entry.shape);
  if (model.initialisation === 'xavier') {
    const limit = Math.sqrt(6 / (fanIn + fanOut));
    for (let i = 0; i < values.length; i++) values[i] = (2 * random.uniform() - 1) * limit;
    return;
  }
  const deviation = Math.sqrt(entry.role === 'dense' ? 1 / fanIn : 2 / fanOut);
  for (let i = 0; i < values.length; i++) values[i] = random.normal() * deviation;
}

/** Connections into and out of one unit: the receptive field times the channels. */
function fans(shape: readonly number[]): [fanIn: number, fanOut: number] {
  const inputs = shape.at(-2) ?? 1;
  const outputs = shape.at(-1) ?? 1;
  const field = shape.slice(0, -2).reduce((product, side) => product * side, 1);
  return [field * inputs, field * outputs];
}

function zeroGammaNames(model: ModelSpec): ReadonlySet<string> {
  const convolutions = planOf(model).blocks.flatMap((block) => block.convolutions);
  return new Set(convolutions.filter(({ zeroGamma }) => zeroGamma).map(({ norm }) => `${norm}.weight`));
}
