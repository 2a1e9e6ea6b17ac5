import { createHash } from 'node:crypto';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CheckpointError,
  checkpointName,
  listCheckpoints,
  parametersSha256,
  pruneCheckpoints,
  readCheckpoint,
  readManifest,
  readNewestCheckpoint,
  stateSha256,
  writeCheckpoint,
  type CheckpointFacts,
  type TrainingState,
} from './checkpoint.js';
import { resolveJobSpec } from './job-spec.js';
import { initialState, layoutOf } from './parameters.js';
import { randomStream } from './random.js';
import { stateless } from './plateau.js';

const spec = resolveJobSpec({ preset: 'resnet20-synthetic' });
const layout = layoutOf(spec.model);

function stateOf(seed: number): TrainingState {
  const random = randomStream(seed, 'momentum');
  return {
    ...initialState(spec.model, layout, seed),
    momentum: Float32Array.from({ length: layout.parameterCount }, () => random.uniform() - 0.5),
    scheduleState: stateless,
  };
}

function factsOf(step: number): CheckpointFacts {
  return {
    jobId: 'job-1',
    spec,
    step,
    epoch: step / 8,
    datasetIndexHash: 'd'.repeat(64),
    metrics: { 'train/loss': 2.3 },
    versions: { lockstep: '0.1.0', node: process.versions.node },
    numericsClass: null,
    createdAt: new Date(0).toISOString(),
  };
}

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lockstep-checkpoint-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('hashes', () => {
  it('are those of the plain bytes, and every part of the state changes the state hash', () => {
    const state = stateOf(1);
    const bytes = Buffer.from(state.parameters.buffer as ArrayBuffer);
    expect(parametersSha256(state.parameters)).toBe(createHash('sha256').update(bytes).digest('hex'));
    const changed = (part: 'parameters' | 'momentum' | 'statistics'): string => {
      const copy = state[part].slice();
      copy[3]! += 1;
      return stateSha256({ ...state, [part]: copy });
    };
    const hashes = [stateSha256(state), changed('parameters'), changed('momentum'), changed('statistics')];
    expect(new Set(hashes).size).toBe(4);
    expect(stateSha256(stateOf(1))).toBe(hashes[0]);
    const shared = new Float32Array(new SharedArrayBuffer(4 * layout.parameterCount));
    shared.set(state.parameters);
    expect(stateSha256({ ...state, parameters: shared })).toBe(hashes[0]);
  });
});

describe('a checkpoint', () => {
  it('comes back bit by bit, into the arrays given', () => {
    const state = stateOf(1);
    const written = writeCheckpoint(path.join(folder, 'made', 'on', 'demand'), layout, state, factsOf(12));
    expect(path.basename(written.path)).toBe('step-00000012');
    expect(readdirSync(written.path).sort()).toEqual(['manifest.json', 'model.safetensors', 'optimizer.safetensors']);
    expect(written.manifest).toMatchObject({
      step: 12,
      parametersSha256: parametersSha256(state.parameters),
      stateSha256: stateSha256(state),
    });

    const into = {
      parameters: new Float32Array(new SharedArrayBuffer(4 * layout.parameterCount)),
      momentum: new Float32Array(layout.parameterCount),
      statistics: new Float32Array(layout.statisticCount),
    };
    const { manifest, state: read } = readCheckpoint(written.path, layout, into);
    expect(manifest).toEqual(written.manifest);
    expect(manifest.spec).toEqual(spec);
    expect(read.parameters).toBe(into.parameters);
    expect(stateSha256(read)).toBe(stateSha256(state));
    expect(readdirSync(path.dirname(written.path))).toEqual(['step-00000012']);
  });

  it('that is there already with the same state stays untouched; with another state it is replaced', () => {
    const first = writeCheckpoint(folder, layout, stateOf(1), factsOf(4));
    const again = writeCheckpoint(folder, layout, stateOf(1), { ...factsOf(4), createdAt: new Date(1).toISOString() });
    expect(again.manifest).toEqual(first.manifest);
    const other = writeCheckpoint(folder, layout, stateOf(2), factsOf(4));
    expect(readCheckpoint(other.path, layout).manifest.stateSha256).toBe(stateSha256(stateOf(2)));
    expect(readdirSync(folder)).toEqual(['step-00000004']);
  });

  it('that is there but damaged is written anew', () => {
    const { path: checkpoint } = writeCheckpoint(folder, layout, stateOf(1), factsOf(4));
    const file = path.join(checkpoint, 'optimizer.safetensors');
    const content = readFileSync(file);
    content[content.length - 5]! ^= 1;
    writeFileSync(file, content);
    writeCheckpoint(folder, layout, stateOf(1), factsOf(4));
    expect(stateSha256(readCheckpoint(checkpoint, layout).state)).toBe(stateSha256(stateOf(1)));
  });

  it('that is there but cut short is written anew', () => {
    const { path: checkpoint } = writeCheckpoint(folder, layout, stateOf(1), factsOf(4));
    truncateSync(path.join(checkpoint, 'model.safetensors'), 1000);
    writeCheckpoint(folder, layout, stateOf(1), factsOf(4));
    expect(stateSha256(readCheckpoint(checkpoint, layout).state)).toBe(stateSha256(stateOf(1)));
  });

  it('is absent when writing fails, and nothing is left behind', () => {
    const blocked = path.join(folder, 'file');
    writeFileSync(blocked, '');
    expect(() => writeCheckpoint(path.join(blocked, 'checkpoints'), layout, stateOf(1), factsOf(1))).toThrow(
      /cannot be written: .*; check the data folder/,
    );
    const state = { ...stateOf(1), momentum: new Float32Array(3) };
    expect(() => writeCheckpoint(folder, layout, state, factsOf(1))).toThrow(CheckpointError);
    expect(readdirSync(folder)).toEqual(['file']);
  });

  it('of another network is refused', () => {
    const { path: checkpoint } = writeCheckpoint(folder, layout, stateOf(1), factsOf(1));
    const deeper = layoutOf({ ...spec.model, architecture: 'resnet32' });
    expect(() => readCheckpoint(checkpoint, deeper)).toThrow('belongs to another network');
  });
});

