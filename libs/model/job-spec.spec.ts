import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { jobSpecInputSchema, jobSpecSchema, resolveJobSpec, SpecError, type FieldError } from './job-spec.js';
import { presetNames, presets } from './presets.js';

const smallest = { model: { architecture: 'resnet20' }, dataset: { kind: 'cifar10' } };

const folder = {
  model: { architecture: 'resnet18' },
  dataset: { kind: 'imagefolder', path: 'flowers', classes: 5 },
};

function archives(fields: object): object {
  const dataset = { kind: 'webdataset', train: 'https://host/train-{000..146}.tar', classes: 5, ...fields };
  return { model: { architecture: 'resnet18' }, dataset };
}

function errorsOf(input: unknown): readonly FieldError[] {
  try {
    resolveJobSpec(input);
  } catch (error) {
    if (error instanceof SpecError) return error.errors;
    throw error;
  }
  return [];
}

describe('defaults', () => {
  it('fits the warm-up of a preset to another length of training', () => {
    const short = resolveJobSpec({ preset: 'resnet20-cifar10-demo', training: { steps: 20 } });
    expect(short.training.schedule.warmupEpochs).toBeLessThan(20 / 391);
    const sent = { preset: 'resnet20-cifar10-demo', training: { epochs: 6, schedule: { warmupEpochs: 2 } } };
    expect(resolveJobSpec(sent).training.schedule.warmupEpochs).toBe(2);
    const whole = resolveJobSpec({ preset: 'resnet20-cifar10-demo' });
    expect(resolveJobSpec(whole)).toEqual(whole);
  });

  it('of a stored spec from before there was a choice of kernels go on by the fixed rule', () => {
    const { kernels, ...training } = resolveJobSpec(smallest).training;
    expect(kernels).toBe('measured');
    expect(jobSpecSchema.parse({ ...resolveJobSpec(smallest), training }).training.kernels).toBe('fixed');
  });

  it('fill a spec of two fields as the contract says', () => {
    expect(resolveJobSpec(smallest)).toEqual({
      name: 'resnet20-cifar10',
      model: {
        architecture: 'resnet20',
        activation: 'relu',
        shortcut: 'A',
        batchNorm: true,
        initialisation: 'he',
        zeroLastGamma: false,
        classes: 10,
        imageSize: 32,
      },
      dataset: {
        kind: 'cifar10',
        path: 'cifar-10-batches-bin',
        augmentation: 'pad-crop',
        normalisation: { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
      },
      training: {
        epochs: 1,
        steps: null,
        batchSize: 128,
        shardSize: 32,
        shardsPerTask: 1,
        seed: 1,
        precision: 'float32',
        wire: 'float32',
        optimizer: {
          kind: 'sgd',
          momentum: 0.9,
          nesterov: false,
          weightDecay: 0.0001,
          decayBatchNorm: true,
          clipNorm: null,
        },
        schedule: { kind: 'constant', learningRate: 0.1, warmupEpochs: 0 },
        labelSmoothing: 0,
        kernels: 'measured',
        shuffle: { kind: 'global' },
      },
      faults: { reproducibility: 'strict', onNotFinite: 'pause', speculation: true, proofShare: 0 },
      evaluation: { everyEpochs: 1, crops: 1, scales: [] },
      checkpoint: { everySteps: 500, keep: 3 },
      initialWeights: null,
      priority: 0,
    });
  });

  it('derive from other fields', () => {
    const deep = resolveJobSpec({
      model: { architecture: 'resnet50' },
      dataset: { kind: 'synthetic', classes: 7, imageSize: 64, size: 80 },
      training: { batchSize: 16, precision: 'bfloat16', steps: 50, schedule: { kind: 'one-cycle' } },
    });
    expect(deep.model).toMatchObject({ shortcut: 'B', classes: 7, imageSize: 64 });
    expect(deep.dataset).toMatchObject({ testSize: 20 });
    expect(deep.training).toMatchObject({ shardSize: 16, wire: 'bfloat16', epochs: null, steps: 50 });
    expect(deep.training.schedule).toMatchObject({ anneal: 'linear', warmupEpochs: 3 });
  });
});

describe('presets', () => {
  it.each(presetNames)('%s resolves, and to itself when resolved again', (name) => {
    // The files say how many classes they have, where a preset leaves that open.
    const spec = resolveJobSpec({ preset: name }, 10);
    expect(spec.preset).toBe(name);
    expect(spec.name).toBe(name);
    expect(resolveJobSpec(spec)).toEqual(spec);
    expect(resolveJobSpec(JSON.parse(JSON.stringify(spec)))).toEqual(spec);
  });

  it('have names of their own, a description and a source', () => {
    expect(new Set(presetNames).size).toBe(presetNames.length);
    for (const { description, source } of presets)
      expect(Math.min(description.length, source.length)).toBeGreaterThan(20);
  });

  it('give way to what is sent', () => {
    const spec = resolveJobSpec({
      preset: 'resnet20-cifar10-demo',
      name: 'mine',
      training: { precision: 'float32', optimizer: { momentum: 0.5 } },
    });
    expect(spec.name).toBe('mine');
    expect(spec.training).toMatchObject({ precision: 'float32', wire: 'float32', epochs: 3, batchSize: 128 });
    expect(spec.training.optimizer).toMatchObject({ momentum: 0.5, weightDecay: 0.0005 });
  });

  it('let epochs replace steps, milestones replace milestoneSteps, and another kind start afresh', () => {
    const training = { epochs: 2, schedule: { milestones: [1] } };
    expect(resolveJobSpec({ preset: 'resnet20-cifar10', training }).training).toMatchObject({
      epochs: 2,
      steps: null,
      schedule: { kind: 'step', milestones: [1], milestoneSteps: [], learningRate: 0.1 },
    });
    const spec = resolveJobSpec({
      preset: 'resnet20-cifar10-demo',
      training: { steps: 10, schedule: { kind: 'cosine' } },
      dataset: { kind: 'synthetic' },
    });
    expect(spec.training).toMatchObject({ steps: 10, epochs: null });
    expect(spec.training.schedule).toEqual({
      kind: 'cosine',
      learningRate: 0.1,
      warmupEpochs: 0,
      finalLearningRate: 0,
    });
    expect(spec.dataset).toMatchObject({ kind: 'synthetic', size: 4096 });
  });
});

describe('datasets of image files', () => {
  it('have the defaults of ImageNet', () => {
    const spec = resolveJobSpec(folder);
    expect(spec.dataset).toEqual({
      kind: 'imagefolder',
      path: 'flowers',
      classes: 5,
      imageSize: 224,
      augmentation: 'paper',
      normalisation: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
      brokenFiles: 'skip',
    });
    expect(spec.model).toMatchObject({ classes: 5, imageSize: 224 });
    expect(resolveJobSpec(spec)).toEqual(spec);
  });

  it('take the number of classes from the files, else from the model', () => {
    const dataset = { kind: 'imagefolder', path: 'flowers' };
    expect(resolveJobSpec({ model: { architecture: 'resnet18' }, dataset }, 7).model.classes).toBe(7);
    const model = { architecture: 'resnet18', classes: 9 };
    expect(resolveJobSpec({ model, dataset }).dataset).toMatchObject({ classes: 9 });
  });

  it('may be archives, with a block shuffle and without test images', () => {
    const spec = resolveJobSpec({ ...archives({}), training: { shuffle: { kind: 'block', windowBlocks: 4 } } });
    expect(spec.dataset).toMatchObject({ kind: 'webdataset', test: null });
    expect(spec.training.shuffle).toEqual({ kind: 'block', blockSamples: 1024, windowBlocks: 4 });
    expect(spec.evaluation.everyEpochs).toBe(0);
    expect(resolveJobSpec(spec)).toEqual(spec);
    expect(resolveJobSpec(archives({ test: 'val.tar' })).evaluation.everyEpochs).toBe(1);
  });
});

describe('errors', () => {
  const training = (fields: object): object => ({ ...smallest, training: fields });
  const cases: [what: string, input: unknown, path: string, message: string | RegExp][] = [
    ['no object', 'resnet20', '', 'the job spec must be an object'],
    ['a list', [], '', 'the job spec must be an object'],
    [
      'an unknown preset',
      { preset: 'resnet20-cifar' },
      'preset',
      /'resnet20-cifar' is not known; did you mean resnet20-cifar10/,
    ],
    ['no architecture', { dataset: { kind: 'cifar10' } }, 'model.architecture', /is missing: name an architecture/],
    ['no dataset', { model: { architecture: 'resnet20' } }, 'dataset.kind', /is missing/],
    [
      'an unknown architecture',
      { ...smallest, model: { architecture: 'resnet21' } },
      'model.architecture',
      /'resnet21' is not known; did you mean .*resnet20/,
    ],
    [
      'nonsense as architecture',
      { ...smallest, model: { architecture: 'vgg' } },
      'model.architecture',
      /it must be resnet18, 34, 50/,
    ],
    ['an unknown field', { ...smallest, trainnig: {} }, 'trainnig', 'is not a known field; did you mean training?'],
    [
      'an unknown deep field',
      training({ schedule: { learnRate: 1 } }),
      'training.schedule.learnRate',
      /did you mean learningRate/,
    ],
    [
      "another kind's field",
      training({ schedule: { gamma: 0.1 } }),
      'training.schedule.gamma',
      /the fields here are kind, learningRate, warmupEpochs/,
    ],
    [
      'a negative rate',
      training({ schedule: { learningRate: -0.1 } }),
      'training.schedule.learningRate',
      'must be a finite number above 0',
    ],
    [
      'a rate that is no number',
      training({ schedule: { learningRate: Number.NaN } }),
      'training.schedule.learningRate',
      'must be a finite number above 0',
    ],
    [
      'an infinite rate',
      training({ schedule: { learningRate: Infinity } }),
      'training.schedule.learningRate',
      'must be a finite number above 0',
    ],
    [
      'a rate as text',
      training({ schedule: { learningRate: '0.1' } }),
      'training.schedule.learningRate',
      'must be a finite number above 0',
    ],
    [
      'an unknown schedule',
      training({ schedule: { kind: 'polynomial' } }),
      'training.schedule.kind',
      'must be one of constant, step, cosine, one-cycle, plateau',
    ],
    [
      'falling milestones',
      training({ epochs: 9, schedule: { kind: 'step', milestones: [3, 2] } }),
      'training.schedule.milestones',
      /rising/,
    ],
    [
      'shardsPerTask 3',
      training({ shardsPerTask: 3 }),
      'training.shardsPerTask',
      'must be a power of two from 1 to 1024',
    ],
    [
      'shardsPerTask 0',
      training({ shardsPerTask: 0 }),
      'training.shardsPerTask',
      'must be a power of two from 1 to 1024',
    ],
    ['a large shard', training({ shardSize: 256 }), 'training.shardSize', 'must be at most batchSize, which is 128'],
    [
      'no steps to train',
      training({ steps: 0 }),
      'training.steps',
      /must be 1 or more, except to evaluate initialWeights/,
    ],
    ['steps and epochs', training({ steps: 5, epochs: 5 }), 'training.steps', /together with epochs/],
    ['neither', training({ steps: null, epochs: null }), 'training.epochs', 'must be given where steps is null'],
    [
      'a long warm-up',
      training({ epochs: 2, schedule: { warmupEpochs: 2 } }),
      'training.schedule.warmupEpochs',
      'must be shorter than the training, which lasts 2 epochs',
    ],
    [
      'a long warm-up in steps',
      training({ steps: 391, schedule: { warmupEpochs: 1 } }),
      'training.schedule.warmupEpochs',
      /lasts 1 epoch$/,
    ],
    [
      'a large batch',
      { model: smallest.model, dataset: { kind: 'synthetic', size: 100 } },
      'training.batchSize',
      'must be at most 100, the number of training images',
    ],
    [
      'other classes',
      { ...smallest, model: { architecture: 'resnet20', classes: 100 } },
      'model.classes',
      'must be 10, the number of classes in the dataset',
    ],
    [
      'a path outside',
      { ...smallest, dataset: { kind: 'cifar10', path: 'a/../../b' } },
      'dataset.path',
      /must stay inside/,
    ],
    ['an absolute path', { ...smallest, dataset: { kind: 'cifar10', path: '/etc' } }, 'dataset.path', /not absolute/],
    [
      'an unknown dataset',
      { ...smallest, dataset: { kind: 'mnist' } },
      'dataset.kind',
      'must be one of cifar10, imagefolder, webdataset, synthetic',
    ],
    [
      'a field of another kind of dataset',
      { ...smallest, dataset: { kind: 'imagefolder', path: 'a', classes: 10, test: null } },
      'dataset.test',
      /is not a known field; the fields here are kind, path, classes/,
    ],
    [
      'a mistyped policy for broken files',
      { ...folder, dataset: { ...folder.dataset, brokenFile: 'skip' } },
      'dataset.brokenFile',
      'is not a known field; did you mean brokenFiles?',
    ],
    [
      'a folder without a number of classes',
      { ...folder, dataset: { kind: 'imagefolder', path: 'flowers' } },
      'dataset.classes',
      /is missing/,
    ],
    [
      'a folder without a path',
      { ...folder, dataset: { kind: 'imagefolder', classes: 5 } },
      'dataset.path',
      /must be a path/,
    ],
    [
      'a folder outside',
      { ...folder, dataset: { ...folder.dataset, path: '../x' } },
      'dataset.path',
      /must stay inside/,
    ],
    [
      'other classes than the folder has',
      { ...folder, model: { architecture: 'resnet18', classes: 6 } },
      'model.classes',
      'must be 5, the number of classes in the dataset',
    ],
    [
      'blocks of a folder',
      { ...folder, training: { shuffle: { kind: 'block' } } },
      'training.shuffle.kind',
      /must be global for imagefolder/,
    ],
    [
      'a window of a global shuffle',
      training({ shuffle: { windowBlocks: 4 } }),
      'training.shuffle.windowBlocks',
      /the fields here are kind/,
    ],
    [
      'an unknown shuffle',
      training({ shuffle: { kind: 'none' } }),
      'training.shuffle.kind',
      'must be one of global, block',
    ],
    ['an archive of another scheme', archives({ train: 'ftp://a/b.tar' }), 'dataset.train', /starts with http/],
    ['an archive outside', archives({ train: 'a/../../b.tar' }), 'dataset.train', "must not contain '..'"],
    ['a URL that leads up', archives({ train: 'http://a/b/%2e%2e/c.tar' }), 'dataset.train', "must not contain '..'"],
    [
      'a password in a URL',
      archives({ train: 'http://me:secret@a/b.tar' }),
      'dataset.train',
      /must not hold a user name/,
    ],
    [
      'an evaluation without test images',
      { ...archives({}), evaluation: { everyEpochs: 1 } },
      'evaluation.everyEpochs',
      /must be 0, as dataset.test names no archives/,
    ],
    ['a section that is no object', { ...smallest, training: 5 }, 'training', 'must be an object'],
    ['a dataset that is no object', { ...smallest, dataset: 'cifar10' }, 'dataset', /must be/],
    [
      'a momentum of 1',
      training({ optimizer: { momentum: 1 } }),
      'training.optimizer.momentum',
      'must be a number from 0 to below 1',
    ],
    [
      'label smoothing of everything',
      training({ labelSmoothing: 1 }),
      'training.labelSmoothing',
      'must be a number from 0 to 0.999',
    ],
    [
      'a plateau without evaluations',
      { ...training({ schedule: { kind: 'plateau' } }), evaluation: { everyEpochs: 0 } },
      'evaluation.everyEpochs',
      /follows the evaluations/,
    ],
    [
      'a plateau that would raise the rate',
      training({ schedule: { kind: 'plateau', gamma: 1 } }),
      'training.schedule.gamma',
      'must be a number above 0 and below 1',
    ],
    [
      'a least rate above the rate',
      training({ schedule: { kind: 'plateau', minimumRate: 0.2 } }),
      'training.schedule.minimumRate',
      'must be at most learningRate',
    ],
    [
      'a seed that is not whole',
      training({ seed: 1.5 }),
      'training.seed',
      'must be a whole number from 0 to 4294967295',
    ],
    ['an empty name', { ...smallest, name: ' ' }, 'name', 'must not be empty'],
  ];

  it.each(cases)('%s', (_what, input, path, message) => {
    const errors = errorsOf(input);
    expect(errors.map((error) => error.path)).toEqual([path]);
    if (typeof message === 'string') expect(errors[0]!.message).toBe(message);
    else expect(errors[0]!.message).toMatch(message);
  });

  it('come all at once, and the error itself reads as a sentence', () => {
    const errors = errorsOf(training({ batchSize: 0, seed: -1, precision: 'float16', extra: 1 }));
    expect(errors.map((error) => error.path).sort()).toEqual([
      'training.batchSize',
      'training.extra',
      'training.precision',
      'training.seed',
    ]);
    expect(new SpecError(errors).message).toContain('training.seed must be a whole number');
  });

  it('are the only way to fail: no input whatever throws anything else', () => {
    const anything = fc.anything({ maxDepth: 3 });
    const spec = fc.record(
      {
        preset: fc.oneof(fc.constantFrom(...presetNames), anything),
        model: anything,
        dataset: anything,
        training: anything,
        checkpoint: anything,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(anything, spec), (input) => void errorsOf(input)),
      { numRuns: 500 },
    );
  });
});

describe('resolving twice', () => {
  it('changes nothing, whatever valid fields are sent', () => {
    const schedule = fc.oneof(
      fc.record({
        kind: fc.constantFrom('constant', 'cosine', 'one-cycle', 'step', 'plateau'),
        learningRate: fc.double({ min: 0.001, max: 1, noNaN: true }),
      }),
      fc.record({ kind: fc.constant('step'), milestones: fc.constant([1, 2.5]) }),
    );
    const training = fc.record(
      {
        epochs: fc.integer({ min: 1, max: 9 }),
        batchSize: fc.integer({ min: 32, max: 512 }),
        precision: fc.constantFrom('float32', 'bfloat16'),
        schedule,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.option(fc.constantFrom('resnet20-cifar10', 'plain20-cifar10'), { nil: undefined }),
        training,
        (preset, sent) => {
          const input =
            preset === undefined ? { ...smallest, training: sent } : { preset, training: { shardSize: 16, ...sent } };
          const once = resolveJobSpec(input);
          expect(resolveJobSpec(once)).toEqual(once);
        },
      ),
    );
  });
});

describe('the input schema', () => {
  it('becomes JSON Schema in which every field has a description', () => {
    const undescribed: string[] = [];
    const visit = (node: unknown, path: string): void => {
      const { properties } = node as { properties?: Record<string, { description?: string }> };
      for (const [name, property] of Object.entries(properties ?? {})) {
        if (!property.description) undescribed.push(`${path}${name}`);
        visit(property, `${path}${name}.`);
      }
    };
    const schema = z.toJSONSchema(jobSpecInputSchema, { io: 'input' });
    visit(schema, '');
    expect(undescribed).toEqual([]);
    expect(schema).toMatchObject({
      additionalProperties: false,
      properties: { training: { properties: { batchSize: { default: 128 } } } },
    });
  });

  it('takes every preset and every resolved spec', () => {
    for (const { spec, name } of presets) {
      expect(jobSpecInputSchema.safeParse(spec).error).toBeUndefined();
      expect(jobSpecInputSchema.safeParse(resolveJobSpec({ preset: name }, 10)).error).toBeUndefined();
    }
  });
});
