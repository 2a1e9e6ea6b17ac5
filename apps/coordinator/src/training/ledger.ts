// A job's ledger file: appended to, never rewritten. Owns the file handle and the chain of hashes.
// Refuses to know what a step is; the trainer says what to append, `audit.ts` what it proves.
import {
  closeSync,
  createReadStream,
  existsSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { createInterface } from 'node:readline';
import {
  decodeLedgerLine,
  encodeLedgerLine,
  ledgerGenesis,
  type LedgerRecord,
  type StepRecord,
} from './ledger-format.js';

/** The ledger's file contradicts itself; names the file and the line. */
export class LedgerDamagedError extends Error {
  override readonly name = 'LedgerDamagedError';
}

const syncIntervalMs = 1000;

export interface LedgerContents {
  readonly records: LedgerRecord[];
  /** One sentence for each line that cannot be believed. */
  readonly problems: string[];
  /** Bytes up to the end of the last good line. */
  readonly goodBytes: number;
  readonly hash: string;
}

/** Reads a whole ledger, noting every line that is damaged or out of the chain; a torn tail is not a problem. */
export function readLedger(path: string): LedgerContents {
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  const records: LedgerRecord[] = [];
  const problems: string[] = [];
  let offset = 0;
  let hash = ledgerGenesis;
  let line = 0;
  while (offset < bytes.length) {
    line += 1;
    const decoded = decodeLedgerLine(bytes, offset, hash);
    if (decoded.kind === 'torn') break;
    if (decoded.kind === 'damaged') {
      problems.push(`Line ${line} of the ledger ${decoded.problem}.`);
      break;
    }
    records.push(decoded.record);
    hash = decoded.hash;
    offset = decoded.end;
  }
  return { records, problems, goodBytes: offset, hash };
}

export class Ledger {
  readonly #path: string;
  readonly #file: number;
  #hash: string;
  #bytes: number;
  /** Newest record of each step, by step; what a re-run is compared with. */
  readonly #steps = new Map<number, StepRecord>();
  #syncTimer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(path: string, contents: LedgerContents) {
    this.#path = path;
    this.#hash = contents.hash;
    this.#bytes = contents.goodBytes;
    for (const record of contents.records) this.#note(record);
    this.#file = openSync(path, 'a');
    ftruncateSync(this.#file, contents.goodBytes);
  }

  /**
   * Opens a ledger, dropping a torn tail.
   * @throws LedgerDamagedError where a complete line is damaged or out of the chain.
   */
  static open(path: string): Ledger {
    const contents = readLedger(path);
    if (contents.problems.length > 0) {
      throw new LedgerDamagedError(
        `${path}: ${contents.problems.join(' ')} Restore the file from a copy, or start the job anew.`,
      );
    }
    return new Ledger(path, contents);
  }

  recordOf(step: number): StepRecord | undefined {
    return this.#steps.get(step);
  }

  /** The newest step that has a record that counts; -1 without one. */
  lastStep(): number {
    return Math.max(-1, ...this.#steps.keys());
  }

  /** Lets go of the records of earlier steps: no restart can re-run them any more. The file keeps them. */
  forgetBefore(step: number): void {
    for (const known of [...this.#steps.keys()]) if (known < step) this.#steps.delete(known);
  }

  /** Appends; on failure (such as a full disk) the file is cut back to what it was and the error is thrown. */
  append(record: LedgerRecord): void {
    const { line, hash } = encodeLedgerLine(record, this.#hash);
    try {
      let written = 0;
      while (written < line.length) written += writeSync(this.#file, line, written);
    } catch (error) {
      ftruncateSync(this.#file, this.#bytes);
      throw error;
    }
    this.#hash = hash;
    this.#bytes += line.length;
    this.#note(record);
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      // A failing fsync shows itself again, and is reported, at the next checkpoint's.
      if (!this.#closed) fsync(this.#file, () => undefined);
    }, syncIntervalMs).unref();
  }

  /** Returns when all that was appended is on the disk. */
  sync(): void {
    fsyncSync(this.#file);
  }

  /** Records in file order, read from the file. */
  async *read(): AsyncGenerator<LedgerRecord> {
    const lines = createInterface({ input: createReadStream(this.#path, { end: Math.max(0, this.#bytes - 1) }) });
    for await (const line of lines) {
      const json = line.slice(18 + 65);
      if (json !== '') yield JSON.parse(json) as LedgerRecord;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#syncTimer);
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  #note(record: LedgerRecord): void {
    if (record.kind === 'step') this.#steps.set(record.step, record);
    else for (const step of [...this.#steps.keys()]) if (step >= record.toVersion) this.#steps.delete(step);
  }
}
