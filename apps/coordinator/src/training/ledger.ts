// A job's ledger file: appended to, never rewritten. Owns the file handle and the chain of hashes; keeps where each
// step's record lies, not what it says. Refuses to know what a step is; the trainer says what to append, `audit.ts` what
// it proves.
import { closeSync, fsync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { encodeLedgerLine, type LedgerRecord, type StepRecord } from './ledger-format.js';
import { type LedgerEntry, LedgerReader, readEntry, streamLedger } from './ledger-reader.js';

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

/** Reads a whole ledger into memory, so a short one; a torn tail is not a problem. Long ones are for `LedgerReader`. */
export function readLedger(path: string): LedgerContents {
  const reader = new LedgerReader(path, 'fields');
  const records = [...reader.records()];
  const { problems, goodBytes, hash } = reader;
  return { records, problems, goodBytes, hash };
}

export class Ledger {
  readonly #path: string;
  readonly #file: number;
  #hash: string;
  #bytes: number;
  /** Bytes [offset, end) of the newest record of each step, by step; what a re-run is compared with. */
  readonly #places = new Map<number, Pick<LedgerEntry, 'offset' | 'end'>>();
  #lastStep = -1;
  /** Steps before this one may have a record whose place was let go. */
  #forgottenBefore = 0;
  #syncTimer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(path: string) {
    this.#path = path;
    const reader = new LedgerReader(path, 'outline');
    for (const { record, offset, end } of reader.entries()) this.#note(record, offset, end);
    if (reader.problems.length > 0) {
      throw new LedgerDamagedError(
        `${path}: ${reader.problems.join(' ')} Restore the file from a copy, or start the job anew.`,
      );
    }
    this.#hash = reader.hash;
    this.#bytes = reader.goodBytes;
    this.#file = openSync(path, 'a+');
    ftruncateSync(this.#file, this.#bytes);
  }

  /**
   * Opens a ledger, dropping a torn tail.
   * @throws LedgerDamagedError where a complete line is damaged or out of the chain.
   */
  static open(path: string): Ledger {
    return new Ledger(path);
  }

  /**
   * The newest record of a step that counts, read back from the file.
   * @throws LedgerDamagedError where the file has changed under us
   */
  recordOf(step: number): StepRecord | undefined {
    const place = this.#places.get(step);
    if (place === undefined) return undefined;
    const record = readEntry(this.#file, place.offset, place.end);
    if (record?.kind === 'step' && record.step === step) return record;
    throw new LedgerDamagedError(
      `${this.#path}: The record of step ${step} has changed since it was read. Restore the file from a copy, or start the job anew.`,
    );
  }

  /** The newest step that has a record that counts; -1 without one. */
  lastStep(): number {
    return this.#lastStep;
  }

  /** Lets go of the records of earlier steps: no restart can re-run them any more. The file keeps them. */
  forgetBefore(step: number): void {
    for (const known of this.#places.keys()) if (known < step) this.#places.delete(known);
    this.#forgottenBefore = Math.max(this.#forgottenBefore, step);
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
    const offset = this.#bytes;
    this.#hash = hash;
    this.#bytes += line.length;
    this.#note(record, offset, this.#bytes);
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
  read(): AsyncGenerator<LedgerRecord, void> {
    return streamLedger(this.#path);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#syncTimer);
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  #note(record: LedgerRecord, offset: number, end: number): void {
    if (record.kind === 'step') {
      this.#places.set(record.step, { offset, end });
      this.#lastStep = Math.max(this.#lastStep, record.step);
    } else this.#takeBack(record.toVersion);
  }

  /** Steps from `toVersion` on have no record that counts any more. */
  #takeBack(toVersion: number): void {
    const counts = (step: number): boolean =>
      step < toVersion && (step < this.#forgottenBefore || this.#places.has(step));
    for (; this.#lastStep >= 0 && !counts(this.#lastStep); this.#lastStep -= 1) this.#places.delete(this.#lastStep);
    this.#forgottenBefore = Math.min(this.#forgottenBefore, toVersion);
  }
}
