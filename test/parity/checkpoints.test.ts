// Weights go to torchvision's models and come back: by name and layout, with strict=True, and with the same logits on both sides.
import path from 'node:path';
import { expect, it } from 'vitest';
import { MODEL_FILE, writeCheckpoint } from '#model/checkpoint.js';
import { openDataset } from '#model/datasets/dataset.js';
import { trainInProcess } from '#model/in-process-training.js';
import { exportSafetensors } from '#model/exchange/safetensors-export.js';
import { readStoredModel } from '#model/exchange/stored-model.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { loadModelTensors } from '#model/model-tensors.js';
import { Network } from '#model/network.js';
import { layoutOf } from '#model/parameters.js';
import { relativeError } from '../support/float64-layers.js';
import { modelOf, randomBatch } from '../support/networks.js';
import { float64Of, readSafetensors, scratchFolder, torch, writeBatch } from './torch.js';

const side = 64;
const samples = 4;
const architectures = ['resnet18', 'resnet34', 'resnet50', 'resnet50-v1.5', 'resnet101-v1.5', 'resnet152-v1.5'];

it.each(['resnet18', 'resnet152-v1.5'])(
  'torchvision loads what a training of %s left',
  async (architecture) => {
    const folder = scratchFolder();
    const spec = resolveJobSpec({
      model: { architecture },
      dataset: { kind: 'synthetic', size: 8, testSize: 2, classes: 1000, imageSize: side },
      training: { steps: 2, batchSize: 4, shardSize: 4, schedule: { learningRate: 0.01 } },
      evaluation: { everyEpochs: 0 },
    });
    const dataset = await openDataset(spec.dataset, '');
    const outcome = await trainInProcess(spec, dataset);
    await dataset.close();
    const written = writeCheckpoint(folder, layoutOf(spec.model), outcome, {
      jobId: null,
      spec,
      step: outcome.steps,
      epoch: 1,
      datasetIndexHash: null,
      metrics: {},
      versions: {},
      numericsClass: null,
      createdAt: new Date().toISOString(),
    });
    const file = path.join(written.path, MODEL_FILE);
    const { theirs, images } = await torchLogits(folder, architecture, file);
    const network = Network.create(spec.model, 'float32');
    network.loadParameters(outcome.parameters, outcome.statistics);
    expect(relativeError(network.predict(images, samples), theirs)).toBeLessThan(1e-4);
    network.dispose();
  },
  300_000,
);

it.each(architectures)(
  "Lockstep loads torchvision's %s",
  async (architecture) => {
    const folder = scratchFolder();
    const batch = path.join(folder, 'images.safetensors');
    const file = path.join(folder, 'torch.safetensors');
    const out = path.join(folder, 'logits.safetensors');
    const { images, labels } = randomBatch(samples, side, 1000);
    writeBatch(batch, images, labels);
    await torch('save', architecture, batch, file, out);
    const network = Network.create(modelOf(architecture, { classes: 1000, imageSize: side }), 'float32');
    const { layout } = network;
    const parameters = new Float32Array(layout.parameterCount);
    const statistics = new Float32Array(layout.statisticCount);
    loadModelTensors(layout, readSafetensors(file).tensors, parameters, statistics, file);
    network.loadParameters(parameters, statistics);
    const theirs = Float32Array.from(float64Of(readSafetensors(out), 'logits'));
    expect(relativeError(network.predict(images, samples), theirs)).toBeLessThan(1e-4);
    network.dispose();
  },
  120_000,
);

it.each(['resnet34', 'resnet101', 'resnet50-v1.5'])(
  'torchvision loads the export of an imported %s, and gives the same logits again',
  async (architecture) => {
    const folder = scratchFolder();
    const at = (name: string): string => path.join(folder, `${name}.safetensors`);
    const { images, labels } = randomBatch(samples, side, 1000);
    writeBatch(at('images'), images, labels);
    await torch('save', architecture, at('images'), at('theirs'), at('logits'));
    const stored = readStoredModel(at('theirs'), architecture);
    exportSafetensors(stored, at('ours'));
    await torch('load', architecture, at('ours'), at('images'), at('again'));
    const [before, after] = ['logits', 'again'].map((name) => float64Of(readSafetensors(at(name)), 'logits'));
    expect(after).toEqual(before);
  },
  120_000,
);

async function torchLogits(
  folder: string,
  architecture: string,
  file: string,
): Promise<{ theirs: Float32Array; images: Float32Array }> {
  const batch = path.join(folder, 'images.safetensors');
  const out = path.join(folder, 'logits.safetensors');
  const { images, labels } = randomBatch(samples, side, 1000);
  writeBatch(batch, images, labels);
  await torch('load', architecture, file, batch, out);
  return { theirs: Float32Array.from(float64Of(readSafetensors(out), 'logits')), images };
}
