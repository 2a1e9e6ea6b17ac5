import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelOf } from '../../../test/support/networks.js';
import { writeCheckpoint } from '../checkpoint.js';
import { resolveJobSpec, type ModelSpec } from '../job-spec.js';
import { modelTensors } from '../model-tensors.js';
import { initialState, layoutOf } from '../parameters.js';
import { stateless } from '../plateau.js';
import { readSafetensors, writeSafetensors, type TensorSource } from '../safetensors.js';
import { NotRecognisedError, recogniseModel, type Shapes } from './recognise.js';
import { exportSafetensors } from './safetensors-export.js';
import { readStoredModel, type StoredModel } from './stored-model.js';
import { namingOf } from './tensor-names.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lockstep-stored-model-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => path.join(folder, name);

/** Names in a Hugging Face file of a few of torchvision's tensors. */
const HUGGING_FACE = {
  'conv1.weight': 'resnet.embedder.embedder.convolution.weight',
  'bn1.running_mean': 'resnet.embedder.embedder.normalization.running_mean',
  'layer1.0.conv1.weight': 'resnet.encoder.stages.0.layers.0.layer.0.convolution.weight',
  'layer1.0.bn3.bias': 'resnet.encoder.stages.0.layers.0.layer.2.normalization.bias',
  'layer1.0.downsample.0.weight': 'resnet.encoder.stages.0.layers.0.shortcut.convolution.weight',
  'layer4.1.bn2.running_var': 'resnet.encoder.stages.3.layers.1.layer.1.normalization.running_var',
  'layer4.0.downsample.1.bias': 'resnet.encoder.stages.3.layers.0.shortcut.normalization.bias',
  'fc.weight': 'classifier.1.weight',
} as const;

function tensorsOf(model: ModelSpec): TensorSource[] {
  const layout = layoutOf(model);
  const { parameters, statistics } = initialState(model, layout, 3);
  return modelTensors(layout, parameters, statistics);
}

/** Without filling in any numbers. */
function shapesOf(model: ModelSpec): Shapes {
  const layout = layoutOf(model);
  const none = new Float32Array(0);
  return new Map(modelTensors(layout, none, none).map(({ name, shape }) => [name, shape]));
}

const renamed = (tensors: readonly TensorSource[], nameOf: (name: string) => string): TensorSource[] =>
  tensors.map((tensor) => ({ ...tensor, name: nameOf(tensor.name) }));

describe('names', () => {
  it("of Hugging Face go to torchvision's and back", () => {
    const naming = namingOf(Object.values(HUGGING_FACE))!;
    expect(naming.library).toBe('Hugging Face');
    for (const [ours, theirs] of Object.entries(HUGGING_FACE)) {
      expect(naming.toTorchvision(theirs)).toBe(ours);
      expect(naming.fromTorchvision(ours)).toBe(theirs);
    }
  });

  it('of every net go both ways in every naming', () => {
    for (const architecture of ['resnet152', 'resnet34', 'resnet20', 'plain18']) {
      const names = [...shapesOf(modelOf(architecture)).keys()];
      const huggingFace = namingOf(['resnet.encoder.stages.0.x'])!;
      const wrapped = namingOf(names.map((name) => `module.${name}`))!;
      for (const name of names) {
        expect(huggingFace.toTorchvision(huggingFace.fromTorchvision(name))).toBe(name);
        expect(wrapped.fromTorchvision(name)).toBe(`module.${name}`);
        expect(wrapped.toTorchvision(`module.${name}`)).toBe(name);
      }
    }
  });

  it('of other nets are no naming', () => {
    expect(namingOf([])).toBeUndefined();
    expect(namingOf(['features.0.weight', 'classifier.weight'])).toBeUndefined();
  });
});

describe('the architecture', () => {
  it.each(['resnet18', 'resnet34', 'resnet50-v1.5', 'resnet101-v1.5', 'resnet152-v1.5', 'resnet20', 'resnet110'])(
    '%s is told by its shapes, with shortcuts and classes',
    (architecture) => {
      for (const shortcut of ['A', 'B', 'C'] as const) {
        const model = modelOf(architecture, {
          shortcut,
          classes: 17,
          imageSize: architecture.length > 8 || /18|34/.test(architecture) ? 224 : 32,
        });
        const { model: found, note } = recogniseModel(shapesOf(model));
        expect(found).toMatchObject({ architecture, shortcut, classes: 17, batchNorm: true });
        expect(note === undefined).toBe(shortcut !== 'A' && !architecture.endsWith('v1.5'));
      }
      const bare = recogniseModel(shapesOf(modelOf(architecture, { batchNorm: false })));
      expect(bare.model).toMatchObject({ architecture, batchNorm: false });
    },
  );

  it('is what the user names where shapes leave it open', () => {
    const shapes = shapesOf(modelOf('resnet50'));
    expect(recogniseModel(shapes).note).toContain('--architecture resnet50');
    expect(recogniseModel(shapes, 'resnet50')).toMatchObject({ model: { architecture: 'resnet50' }, note: undefined });
    expect(recogniseModel(shapesOf(modelOf('plain20')), 'plain20').model.architecture).toBe('plain20');
    expect(() => recogniseModel(shapes, 'resnet51')).toThrow(/'resnet51', which is no architecture/);
  });

  it('is refused with what was found where there is none', () => {
    const shapes = new Map(shapesOf(modelOf('resnet18')));
    for (const name of shapes.keys()) if (name.startsWith('layer4')) shapes.delete(name);
    expect(() => recogniseModel(shapes)).toThrow(
      'belongs to no architecture that is known here: 3 stages of 2, 2, 2 basic blocks behind a 7x7 first convolution',
    );
    shapes.delete('fc.weight');
    expect(() => recogniseModel(shapes)).toThrow(NotRecognisedError);
  });
});

