// One training pass on the same weights and pixels as torchvision's model: loss, every gradient tensor, running statistics.
// With tanh for the rectifier the bound is tight. With rectifiers the two sides of a kink lie one rounding apart: torch's own
// float32 is then farther from torch's float64 than the 1e-3 in deep nets, and is the measure.
import path from 'node:path';
import { expect, it } from 'vitest';
import type { ModelSpec } from '#model/job-spec.js';
import { modelTensors } from '#model/model-tensors.js';
import { Network } from '#model/network.js';
import type { Precision } from '#model/network.js';
import { updateStatisticsRange } from '#model/optimizer.js';
import { writeSafetensors } from '#model/safetensors.js';
import type { SafetensorsFile } from '#model/safetensors.js';
import { modelOf, pass, randomBatch, randomParameters } from '../support/networks.js';
import { float64Of, readSafetensors, scratchFolder, torch, writeBatch } from './torch.js';

interface Errors {
  readonly loss: number;
  readonly gradient: number;
  /** Largest of a single tensor, and whose it is. */
  readonly worst: number;
  readonly tensor: string;
  readonly statistics: number;
}

/** `bound`: of the whole gradient's relative error against torch in float32. */
const cases = [
  { architecture: 'resnet18', activation: 'tanh', side: 128, bound: 1e-3 },
  { architecture: 'resnet50', activation: 'tanh', side: 96, bound: 1e-3 },
  { architecture: 'resnet152-v1.5', activation: 'tanh', side: 96, bound: 1e-3 },
  { architecture: 'resnet18', activation: 'tanh', side: 224, bound: 1e-3 },
  { architecture: 'resnet50', activation: 'tanh', side: 224, bound: 1e-3 },
  { architecture: 'resnet152-v1.5', activation: 'tanh', side: 224, bound: 1e-3 },
  { architecture: 'resnet18', activation: 'relu', side: 128, bound: 1e-2 },
  { architecture: 'resnet50', activation: 'relu', side: 96, bound: 3e-2 },
  { architecture: 'resnet152-v1.5', activation: 'relu', side: 96, bound: 0.1 },
  { architecture: 'resnet18', activation: 'relu', side: 224, bound: 1e-2 },
  { architecture: 'resnet50', activation: 'relu', side: 224, bound: 3e-2 },
  { architecture: 'resnet152-v1.5', activation: 'relu', side: 224, bound: 0.1 },
] as const;
const samples = 4;

it.each(cases)(
  '$architecture with $activation at $side: loss, gradients and running statistics as torch has them',
  async ({ architecture, activation, side, bound }) => {
    const model = modelOf(architecture, { activation, classes: 1000, imageSize: side });
    const folder = scratchFolder();
    const network = Network.create(model, 'float32');
    const { parameters, statistics } = randomParameters(network, model);
    network.dispose();
    const batch = randomBatch(samples, side, model.classes);
    const at = (name: string): string => path.join(folder, `${name}.safetensors`);
    writeSafetensors(at('model'), modelTensors(network.layout, parameters, statistics), {});
    writeBatch(at('batch'), batch.images, batch.labels);
    await torch('pass', architecture, activation, folder);
    const [float32, float64, bfloat16] = ['float32', 'float64', 'bfloat16'].map((name) => readSafetensors(at(name)));
    if (float32 === undefined || float64 === undefined || bfloat16 === undefined)
      throw new Error('torch left a file out');

    const own = measured(model, 'float32', parameters, statistics, batch);
    const rounded = measured(model, 'bfloat16', parameters, statistics, batch);
    const [torchErrors, torchCoarse] = [errorsOf(float32, float64), errorsOf(bfloat16, float64)];
    const [exact, toTorch, coarse] = [errorsOf(own, float64), errorsOf(own, float32), errorsOf(rounded, float64)];
    console.log(
      [
        `${architecture}, ${activation}, ${samples} images of ${side}x${side}, relative errors:`,
        line('Lockstep float32 to torch float64', exact),
        line('torch float32 to torch float64', torchErrors),
        line('Lockstep float32 to torch float32', toTorch),
        line('Lockstep bfloat16 to torch float64', coarse),
        line('torch bfloat16 to torch float64', torchCoarse),
      ].join('\n'),
    );
    expect(exact.loss).toBeLessThan(1e-5);
    expect(exact.statistics).toBeLessThan(1e-5);
    expect(toTorch.gradient).toBeLessThan(bound);
    expect(toTorch.worst, toTorch.tensor).toBeLessThan(5 * bound);
    // A flip at one place may count for more than all of torch's flips: hence the factor.
    expect(exact.gradient).toBeLessThan(Math.max(1e-3, 20 * torchErrors.gradient));
    expect(coarse.gradient).toBeLessThan(1.5 * torchCoarse.gradient);
    expect(coarse.loss).toBeLessThan(0.01);
    expect(coarse.statistics).toBeLessThan(0.01);
  },
  600_000,
);

