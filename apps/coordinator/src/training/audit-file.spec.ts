import { appendFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { auditFile } from './audit-file.js';
import { Ledger } from './ledger.js';
import { planStep } from './step-plan.js';
import { stepRecord } from './testing/step-record.js';

const training = { batchSize: 8, shardSize: 4, shardsPerTask: 1, seed: 3, shuffle: { kind: 'global' } } as const;
const trainCount = 20;
const version = 6;

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'audit-file-'));
  path = join(folder, 'ledger.txt');
  const ledger = Ledger.open(path);
  for (let step = 0; step < version; step += 1) {
    const { epoch, first, samples, sampleIdsSha256, tasks } = planStep(training, trainCount, step);
    const [task] = stepRecord(step).tasks;
    const done = tasks.map((plan) => ({ ...task!, task: plan.task, samples: plan.samples }));
    ledger.append(stepRecord(step, { epoch, first, samples, sampleIdsSha256, tasks: done }));
  }
  ledger.close();
});
afterEach(() => rmSync(folder, { recursive: true }));

function audited(bytes = statSync(path).size) {
  return auditFile({ path, bytes, version, training, trainCount });
}

describe('auditFile', () => {
  it('proves what a file says', () => {
    expect(audited()).toMatchObject({ clean: true, version, expected: 40, committed: 40, problems: [] });
  });

  it('names a damaged line, and what is not proved for it', () => {
    appendFileSync(path, 'no record, but text of someone\n');
    expect(audited()).toMatchObject({
      clean: false,
      committed: 40,
      problems: ['Line 7 of the ledger has no length and checksum.'],
    });
  });

  it('answers as of the length that the file had: what was taken back since counts', () => {
    const bytes = statSync(path).size;
    const ledger = Ledger.open(path);
    ledger.append({ kind: 'rollback', toVersion: 2, reason: 'test', committedAt: '' });
    ledger.close();
    expect(audited(bytes).clean).toBe(true);
    expect(audited().missing).toBe(24);
  });

  it('finds every step missing where there is no file', () => {
    rmSync(path);
    expect(audited(0)).toMatchObject({ clean: false, committed: 0, missing: 40 });
  });
});