describe('a file', () => {
  const model = modelOf('resnet8', { shortcut: 'A', imageSize: 32 });
  const tensors = tensorsOf(model);

  it("of torchvision's, Hugging Face's and wrapped names gives the same net", () => {
    const reference = initialState(model, layoutOf(model), 3);
    const huggingFace = namingOf(['resnet.encoder.stages.0.x'])!;
    for (const [name, sources, library] of [
      ['plain', tensors, 'torchvision'],
      ['wrapped', renamed(tensors, (each) => `module.${each}`), 'torchvision'],
      ['hugging-face', renamed(tensors, huggingFace.fromTorchvision), 'Hugging Face'],
    ] as const) {
      writeSafetensors(at(name), sources, {});
      const stored = readStoredModel(at(name));
      expect(stored).toMatchObject({ library, model: { architecture: 'resnet8', imageSize: 32, shortcut: 'A' } });
      expect(stored.parameters).toEqual(reference.parameters);
      expect(stored.statistics).toEqual(reference.statistics);
    }
  });

  it('that lacks a tensor or has it in another shape is refused by its own names, with both shapes', () => {
    const huggingFace = namingOf(['resnet.encoder.stages.0.x'])!;
    const theirs = renamed(tensors, huggingFace.fromTorchvision);
    const stem = 'resnet.embedder.embedder.normalization.weight';
    writeSafetensors(
      at('lacking'),
      theirs.filter(({ name }) => name !== stem),
      {},
    );
    expect(() => readStoredModel(at('lacking'))).toThrow(`lacks ${stem} [16]: it belongs to another network`);
    const reshaped = theirs.map((tensor) => (tensor.name === stem ? { ...tensor, shape: [4, 4] } : tensor));
    writeSafetensors(at('reshaped'), reshaped, {});
    expect(() => readStoredModel(at('reshaped'))).toThrow(`${stem} has shape [4, 4], the network needs [16]`);
    writeSafetensors(at('whole'), tensors, {});
    expect(() => readStoredModel(at('whole'), 'resnet14')).toThrow(/lacks layer1\.1\.conv1\.weight \[16, 16, 3, 3\]/);
  });

  it('that is no safetensors file, of no residual net or absent is refused in one sentence', () => {
    writeFileSync(at('text'), 'this is no safetensors file at all');
    expect(() => readStoredModel(at('text'))).toThrow(/text is not a valid safetensors file/);
    writeSafetensors(at('other'), [{ name: 'w', shape: [1], values: () => Float32Array.of(1) }], {});
    expect(() => readStoredModel(at('other'))).toThrow('holds no residual net');
    expect(() => readStoredModel(at('nowhere'))).toThrow('there is no');
  });
});

describe('an export', () => {
  it('and an import give back every bit, with activation and stride', () => {
    const model = modelOf('resnet8', { activation: 'tanh', shortcut: 'B', classes: 7, imageSize: 32 });
    const stored: StoredModel = {
      source: '',
      model,
      ...initialState(model, layoutOf(model), 5),
      manifest: undefined,
      library: 'Lockstep',
      note: undefined,
    };
    exportSafetensors(stored, at('exported.safetensors'));
    const back = readStoredModel(at('exported.safetensors'));
    expect(back.model).toEqual(model);
    expect(back.parameters).toEqual(stored.parameters);
    expect(back.statistics).toEqual(stored.statistics);
    const { tensors, metadata } = readSafetensors(at('exported.safetensors'));
    expect(tensors.get('bn1.num_batches_tracked')).toMatchObject({ dtype: 'I64', shape: [] });
    expect(metadata['format']).toBe('pt');
  });
});

describe('a checkpoint', () => {
  it('is read by its folder or by that of its job, and says which net it is', () => {
    const spec = resolveJobSpec({ preset: 'resnet20-synthetic' });
    const layout = layoutOf(spec.model);
    const weights = initialState(spec.model, layout, 9);
    const state = { ...weights, momentum: new Float32Array(layout.parameterCount), scheduleState: stateless };
    for (const step of [0, 8]) {
      writeCheckpoint(at('checkpoints'), layout, state, {
        jobId: null,
        spec,
        step,
        epoch: step / 8,
        datasetIndexHash: null,
        metrics: {},
        versions: {},
        numericsClass: null,
        createdAt: new Date(0).toISOString(),
      });
    }
    const newest = readStoredModel(at('checkpoints'));
    expect(newest.manifest?.step).toBe(8);
    expect(newest.parameters).toEqual(weights.parameters);
    // A job's folder holds its checkpoints in one of that name.
    expect(readStoredModel(folder).source).toBe(newest.source);
    const file = readStoredModel(path.join(newest.source, 'model.safetensors'));
    expect(file.model).toEqual(spec.model);
    expect(file.parameters).toEqual(weights.parameters);
    expect(() => readStoredModel(newest.source, 'resnet32')).toThrow('holds a resnet20, not a resnet32');
    mkdirSync(at('empty'));
    expect(() => readStoredModel(at('empty'))).toThrow('is not a checkpoint');
  });
});
