import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeCheckpoint } from '#model/checkpoint.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { initialState, layoutOf } from '#model/parameters.js';
import { stateless } from '#model/plateau.js';
import { checkWeights, followWeights, weightsOf } from './initial-weights.js';

let dataDir = '';
let sha256 = '';
beforeAll(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'lockstep-weights-'));
  const { model, ...rest } = resolveJobSpec({ preset: 'resnet20-synthetic' });
  const spec = { ...rest, model: { ...model, architecture: 'resnet8', activation: 'tanh' as const } };
  const layout = layoutOf(spec.model);
  const state = { ...initialState(spec.model, layout, 1), momentum: new Float32Array(layout.parameterCount) };
  const { manifest } = writeCheckpoint(
    join(dataDir, 'imported', 'small'),
    layout,
    { ...state, scheduleState: stateless },
    {
      jobId: null,
      spec,
      step: 0,
      epoch: 0,
      datasetIndexHash: null,
      metrics: {},
      versions: {},
      numericsClass: null,
      createdAt: new Date(0).toISOString(),
    },
  );
  sha256 = manifest.parametersSha256;
  mkdirSync(join(dataDir, 'empty'));
  symlinkSync(tmpdir(), join(dataDir, 'outside'));
});
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

const specOf = (weights: object, rest: object = {}): object => ({
  dataset: { kind: 'synthetic', classes: 5 },
  initialWeights: weights,
  ...rest,
});
const submitted = (input: object) => {
  const spec = resolveJobSpec(followWeights(input, dataDir));
  checkWeights(spec, dataDir);
  return spec;
};

describe('a job that starts from weights', () => {
  it('follows their net, and its spec names the very checkpoint', () => {
    const spec = submitted(specOf({ path: 'imported/small' }));
    expect(spec.model).toMatchObject({ architecture: 'resnet8', activation: 'tanh', shortcut: 'A', classes: 5 });
    expect(spec.initialWeights).toEqual({ path: 'imported/small/step-00000000', head: 'new', sha256 });
    expect(submitted(spec)).toEqual(spec);
    expect(weightsOf(spec, dataDir)).toEqual({
      checkpoint: join(dataDir, 'imported/small/step-00000000'),
      head: 'new',
      sha256,
    });
  });

  it('is an ordinary one without them', () => {
    const input = { preset: 'resnet20-synthetic' };
    expect(followWeights(input, dataDir)).toBe(input);
    expect(weightsOf(submitted(input), dataDir)).toBeUndefined();
    expect(followWeights('nonsense', dataDir)).toBe('nonsense');
  });

  it.each([
    ['weights that are not there', specOf({ path: 'imported/large' }), /initialWeights\.path names no folder in/],
    [
      'a folder that is no checkpoint',
      specOf({ path: 'empty' }),
      /initialWeights\.path cannot be used: .* is not a checkpoint/,
    ],
    ['a link that leads outside', specOf({ path: 'outside' }), /initialWeights\.path leads outside the data folder/],
    ['an absolute path', specOf({ path: '/tmp' }), /initialWeights\.path leads outside the data folder/],
    [
      'another architecture',
      specOf({ path: 'imported/small' }, { model: { architecture: 'resnet14' } }),
      /model\.architecture must be resnet8, as in imported\/small/,
    ],
    [
      'a head of other classes',
      specOf({ path: 'imported/small', head: 'keep' }),
      /initialWeights\.head must be new: fc\.weight has shape \[10, 64\] in imported\/small\/step-00000000, the network needs \[5, 64\]/,
    ],
    [
      'other weights than named',
      specOf({ path: 'imported/small', sha256: '0'.repeat(64) }),
      /initialWeights\.sha256 is not that of/,
    ],
    [
      'an unknown field',
      specOf({ path: 'imported/small', heads: 'new' }),
      /initialWeights\.heads is not a known field; did you mean head\?/,
    ],
  ])('is refused with %s', (_what, input, message) => {
    expect(() => submitted(input)).toThrow(message);
  });
});
