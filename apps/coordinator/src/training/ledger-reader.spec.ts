import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeLedgerLine, ledgerGenesis, type LedgerRecord } from './ledger-format.js';
import { type LedgerEntry, LedgerReader, streamLedger } from './ledger-reader.js';
import { stepRecord } from './testing/step-record.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ledger-reader-'));
  path = join(folder, 'ledger.txt');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Writes records as a ledger; answers with each line. */
function write(records: readonly object[]): Buffer[] {
  let previous = ledgerGenesis;
  const lines = records.map((record) => {
    const { line, hash } = encodeLedgerLine(record as LedgerRecord, previous);
    previous = hash;
    return line;
  });
  writeFileSync(path, Buffer.concat(lines));
  return lines;
}

/** A ledger of some chunks, with lines of many lengths and two that are longer than a chunk. */
function long(): LedgerRecord[] {
  return Array.from({ length: 800 }, (_, step) => {
    const refused = [{ task: 0, worker: 'wörker 工'.repeat(step % 50), attempt: 1, reason: 'stale' }];
    const ids = step === 300 || step === 301 ? 120_000 : step % 3;
    return stepRecord(step, { refused, excluded: Array.from({ length: ids }, (_id, id) => id) });
  });
}

function readAll(check: 'fields' | 'outline' = 'outline', bytes?: number) {
  const reader = new LedgerReader(path, check, bytes);
  const entries: LedgerEntry[] = [...reader.entries()];
  return { reader, entries };
}

describe('LedgerReader', () => {
  it.each(['fields', 'outline'] as const)('reads lines wherever chunks end, checking %s', (check) => {
    const records = long();
    const lines = write(records);
    const { reader, entries } = readAll(check);
    expect(reader.problems).toEqual([]);
    expect(entries.map(({ record }) => record)).toEqual(records);
    expect(entries.map(({ offset, end }) => end - offset)).toEqual(lines.map((line) => line.length));
    expect(entries.slice(1).map(({ offset }) => offset)).toEqual(entries.slice(0, -1).map(({ end }) => end));
    expect(reader.goodBytes).toBe(Buffer.concat(lines).length);
  });

  it('takes a file that does not exist, or has nothing, for an empty ledger', () => {
    expect(readAll()).toMatchObject({ entries: [], reader: { problems: [], goodBytes: 0, hash: ledgerGenesis } });
    writeFileSync(path, '');
    expect(readAll()).toMatchObject({ entries: [], reader: { problems: [], goodBytes: 0, hash: ledgerGenesis } });
  });

  it('ends before a torn tail that is longer than a chunk', () => {
    const lines = write(long().slice(0, 301));
    const good = Buffer.concat(lines.slice(0, 300)).length;
    for (const left of [1, 17, 18, 300_000]) {
      write(long().slice(0, 301));
      truncateSync(path, good + left);
      const { reader, entries } = readAll();
      expect([entries.length, reader.goodBytes, reader.problems]).toEqual([300, good, []]);
    }
  });

  it('reads no more than it is told to, of a file that grows', () => {
    const lines = write(long().slice(0, 20));
    const good = Buffer.concat(lines.slice(0, 10)).length;
    expect(readAll('fields', good).entries).toHaveLength(10);
    const { reader, entries } = readAll('fields', good + 40);
    expect([entries.length, reader.goodBytes, reader.problems]).toEqual([10, good, []]);
  });

  it('names a damaged line in a later chunk, and reads what comes before it', () => {
    const lines = write(long());
    const good = Buffer.concat(lines.slice(0, 700)).length;
    const bytes = Buffer.concat(lines);
    bytes[good + 200]! ^= 1;
    writeFileSync(path, bytes);
    const { reader, entries } = readAll();
    expect([entries.length, reader.goodBytes]).toEqual([700, good]);
    expect(reader.problems).toEqual(['Line 701 of the ledger does not match its checksum.']);
  });

  it.each([
    ['at the end', 'no record\n', undefined],
    ['at the end, too long for a torn head', 'no record, but text of someone\n', 'has no length and checksum'],
    ['after a length that ends before the newline', `00000010 00000000 ${'x'.repeat(40)}\n`, 'has a wrong length'],
    ['after a length that ends after it', `00000fff 00000000 ${'x'.repeat(40)}\n`, 'has a wrong length'],
  ])('finds what is no line %s', (_, tail, problem) => {
    write([stepRecord(0)]);
    appendFileSync(path, tail);
    const { reader, entries } = readAll();
    expect(entries).toHaveLength(1);
    expect(reader.problems).toEqual(problem === undefined ? [] : [`Line 2 of the ledger ${problem}.`]);
  });

  it('checks all fields of the first record, and of the others where it is to', () => {
    const { lineage: _, ...incomplete } = stepRecord(1);
    write([incomplete]);
    expect(readAll('outline').reader.problems).toEqual(['Line 1 of the ledger is not a ledger record.']);
    write([stepRecord(0), incomplete]);
    expect(readAll('fields').reader.problems).toEqual(['Line 2 of the ledger is not a ledger record.']);
    expect(readAll('outline').reader.problems).toEqual([]);
  });

  it.each([
    ['another kind', { kind: 'other' }],
    ['a rollback to nowhere', { kind: 'rollback' }],
    ['a step before the first', { ...stepRecord(1), step: -1 }],
    ['a step without a list of tasks', { ...stepRecord(1), tasks: 3 }],
    ['a list', [7]],
  ])('does not take %s for a record', (_, other) => {
    write([stepRecord(0), other]);
    expect(readAll('outline').reader.problems).toEqual(['Line 2 of the ledger is not a ledger record.']);
  });
});

describe('streamLedger', () => {
  it('gives the records up to a line that cannot be believed', async () => {
    const records = long();
    write(records);
    appendFileSync(path, 'no record, but text of someone\n');
    const read = [];
    for await (const record of streamLedger(path)) read.push(record);
    expect(read).toEqual(records);
  });

  it('lets others have a turn, once a chunk', async () => {
    write(Array.from({ length: 800 }, (_, step) => stepRecord(step, { sampleIdsSha256: 'ab'.repeat(2000) })));
    let turns = 0;
    const count = (): void => {
      turns += 1;
      immediate = setImmediate(count);
    };
    let immediate = setImmediate(count);
    for await (const record of streamLedger(path)) expect(record.kind).toBe('step');
    clearImmediate(immediate);
    expect(turns).toBeGreaterThan(10);
  });
});
