import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../../../test/support/float64-layers.js';
import { modelOf, randomBatch, randomParameters } from '../../../test/support/networks.js';
import type { ModelSpec } from '../job-spec.js';
import { Network } from '../network.js';
import { addon } from '../tensorflow/addon.js';
import { Tensor } from '../tensorflow/tensor.js';
import { exportSavedModel } from './saved-model-export.js';

/** What tfjs's addon offers for SavedModels: the calls behind `tf.node.loadSavedModel`. */
interface SavedModelRunner {
  loadSavedModel(folder: string, tags: string): number;
  runSavedModel(model: number, inputs: readonly number[], inputNames: string, outputNames: string): never[];
  deleteSavedModel(model: number): void;
}

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lockstep-saved-model-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const count = 3;

function logitsBeforeAndAfter(
  name: string,
  model: ModelSpec,
): { before: Float32Array; after: Float32Array; sums: number[] } {
  const network = Network.create(model, 'float32');
  const weights = randomParameters(network, model);
  network.loadParameters(weights.parameters, weights.statistics);
  const { images } = randomBatch(count, model.imageSize, model.classes);
  const before = network.predict(images, count);
  network.dispose();
  const target = path.join(folder, name);
  exportSavedModel(
    { source: '', model, ...weights, manifest: undefined, library: 'Lockstep', note: undefined },
    target,
  );
  const runner = addon() as unknown as SavedModelRunner;
  const loaded = runner.loadSavedModel(target, 'serve');
  const input = Tensor.of(images, [count, model.imageSize, model.imageSize, 3]);
  const outputs = runner.runSavedModel(loaded, [input.id], 'images:0', 'logits:0,probabilities:0');
  const [logits, probabilities] = outputs.map((output) => Tensor.adopt(output));
  const after = logits!.readFloat32();
  const scores = probabilities!.readFloat32();
  const sums = Array.from({ length: count }, (_, row) =>
    scores.subarray(row * model.classes, (row + 1) * model.classes).reduce((sum, share) => sum + share, 0),
  );
  for (const tensor of [input, logits!, probabilities!]) tensor.dispose();
  runner.deleteSavedModel(loaded);
  return { before, after, sums };
}

describe('a SavedModel', () => {
  it.each([
    ['resnet18', {}, 64],
    ['resnet50-v1.5', { shortcut: 'C' }, 33],
    ['resnet20', { shortcut: 'A' }, 32],
    ['resnet20', { shortcut: 'A' }, 31],
    ['plain18', { activation: 'leaky_relu' }, 64],
    ['resnet14', { activation: 'tanh', batchNorm: false, shortcut: 'B' }, 32],
    ['resnet8', { activation: 'sigmoid', shortcut: 'A' }, 32],
  ] as const)('of %s (%o) at %i gives the logits that the net gives', (architecture, changes, imageSize) => {
    const model = modelOf(architecture, { ...changes, imageSize, classes: 12 });
    const { before, after, sums } = logitsBeforeAndAfter(
      `${architecture}-${Object.values(changes).join('-')}-${imageSize}`,
      model,
    );
    expect(after.length).toBe(count * 12);
    expect(relativeError(after, before)).toBeLessThan(1e-5);
    for (const sum of sums) expect(sum).toBeCloseTo(1, 5);
  });

  it('is absent when it cannot be written, and nothing is left behind', () => {
    const model = modelOf('resnet8', { shortcut: 'A', imageSize: 32 });
    const network = Network.create(model, 'float32');
    const weights = randomParameters(network, model);
    const stored = { source: '', model, ...weights, manifest: undefined, library: 'Lockstep', note: undefined };
    expect(() => exportSavedModel(stored, path.join(folder, 'absent', 'model'))).toThrow('ENOENT');
    expect(readdirSync(folder)).not.toContain('absent');
  });
});
