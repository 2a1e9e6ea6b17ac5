import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { resolveJobSpec } from '#model/job-spec.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WrongUsage } from './exit.js';
import { applySetting, type SpecObject, specFrom } from './spec-file.js';

function withSetting(setting: string, spec: SpecObject = {}): SpecObject {
  applySetting(spec, setting);
  return spec;
}

describe('applySetting', () => {
  it('takes JSON where it is JSON and text otherwise', () => {
    expect(withSetting('training.epochs=1')).toEqual({ training: { epochs: 1 } });
    expect(withSetting('name=my job')).toEqual({ name: 'my job' });
    expect(withSetting('name="7"')).toEqual({ name: '7' });
    expect(withSetting('a.b=true')).toEqual({ a: { b: true } });
    expect(withSetting('a.clipNorm=null')).toEqual({ a: { clipNorm: null } });
    expect(withSetting('a.milestones=[30,60]')).toEqual({ a: { milestones: [30, 60] } });
    expect(withSetting('name=a=b')).toEqual({ name: 'a=b' });
    expect(withSetting('name=')).toEqual({ name: '' });
  });

  it('keeps what lies beside it', () => {
    expect(withSetting('a.b=2', { a: { b: 1, c: 3 }, d: 4 })).toEqual({ a: { b: 2, c: 3 }, d: 4 });
    expect(withSetting('a.b=2', { a: null })).toEqual({ a: { b: 2 } });
  });

  it.each([
    ['training.epochs', /path=value/],
    ['=1', /path=value/],
    ['a..b=1', /"" is not the name/],
    ['__proto__.x=1', /"__proto__" is not the name/],
    ['schedule.milestones.0=1', /by index.*schedule\.milestones=\[30,60\]/],
    ['milestones[0]=1', /by index.*milestones=\[30,60\]/],
  ])('refuses %s', (setting, sentence) => {
    expect(() => withSetting(setting)).toThrow(WrongUsage);
    expect(() => withSetting(setting)).toThrow(sentence);
  });

  it('refuses a path through a value', () => {
    expect(() => withSetting('name.first=x', { name: 'y' })).toThrow(/name is not an object, so it has no field first/);
  });

  it('pollutes no prototype', () => {
    withSetting('constructor.prototype.polluted=1');
    expect(({} as SpecObject)['polluted']).toBeUndefined();
  });
});

describe('specFrom', () => {
  let folder: string;
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lockstep-spec-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('reads JSON and YAML by extension, settings on top', () => {
    const expected = { preset: 'p', training: { epochs: 2 } };
    expect(
      specFrom({ file: file('a.json', '{"preset":"p","training":{"epochs":9}}'), set: ['training.epochs=2'] }),
    ).toEqual(expected);
    expect(
      specFrom({ file: file('a.yaml', 'preset: p\ntraining:\n  epochs: 9\n'), set: ['training.epochs=2'] }),
    ).toEqual(expected);
    expect(specFrom({ preset: 'p', set: ['training.epochs=1', 'training.epochs=2'] })).toEqual(expected);
  });

  it('refuses what it cannot read, in one sentence that names the file', () => {
    expect(() => specFrom({ file: join(folder, 'none.json'), set: [] })).toThrow(/none\.json: there is no such file/);
    expect(() => specFrom({ file: file('b.json', '{"a":'), set: [] })).toThrow(/b\.json: .*JSON/);
    expect(() => specFrom({ file: file('b.yaml', 'a: [1'), set: [] })).toThrow(/^[^\n]*b\.yaml: [^\n]*line 1[^\n]*$/);
    expect(() => specFrom({ file: file('c.json', '[1]'), set: [] })).toThrow(/is an object/);
    expect(() => specFrom({ file: file('c.txt', '{}'), set: [] })).toThrow(/\.json, \.yaml or \.yml/);
    expect(() => specFrom({ file: folder, set: [] })).toThrow(WrongUsage);
  });

  it('refuses numbers that JSON cannot carry', () => {
    const source = { file: file('d.yaml', 'training:\n  schedule:\n    learningRate: .inf\n'), set: [] };
    expect(() => specFrom(source)).toThrow('training.schedule.learningRate: Infinity is not a finite number.');
    expect(() => specFrom({ preset: 'p', set: ['a=1e999'] })).toThrow(/a: Infinity/);
  });

  it('wants either a file or a preset', () => {
    expect(() => specFrom({ set: [] })).toThrow(WrongUsage);
    expect(() => specFrom({ file: 'a.json', preset: 'p', set: [] })).toThrow(WrongUsage);
  });
});

it.each(['job.json', 'job.yaml'])('examples/%s is a whole job spec', (name) => {
  const file = fileURLToPath(new URL(`../../../../examples/${name}`, import.meta.url));
  expect(resolveJobSpec(specFrom({ file, set: [] })).name).not.toBe('');
});
