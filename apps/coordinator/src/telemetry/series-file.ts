// The points of one series on disk: 16-byte records appended to a file, cut back only when steps are run again.
// Refuses to know what a series means, when to write, and how points are thinned for a reader.
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

/** One record: the value (float64), the step (uint32), and a check word over both, little-endian. */
const RECORD_BYTES = 16;
const RECORDS_PER_READ = 65_536;
/** Makes the check word of a zero-filled record wrong: a power cut may leave zeros where a file had grown. */
const CHECK_SEED = 0x9e3779b9;

/** Steps are stored as unsigned 32-bit integers. */
export const MAX_STEP = 0xffffffff;

/** A whole, readable prefix of points with rising steps; whatever follows it in the file is cut off on opening. */
export class SeriesFile {
  private constructor(
    readonly path: string,
    private records: number,
    private newestStep: number,
  ) {}

  /** Opens or creates the file; drops a torn or damaged tail. @throws the errors of node:fs. */
  static open(path: string): SeriesFile {
    const file = openSync(path, 'a+');
    try {
      let records = Math.floor(fstatSync(file).size / RECORD_BYTES);
      let newest = -1;
      const record = new RecordBuffer(1);
      while (records > 0) {
        record.fill(file, records - 1, 1);
        if (record.isWhole(0)) {
          newest = record.step(0);
          break;
        }
        records -= 1;
      }
      if (fstatSync(file).size !== records * RECORD_BYTES) {
        ftruncateSync(file, records * RECORD_BYTES);
      }
      return new SeriesFile(path, records, newest);
    } finally {
      closeSync(file);
    }
  }

  /** -1 when there are no points. */
  get lastStep(): number {
    return this.newestStep;
  }

  get length(): number {
    return this.records;
  }

  /**
   * Writes the points after the present ones; steps must rise and be above `lastStep`. After an error the file counts as
   * unchanged, and the next append overwrites what was written by halves.
   */
  append(steps: readonly number[], values: readonly number[]): void {
    if (steps.length === 0) {
      return;
    }
    const buffer = new RecordBuffer(steps.length);
    for (let at = 0; at < steps.length; at += 1) {
      buffer.set(at, steps[at]!, values[at]!);
    }
    const file = openSync(this.path, 'r+');
    try {
      let written = 0;
      while (written < buffer.bytes.length) {
        written += writeSync(
          file,
          buffer.bytes,
          written,
          buffer.bytes.length - written,
          this.records * RECORD_BYTES + written,
        );
      }
    } finally {
      closeSync(file);
    }
    this.records += steps.length;
    this.newestStep = steps[steps.length - 1]!;
  }

  /** Drops every point at or after `step`. */
  truncateFrom(step: number): void {
    if (this.newestStep < step) {
      return;
    }
    const file = openSync(this.path, 'r+');
    try {
      const record = new RecordBuffer(1);
      let low = 0;
      let high = this.records;
      while (low < high) {
        const middle = Math.floor((low + high) / 2);
        record.fill(file, middle, 1);
        if (record.step(0) < step) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      ftruncateSync(file, low * RECORD_BYTES);
      this.records = low;
      this.newestStep = -1;
      if (low > 0) {
        record.fill(file, low - 1, 1);
        this.newestStep = record.step(0);
      }
    } finally {
      closeSync(file);
    }
  }

  /** Calls `visit` with each point in order of steps; a record that went bad on the disk is passed over. */
  forEach(visit: (step: number, value: number) => void): void {
    if (this.records === 0) {
      return;
    }
    const buffer = new RecordBuffer(Math.min(this.records, RECORDS_PER_READ));
    const file = openSync(this.path, 'r');
    try {
      let before = -1;
      for (let first = 0; first < this.records; first += RECORDS_PER_READ) {
        const count = Math.min(RECORDS_PER_READ, this.records - first);
        buffer.fill(file, first, count);
        for (let at = 0; at < count; at += 1) {
          if (buffer.isWhole(at) && buffer.step(at) > before) {
            before = buffer.step(at);
            visit(before, buffer.value(at));
          }
        }
      }
    } finally {
      closeSync(file);
    }
  }
}

/** Views over the same bytes; typed arrays are little-endian on every machine that TensorFlow's packages are built for. */
class RecordBuffer {
  readonly bytes: Uint8Array;
  private readonly words: Uint32Array;
  private readonly doubles: Float64Array;

  constructor(records: number) {
    const memory = new ArrayBuffer(records * RECORD_BYTES);
    this.bytes = new Uint8Array(memory);
    this.words = new Uint32Array(memory);
    this.doubles = new Float64Array(memory);
  }

  /** Reads `count` records from record `first` on; what the file does not have reads as zeros, which are not whole. */
  fill(file: number, first: number, count: number): void {
    const wanted = count * RECORD_BYTES;
    let got = 0;
    while (got < wanted) {
      const read = readSync(file, this.bytes, got, wanted - got, first * RECORD_BYTES + got);
      if (read === 0) {
        this.bytes.fill(0, got, wanted);
        return;
      }
      got += read;
    }
  }

  set(at: number, step: number, value: number): void {
    this.doubles[2 * at] = value;
    this.words[4 * at + 2] = step;
    this.words[4 * at + 3] = this.check(at);
  }

  step(at: number): number {
    return this.words[4 * at + 2]!;
  }

  value(at: number): number {
    return this.doubles[2 * at]!;
  }

  isWhole(at: number): boolean {
    return this.check(at) === this.words[4 * at + 3];
  }

  private check(at: number): number {
    const mixed = this.words[4 * at]! ^ Math.imul(this.words[4 * at + 1]!, 3) ^ Math.imul(this.words[4 * at + 2]!, 5);
    return (mixed ^ CHECK_SEED) >>> 0;
  }
}
