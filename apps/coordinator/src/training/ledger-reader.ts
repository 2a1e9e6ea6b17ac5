// Reads a ledger's file line by line, in bounded memory, and says where it stops being one.
// Refuses to write, and to know what the records mean.
import { closeSync, openSync, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { decodeLedgerLine, ledgerGenesis, type LedgerRecord, type RecordCheck } from './ledger-format.js';

export interface LedgerEntry {
  readonly record: LedgerRecord;
  /** Bytes [offset, end) of the file are its line. */
  readonly offset: number;
  readonly end: number;
}

/** Read at once, bytes; a line that is longer takes as much as it needs. */
const chunkBytes = 262_144;

export class LedgerReader {
  /** One sentence for each line that cannot be believed; reading ends at the first. Filled while reading. */
  readonly problems: string[] = [];
  /** Hash of the last good line. */
  hash = ledgerGenesis;
  /** Bytes up to the end of the last good line. What follows without a problem is a torn tail. */
  goodBytes = 0;
  readonly #path: string;
  readonly #check: RecordCheck;
  readonly #bytes: number;

  /**
   * @param check the first record always has its fields checked: it shows whether this Lockstep wrote such a file
   * @param bytes read at most, of a file that may have grown since
   */
  constructor(path: string, check: RecordCheck, bytes = Number.POSITIVE_INFINITY) {
    this.#path = path;
    this.#check = check;
    this.#bytes = bytes;
  }

  /** Good lines in file order, from the first. A file that does not exist has none. */
  *entries(): Generator<LedgerEntry, void> {
    const file = openIfThere(this.#path);
    if (file === undefined) return;
    try {
      yield* this.#entriesOf(file);
    } finally {
      closeSync(file);
    }
  }

  *records(): Generator<LedgerRecord, void> {
    for (const { record } of this.entries()) yield record;
  }

  *#entriesOf(file: number): Generator<LedgerEntry, void> {
    let space = Buffer.allocUnsafe(chunkBytes);
    let filled = 0;
    let at = 0;
    for (let line = 1; ;) {
      const check = line === 1 ? 'fields' : this.#check;
      const decoded = decodeLedgerLine(space.subarray(0, filled), at, this.hash, check);
      if (decoded.kind === 'torn') {
        // What is left of the chunk moves to the front; a line that fills it all gets twice the space.
        const larger = at === 0 && filled === space.length ? Buffer.allocUnsafe(2 * filled) : space;
        space.copy(larger, 0, at, filled);
        space = larger;
        filled -= at;
        at = 0;
        const position = this.goodBytes + filled;
        const read = readSync(file, space, filled, Math.min(space.length - filled, this.#bytes - position), position);
        if (read === 0) return;
        filled += read;
        continue;
      }
      if (decoded.kind === 'damaged') {
        this.problems.push(`Line ${line} of the ledger ${decoded.problem}.`);
        return;
      }
      const offset = this.goodBytes;
      this.goodBytes += decoded.end - at;
      this.hash = decoded.hash;
      at = decoded.end;
      line += 1;
      yield { record: decoded.record, offset, end: this.goodBytes };
    }
  }
}

/** Records up to the first line that cannot be believed. A long ledger blocks nobody: others have a turn after each chunk. */
export async function* streamLedger(path: string): AsyncGenerator<LedgerRecord, void> {
  let turn = chunkBytes;
  for (const { record, end } of new LedgerReader(path, 'outline').entries()) {
    if (end >= turn) {
      turn = end + chunkBytes;
      await setImmediate();
    }
    yield record;
  }
}

/**
 * Reads back one line that was read or written before.
 * @returns undefined where it is not there any more
 */
export function readEntry(file: number, offset: number, end: number): LedgerRecord | undefined {
  const line = Buffer.allocUnsafe(end - offset);
  const read = readSync(file, line, 0, line.length, offset);
  const decoded = decodeLedgerLine(line.subarray(0, read), 0, undefined, 'outline');
  return decoded.kind === 'record' ? decoded.record : undefined;
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
