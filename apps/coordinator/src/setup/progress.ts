// Says what set-up is doing: one line that is redrawn on a terminal, few plain lines elsewhere.
// Refuses to know what is being done.

/** Where set-up tells what it does. */
export interface Reporter {
  /** One sentence on a line of its own. */
  say(sentence: string): void;
  /** How far something is; `done` and `total` in bytes. Called as often as the caller likes. */
  progress(label: string, done: number, total: number): void;
  /** What `progress` told of is over. */
  finish(): void;
}

/** What `streamReporter` needs of a stream; `process.stderr` will do. */
export interface TextSink {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export const silentReporter: Reporter = { say: () => {}, progress: () => {}, finish: () => {} };

const redrawIntervalMs = 100;
const plainIntervalMs = 5000;

/** `12.3 MB`, in powers of ten as download pages have it. */
export function formatBytes(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Reports to a stream. `now` gives milliseconds. */
export function streamReporter(sink: TextSink, now: () => number = Date.now): Reporter {
  const terminal = sink.isTTY === true;
  let current: { label: string; startedAt: number; drawnAt: number; done: number; total: number } | undefined;

  const describe = (): string => {
    if (current === undefined) return '';
    const { label, done, total, startedAt } = current;
    const seconds = (now() - startedAt) / 1000;
    const rate = seconds > 0.5 ? `, ${formatBytes(done / seconds)}/s` : '';
    return `${label}: ${formatBytes(done)} of ${formatBytes(total)} (${Math.floor((100 * done) / Math.max(total, 1))} %${rate})`;
  };
  const draw = (): void => {
    const text = describe();
    sink.write(terminal ? `\r\x1b[K${text.slice(0, (sink.columns ?? 100) - 1)}` : `${text}\n`);
  };
  const close = (): void => {
    if (current === undefined) return;
    draw();
    if (terminal) sink.write('\n');
    current = undefined;
  };

  return {
    say(sentence) {
      close();
      sink.write(`${sentence}\n`);
    },
    progress(label, done, total) {
      const time = now();
      if (current?.label !== label) {
        close();
        current = { label, startedAt: time, drawnAt: time, done: 0, total };
        if (terminal) draw();
        else sink.write(`${label} (${formatBytes(total)})\n`);
      }
      current.done = Math.min(Math.max(done, current.done), total);
      current.total = total;
      if (time - current.drawnAt < (terminal ? redrawIntervalMs : plainIntervalMs)) return;
      current.drawnAt = time;
      draw();
    },
    finish: close,
  };
}
