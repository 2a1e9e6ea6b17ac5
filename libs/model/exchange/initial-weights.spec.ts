import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { modelOf } from '../../../test/support/networks.js';
import { parametersSha256 } from '../checkpoint.js';
import { initialState, layoutOf } from '../parameters.js';
import { writeImportedCheckpoint } from './imported-checkpoint.js';
import { stateFromWeights, type InitialWeights } from './initial-weights.js';

const model = modelOf('resnet8', { shortcut: 'A', classes: 10, imageSize: 32 });
const layout = layoutOf(model);
const trained = initialState(model, layout, 7);
trained.statistics.fill(0.25);

let folder = '';
let weights: Omit<InitialWeights, 'head'>;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lockstep-initial-weights-'));
  const stored = { source: '', model, ...trained, manifest: undefined, library: 'torchvision', note: undefined };
  const about = { versions: {}, createdAt: new Date(0).toISOString() };
  const { path: checkpoint, manifest } = writeImportedCheckpoint(stored, folder, 'resnet8', about);
  expect(manifest).toMatchObject({ step: 0, jobId: null, spec: { name: 'resnet8', dataset: { kind: 'cifar10' } } });
  weights = { checkpoint, sha256: manifest.parametersSha256 };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('take over everything with the head', () => {
  const state = stateFromWeights(model, 1, { ...weights, head: 'keep' });
  expect(parametersSha256(state.parameters)).toBe(parametersSha256(trained.parameters));
  expect(state.statistics).toEqual(trained.statistics);
});

it('take over all but the head, which starts as in a new net of the job’s seed', () => {
  const five = { ...model, classes: 5 };
  const fresh = initialState(five, layoutOf(five), 3);
  const state = stateFromWeights(five, 3, { ...weights, head: 'new' });
  for (const entry of layoutOf(five).parameters) {
    const range = (from: Float32Array): Float32Array => from.subarray(entry.offset, entry.offset + entry.size);
    const expected = entry.name.startsWith('fc.') ? fresh.parameters : trained.parameters;
    expect(range(state.parameters), entry.name).toEqual(range(expected));
  }
  expect(state.statistics).toEqual(trained.statistics);
});

it('that are others, or of another net, are refused', () => {
  expect(() => stateFromWeights(model, 1, { ...weights, head: 'keep', sha256: '0'.repeat(64) })).toThrow(
    /holds other weights than when the job was submitted/,
  );
  expect(() => stateFromWeights({ ...model, classes: 5 }, 1, { ...weights, head: 'keep' })).toThrow(
    'fc.weight must have shape [64, 5], it has one of shape [64, 10]',
  );
  expect(() => stateFromWeights({ ...model, architecture: 'resnet14' }, 1, { ...weights, head: 'new' })).toThrow(
    'layer1.1.conv1.weight must have shape [3, 3, 16, 16], it has none',
  );
});
