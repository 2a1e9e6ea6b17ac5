import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Ledger, LedgerDamagedError, readLedger } from './ledger.js';
import { differencesOnReplay, type StepRecord } from './ledger-format.js';
import { stepRecord } from './testing/step-record.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ledger-'));
  path = join(folder, 'ledger.txt');
});
afterEach(() => rmSync(folder, { recursive: true }));

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

  it('takes a length that somebody changed for damage, not for a torn tail: nothing is cut off', () => {
    filled(3).close();
    const whole = readFileSync(path);
    for (const digit of [1, 5, 7]) {
      const changed = Buffer.from(whole);
      changed[changed.indexOf(0x0a) + 1 + digit] = 'f'.charCodeAt(0);
      writeFileSync(path, changed);
      expect(() => Ledger.open(path)).toThrow('Line 2 of the ledger has a wrong length.');
      expect(readFileSync(path)).toEqual(changed);
    }
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

  it('still knows the last step when it has let go of all records', () => {
    const ledger = filled(3);
    ledger.forgetBefore(3);
    expect([ledger.recordOf(2), ledger.lastStep()]).toEqual([undefined, 2]);
    ledger.append({ kind: 'rollback', toVersion: 2, reason: 'test', committedAt: '2026-01-01T00:00:00.000Z' });
    expect(ledger.lastStep()).toBe(1);
    ledger.close();
  });

  it('says so when a record has changed since it was read', () => {
    const ledger = filled(3);
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replace('"step":1', '"step":7'));
    expect(ledger.recordOf(2)).toEqual(stepRecord(2));
    expect(() => ledger.recordOf(1)).toThrow(LedgerDamagedError);
    truncateSync(path, text.length - 5);
    expect(() => ledger.recordOf(2)).toThrow('The record of step 2 has changed since it was read.');
    ledger.close();
  });

  it('knows what a list of all records would know, whatever was appended, taken back and opened again', () => {
    const act = fc.oneof(
      { weight: 6, arbitrary: fc.constant('append' as const) },
      { weight: 1, arbitrary: fc.constant('open' as const) },
      { weight: 1, arbitrary: fc.record({ backBy: fc.nat(4) }) },
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
        writeFileSync(path, '');
        let ledger = Ledger.open(path);
        const known: StepRecord[] = [];
        acts.forEach((what, index) => {
          if (what === 'append') {
            known.push(stepRecord(known.length, { lineage: index }));
            ledger.append(known.at(-1)!);
          } else if (what === 'open') {
            ledger.close();
            ledger = Ledger.open(path);
          } else {
            known.length = Math.max(0, known.length - what.backBy);
            ledger.append({ kind: 'rollback', toVersion: known.length, reason: '', committedAt: '' });
          }
          expect(ledger.lastStep()).toBe(known.length - 1);
          expect([...known.keys(), known.length].map((step) => ledger.recordOf(step))).toEqual([...known, undefined]);
        });
        ledger.close();
      }),
      { numRuns: 50 },
    );
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
