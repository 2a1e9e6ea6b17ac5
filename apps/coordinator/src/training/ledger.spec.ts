import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Ledger, LedgerDamagedError, readLedger } from './ledger.js';
import { differencesOnReplay, type StepRecord } from './ledger-format.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ledger-'));
  path = join(folder, 'ledger.txt');
});
afterEach(() => rmSync(folder, { recursive: true }));

export function stepRecord(step: number, change: Partial<StepRecord> = {}): StepRecord {
  return {
    kind: 'step',
    step,
    version: step + 1,
    lineage: 1,
    round: 0,
    epoch: 0,
    first: 4 * step,
    samples: 4,
    sampleIdsSha256: 'ab'.repeat(32),
    excluded: [],
    excludedShards: [],
    tasks: [{ task: 0, samples: 4, worker: 'w', attempt: 1, seconds: 0.5, checksum: 7, provedBy: null }],
    refused: [],
    loss: 2.25,
    learningRate: 0.1,
    parametersChecksum: 99 + step,
    committedAt: '2026-01-01T00:00:00.000Z',
    ...change,
  };
}

function filled(steps: number): Ledger {
  const ledger = Ledger.open(path);
  for (let step = 0; step < steps; step += 1) ledger.append(stepRecord(step));
  return ledger;
}

describe('Ledger', () => {
  it('gives back what was appended, over several openings', async () => {
    filled(3).close();
    const again = Ledger.open(path);
    again.append(stepRecord(3));
    const read = [];
    for await (const record of again.read()) read.push(record);
    again.close();
    expect(read).toEqual([0, 1, 2, 3].map((step) => stepRecord(step)));
    expect(readLedger(path).records).toEqual(read);
  });

  it('drops a torn tail, wherever an append was interrupted', () => {
    filled(2).close();
    const whole = readFileSync(path);
    const first = whole.indexOf(0x0a) + 1;
    for (let length = first; length < whole.length; length += 7) {
      writeFileSync(path, whole);
      truncateSync(path, length);
      const ledger = Ledger.open(path);
      expect(ledger.recordOf(0)).toEqual(stepRecord(0));
      expect(ledger.recordOf(1)).toBeUndefined();
      ledger.append(stepRecord(1));
      ledger.close();
      expect(readFileSync(path)).toEqual(whole);
    }
  });

  it('names the line that somebody changed', () => {
    filled(3).close();
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replace('"step":1', '"step":7'));
    expect(() => Ledger.open(path)).toThrow(LedgerDamagedError);
    expect(readLedger(path).problems).toEqual(['Line 2 of the ledger does not match its checksum.']);
  });

  it('notices a line that was taken out, or put in twice', () => {
    filled(3).close();
    const [one, two, three] = readFileSync(path, 'utf8').trimEnd().split('\n');
    writeFileSync(path, `${one}\n${three}\n`);
    expect(readLedger(path).problems).toEqual(['Line 2 of the ledger does not follow the record before it.']);
    writeFileSync(path, `${one}\n${two}\n${two}\n${three}\n`);
    expect(readLedger(path).problems).toEqual(['Line 3 of the ledger does not follow the record before it.']);
    appendFileSync(path, 'not a record at all, but long enough\n');
    expect(readLedger(path).records).toHaveLength(2);
  });

  it('forgets steps on a rollback', () => {
    const ledger = filled(3);
    ledger.append({ kind: 'rollback', toVersion: 1, reason: 'test', committedAt: '2026-01-01T00:00:00.000Z' });
    expect(ledger.recordOf(0)).toBeDefined();
    expect(ledger.recordOf(1)).toBeUndefined();
    ledger.append(stepRecord(1, { lineage: 2 }));
    expect(ledger.recordOf(1)?.lineage).toBe(2);
    ledger.close();
  });
});

describe('differencesOnReplay', () => {
  it('lets who, when and how often differ, and nothing that the bits depend on', () => {
    const [task] = stepRecord(0).tasks;
    const other = { ...task!, worker: 'x', attempt: 3, seconds: 9 };
    const again = stepRecord(0, { lineage: 5, committedAt: 'later', tasks: [other] });
    expect(differencesOnReplay(stepRecord(0), again)).toEqual([]);
    expect(differencesOnReplay(stepRecord(0), stepRecord(0, { loss: 2.5 }))).toEqual(['loss']);
    const damaged = stepRecord(0, { parametersChecksum: 1, tasks: [{ ...other, checksum: 8 }] });
    expect(differencesOnReplay(stepRecord(0), damaged)).toEqual(['parametersChecksum', 'tasks.checksum']);
  });
});