/** Lockstep's pass, under torch's names and layouts. */
function measured(
  model: ModelSpec,
  precision: Precision,
  parameters: Float32Array,
  statistics: Float32Array,
  { images, labels }: { images: Float32Array; labels: Int32Array },
): ReadonlyMap<string, Float64Array> {
  const network = Network.create(model, precision);
  network.loadParameters(parameters, statistics);
  const result = pass(network, images, labels, 1 / labels.length);
  network.dispose();
  const running = new Float32Array(statistics.length);
  const range = { from: 0, to: running.length };
  updateStatisticsRange({ statistics, batch: result.statistics, outStatistics: running, ...range });
  const tensors = modelTensors(network.layout, result.gradient, running);
  const named = new Map(tensors.map(({ name, values }) => [name, Float64Array.from(values())]));
  return named.set('loss', Float64Array.of(result.lossSum / labels.length));
}

function errorsOf(given: ReadonlyMap<string, Float64Array> | SafetensorsFile, truth: SafetensorsFile): Errors {
  const valuesOf = (name: string): Float64Array =>
    given instanceof Map
      ? (given as ReadonlyMap<string, Float64Array>).get(name)!
      : float64Of(given as SafetensorsFile, name);
  const all = { gradient: [0, 0], statistics: [0, 0] };
  let [worst, tensor] = [0, ''];
  for (const name of truth.tensors.keys()) {
    if (name === 'loss') continue;
    const [difference, norm] = squares(valuesOf(name), float64Of(truth, name));
    const sums = name.includes('running_') ? all.statistics : all.gradient;
    sums[0]! += difference;
    sums[1]! += norm;
    const error = Math.sqrt(difference / norm);
    if (sums === all.gradient && error > worst) [worst, tensor] = [error, name];
  }
  const ratio = ([difference = 0, norm = 0]: number[]): number => Math.sqrt(difference / norm);
  const loss = Math.abs(valuesOf('loss')[0]! / float64Of(truth, 'loss')[0]! - 1);
  return { loss, gradient: ratio(all.gradient), statistics: ratio(all.statistics), worst, tensor };
}

function squares(values: Float64Array, truth: Float64Array): [difference: number, norm: number] {
  expect(values.length).toBe(truth.length);
  let [difference, norm] = [0, 0];
  for (let i = 0; i < truth.length; i++) {
    difference += (values[i]! - truth[i]!) ** 2;
    norm += truth[i]! ** 2;
  }
  return [difference, norm];
}

function line(what: string, { loss, gradient, worst, tensor, statistics }: Errors): string {
  const [a, b, c, d] = [loss, gradient, worst, statistics].map((value) => value.toExponential(1));
  return `  ${what}: loss ${a}, whole gradient ${b}, worst tensor ${c} (${tensor}), running statistics ${d}`;
}
