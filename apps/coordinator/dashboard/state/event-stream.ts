// Keeps one stream of server-sent events open: reconnects with back-off, resumes after the last event, notices silence.
// Refuses to know what the events mean and how the connection is authorised.
import { SseParser, type ServerSentEvent } from './sse-parser.js';

export type StreamStatus =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'disconnected'; readonly retryInSeconds: number; readonly since: number };

export interface EventStreamOptions {
  /** Opens the stream. @throws whatever fetch throws, or an error for an answer that is not good. */
  readonly open: (headers: Record<string, string>, signal: AbortSignal) => Promise<Response>;
  readonly onEvent: (event: ServerSentEvent) => void;
  readonly onStatus: (status: StreamStatus) => void;
  /** Nothing at all (not even a comment) for so long means that the connection is dead. @default 45000 */
  readonly silenceMs?: number;
  /** First wait before reconnecting; doubles up to 16 times as much. @default 500 */
  readonly firstWaitMs?: number;
}

export class EventStream {
  private lastEventId = '';
  private failures = 0;
  private since = 0;
  private wake: (() => void) | undefined;

  constructor(private readonly options: EventStreamOptions) {}

  /** Runs until `signal` aborts; connection errors only show in the status. */
  async run(signal: AbortSignal): Promise<void> {
    this.options.onStatus({ kind: 'connecting' });
    while (!signal.aborted) {
      try {
        await this.readOnce(signal);
      } catch (error) {
        // Whatever ended the connection (refused, cut, silent, answered with an error), the answer to it is another attempt.
        console.debug('The event stream ended:', error);
      }
      if (!signal.aborted) {
        await this.waitBeforeRetry(signal);
      }
    }
  }

  /** Ends a wait between attempts at once. */
  retryNow(): void {
    this.failures = Math.min(this.failures, 1);
    this.wake?.();
  }

  private async readOnce(signal: AbortSignal): Promise<void> {
    const silence = new AbortController();
    const silenceMs = this.options.silenceMs ?? 45_000;
    let timer = setTimeout(() => silence.abort(), silenceMs);
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (this.lastEventId !== '') {
      headers['Last-Event-ID'] = this.lastEventId;
    }
    try {
      const response = await this.options.open(headers, AbortSignal.any([signal, silence.signal]));
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      if (reader === undefined) {
        return;
      }
      const parser = new SseParser(this.lastEventId);
      this.options.onStatus({ kind: 'live' });
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), silenceMs);
        for (const event of parser.push(piece.value)) {
          this.failures = 0;
          this.lastEventId = event.lastEventId;
          this.options.onEvent(event);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private async waitBeforeRetry(signal: AbortSignal): Promise<void> {
    if (this.failures === 0) {
      this.since = Date.now();
    }
    const base = (this.options.firstWaitMs ?? 500) * 2 ** Math.min(4, this.failures);
    this.failures += 1;
    // Spread out, so that many open pages do not come back to a restarted coordinator in the same instant.
    const waitMs = base * (0.75 + Math.random() / 2);
    this.options.onStatus({ kind: 'disconnected', retryInSeconds: waitMs / 1000, since: this.since });
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      signal.addEventListener('abort', done, { once: true });
      this.wake = done;
    });
  }
}
