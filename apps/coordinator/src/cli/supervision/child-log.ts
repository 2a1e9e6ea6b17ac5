// A child's output: kept in a file of bounded size, searched for lines that a person must see.
// Refuses to know the child and where those lines are shown.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface ChildLogOptions {
  /** The file moves to `….1` when it would grow beyond this. @default 16 MB */
  readonly maxBytes?: number;
  /** Every line, as it comes; for `--verbose`. */
  onLine?(line: string): void;
  /** A message that the child logged as an error. */
  onError?(message: string): void;
  /** The file cannot be written, told once; the child's output is dropped from then on. */
  onUnwritable?(error: Error): void;
}

const LONGEST_LINE = 64 * 1024;
/** pino's number for `error`; `fatal` is above it. */
const ERROR_LEVEL = 50;

export class ChildLog {
  /** What the child last said on stderr or logged as an error: its own explanation when it dies. */
  lastError: string | undefined;
  private descriptor: number | undefined;
  private bytes = 0;
  private readonly rest = { stdout: '', stderr: '' };

  /** The file of an earlier run moves to `….1`. */
  constructor(
    readonly file: string,
    private readonly options: ChildLogOptions = {},
  ) {
    this.attempt(() => {
      mkdirSync(dirname(file), { recursive: true });
      this.open();
      if (this.bytes > 0) {
        this.rotate();
      }
    });
  }

  /** Text of one of the child's streams, cut anywhere. */
  take(stream: 'stdout' | 'stderr', text: string): void {
    this.write(text);
    const lines = (this.rest[stream] + text).split('\n');
    this.rest[stream] = (lines.pop() ?? '').slice(-LONGEST_LINE);
    for (const line of lines) {
      this.takeLine(stream, line);
    }
  }

  /** The child has ended: what it left without a line's end is a line too. */
  flush(): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      if (this.rest[stream] !== '') {
        this.takeLine(stream, this.rest[stream]);
        this.rest[stream] = '';
      }
    }
  }

  close(): void {
    this.flush();
    if (this.descriptor !== undefined) {
      closeSync(this.descriptor);
      this.descriptor = undefined;
    }
  }

  private takeLine(stream: 'stdout' | 'stderr', line: string): void {
    const text = line.trimEnd();
    if (text === '') {
      return;
    }
    this.options.onLine?.(text);
    const entry = logEntry(text);
    if (entry !== undefined && entry.level >= ERROR_LEVEL) {
      this.lastError = entry.message;
      this.options.onError?.(entry.message);
    } else if (entry === undefined && stream === 'stderr' && !/^\s+at /.test(text)) {
      this.lastError = text;
    }
  }

  private write(text: string): void {
    this.attempt(() => {
      if (this.descriptor === undefined) {
        return;
      }
      const size = Buffer.byteLength(text);
      if (this.bytes > 0 && this.bytes + size > (this.options.maxBytes ?? 16_000_000)) {
        this.rotate();
      }
      this.bytes += writeSync(this.descriptor, text);
    });
  }

  private open(): void {
    this.descriptor = openSync(this.file, 'a');
    this.bytes = fstatSync(this.descriptor).size;
  }

  private rotate(): void {
    if (this.descriptor !== undefined) {
      closeSync(this.descriptor);
      this.descriptor = undefined;
    }
    renameSync(this.file, `${this.file}.1`);
    this.open();
  }

  /** A full disk must not stop the training that it has nothing to do with. */
  private attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (this.descriptor !== undefined) {
        closeSync(this.descriptor);
        this.descriptor = undefined;
      }
      this.options.onUnwritable?.(error as Error);
    }
  }
}

/** A line of pino's JSON, as far as it matters here. */
function logEntry(line: string): { level: number; message: string } | undefined {
  if (!line.startsWith('{')) {
    return undefined;
  }
  try {
    const entry = JSON.parse(line) as { level?: unknown; msg?: string; err?: { message?: string } };
    if (typeof entry.level !== 'number') {
      return undefined;
    }
    return { level: entry.level, message: entry.msg ?? entry.err?.message ?? line };
  } catch {
    // Not a log entry: just a line that starts with a brace.
    return undefined;
  }
}
