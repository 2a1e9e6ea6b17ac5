// One line at the bottom of the output that is redrawn on a terminal; elsewhere, plain lines every few seconds.
// Refuses to know what the line says.

/** What it needs of a stream; `process.stdout` will do. */
export interface LineSink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface StatusLineOptions {
  /** Shortest time between two redraws, milliseconds. @default 100 */
  readonly redrawMs?: number;
  /** Shortest time between two plain lines where there is no terminal, milliseconds. @default 5,000 */
  readonly plainMs?: number;
  /** Milliseconds. @default performance.now */
  readonly now?: () => number;
}

const DEFAULT_COLUMNS = 100;

/** Other lines go through `note`, so that they and the status line do not mix. */
export class StatusLine {
  readonly isTerminal: boolean;
  private readonly intervalMs: number;
  private readonly now: () => number;
  private shown = '';
  private pending: (() => string) | undefined;
  private drawnAt = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly sink: LineSink,
    options: StatusLineOptions = {},
  ) {
    this.isTerminal = sink.isTTY === true;
    this.intervalMs = this.isTerminal ? (options.redrawMs ?? 100) : (options.plainMs ?? 5_000);
    this.now = options.now ?? (() => performance.now());
  }

  /** Characters that a line may have; undefined where nobody's screen sets a limit. */
  get width(): number | undefined {
    return this.isTerminal ? (this.sink.columns ?? DEFAULT_COLUMNS) - 1 : undefined;
  }

  /** Shows what `render` gives, at once or when the interval since the last time is over; only the newest one is drawn. */
  update(render: () => string): void {
    this.pending = render;
    const wait = this.drawnAt + this.intervalMs - this.now();
    if (wait <= 0) {
      this.flush();
      return;
    }
    this.timer ??= setTimeout(() => this.flush(), wait).unref();
  }

  /** A line that stays. */
  note(line: string): void {
    if (!this.isTerminal) {
      this.sink.write(`${line}\n`);
      return;
    }
    this.sink.write(`${this.shown === '' ? '' : CLEAR_LINE}${line}\n${this.shown}`);
  }

  /** The last status stays on the screen, and the next one starts on a line of its own. */
  end(): void {
    this.flush();
    if (this.isTerminal && this.shown !== '') {
      this.sink.write('\n');
    }
    this.shown = '';
  }

  /** Takes the status off the screen. */
  clear(): void {
    this.cancelTimer();
    this.pending = undefined;
    if (this.isTerminal && this.shown !== '') {
      this.sink.write(CLEAR_LINE);
    }
    this.shown = '';
  }

  private flush(): void {
    this.cancelTimer();
    const text = this.pending?.();
    this.pending = undefined;
    if (text === undefined || text === this.shown) {
      return;
    }
    this.drawnAt = this.now();
    this.shown = text;
    this.sink.write(this.isTerminal ? `${CLEAR_LINE}${text}` : `${text}\n`);
  }

  private cancelTimer(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}

const CLEAR_LINE = '\r\u001b[K';