describe('damage', () => {
  let checkpoint = '';
  beforeEach(() => {
    checkpoint = writeCheckpoint(folder, layout, stateOf(1), factsOf(7)).path;
  });
  const file = (name: string): string => path.join(checkpoint, name);
  const flip = (name: string, at: number): void => {
    const content = readFileSync(file(name));
    content[at]! ^= 4;
    writeFileSync(file(name), content);
  };

  it('a flipped bit is found wherever it is', () => {
    for (const name of ['model.safetensors', 'optimizer.safetensors']) {
      const size = readFileSync(file(name)).length;
      for (const at of [0, 20, Math.floor(size / 2), size - 1]) {
        flip(name, at);
        expect(() => readCheckpoint(checkpoint, layout)).toThrow(new RegExp(`${name} is damaged`));
        flip(name, at);
      }
    }
    expect(stateSha256(readCheckpoint(checkpoint, layout).state)).toBe(stateSha256(stateOf(1)));
  });

  it('files cut short, missing or swapped are named', () => {
    truncateSync(file('optimizer.safetensors'), 100);
    expect(() => readManifest(checkpoint)).toThrow(
      /optimizer.safetensors has 100 bytes, not \d+; use another checkpoint/,
    );
    rmSync(file('optimizer.safetensors'));
    expect(() => readCheckpoint(checkpoint, layout)).toThrow('optimizer.safetensors is missing');
    rmSync(file('manifest.json'));
    expect(() => readManifest(checkpoint)).toThrow('is not a checkpoint: manifest.json cannot be read');
    writeFileSync(file('manifest.json'), '{"format": 1');
    expect(() => readManifest(checkpoint)).toThrow('manifest.json is damaged: it is not JSON');
    writeFileSync(file('manifest.json'), '{"format": 2}');
    expect(() => readManifest(checkpoint)).toThrow('manifest.json is damaged: format');
  });

  it('a manifest that names another state is found', () => {
    const text = readFileSync(file('manifest.json'), 'utf8');
    writeFileSync(file('manifest.json'), text.replace(stateSha256(stateOf(1)), '0'.repeat(64)));
    expect(() => readCheckpoint(checkpoint, layout)).toThrow('does not hold the state that its manifest names');
  });

  it('is passed over in favour of the last good one, and told', () => {
    writeCheckpoint(folder, layout, stateOf(2), factsOf(9));
    truncateSync(path.join(folder, checkpointName(9), 'model.safetensors'), 5);
    cpSync(checkpoint, path.join(folder, '.writing-step-00000010-1'), { recursive: true });
    const { found, problems } = readNewestCheckpoint(folder, layout);
    expect(found?.manifest.step).toBe(7);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain('step-00000009');
    expect(readNewestCheckpoint(path.join(folder, 'absent'), layout)).toEqual({ found: undefined, problems: [] });
  });
});

describe('pruning', () => {
  it('keeps the newest, the initial one and those in use, and sweeps what a crash left', () => {
    for (const step of [0, 5, 10, 15, 20]) mkdirSync(path.join(folder, checkpointName(step)));
    for (const name of ['.writing-step-00000025-77', '.removing-step-00000001-77']) mkdirSync(path.join(folder, name));
    mkdirSync(path.join(folder, 'notes'));
    expect(pruneCheckpoints(folder, 2, [5])).toEqual([10]);
    expect(listCheckpoints(folder).map(({ step }) => step)).toEqual([0, 5, 15, 20]);
    expect(readdirSync(folder).sort()).toEqual([
      'notes',
      'step-00000000',
      'step-00000005',
      'step-00000015',
      'step-00000020',
    ]);
    expect(pruneCheckpoints(path.join(folder, 'absent'), 1)).toEqual([]);
  });
});
