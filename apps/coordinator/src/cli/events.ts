// Server-sent events read from the coordinator: parsing, and connecting again from where the stream broke.
// Refuses to know what events mean.
import { ApiError } from './api.js';

export interface ServerEvent {
  readonly type: string;
  readonly data: string;
}

export interface EventSource {
  /** Opens the stream after `lastEventId`; throws when it cannot. */
  open(lastEventId: string | undefined, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

export interface ReconnectOptions {
  readonly signal: AbortSignal;
  /** A stream without a byte for so long is taken for dead and opened again. @default 30,000 */
  readonly idleTimeoutMs?: number;
  /** No connection for so long in a row: the last error is thrown. @default 120,000 */
  readonly giveUpAfterMs?: number;
  /** @default 250, doubling up to 4,000 */
  readonly firstDelayMs?: number;
  /** Told once each time that the stream is lost, before it is opened again. */
  onLost?(error: unknown): void;
}

const LONGEST_DELAY_MS = 4_000;

/**
 * Events as they come, over as many connections as it takes, until `signal` aborts. Each connection starts with an event of
 * type `connected` (ours), whereupon the reader looks at the present state. Throws at once what the coordinator refuses (4xx) and
 * what keeps the first connection from being made.
 */
export async function* serverEvents(
  source: EventSource,
  options: ReconnectOptions,
): AsyncGenerator<ServerEvent, void, undefined> {
  const idleTimeoutMs = options.idleTimeoutMs ?? 30_000;
  const giveUpAfterMs = options.giveUpAfterMs ?? 120_000;
  const firstDelayMs = options.firstDelayMs ?? 250;
  const parser = new EventStreamParser();
  let failures = 0;
  let lastContact: number | undefined;
  let lost = false;
  while (!options.signal.aborted) {
    const idle = new AbortController();
    const idleTimer = setTimeout(() => idle.abort(), idleTimeoutMs);
    try {
      const chunks = await source.open(parser.lastEventId, AbortSignal.any([options.signal, idle.signal]));
      parser.restart();
      failures = 0;
      lost = false;
      lastContact = performance.now();
      yield { type: 'connected', data: '' };
      for await (const chunk of chunks) {
        idleTimer.refresh();
        lastContact = performance.now();
        yield* parser.push(chunk);
      }
    } catch (error) {
      if (options.signal.aborted) {
        return;
      }
      const refused = error instanceof ApiError && error.status < 500;
      if (refused || lastContact === undefined || performance.now() - lastContact > giveUpAfterMs) {
        throw error;
      }
      if (!idle.signal.aborted && !lost) {
        lost = true;
        options.onLost?.(error);
      }
    } finally {
      clearTimeout(idleTimer);
    }
    await pause(Math.min(LONGEST_DELAY_MS, firstDelayMs * 2 ** failures), options.signal);
    failures += 1;
  }
}

/** Resolves after `ms` or when `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** The `text/event-stream` format of the HTML standard (section 9.2.6). Bytes may be cut anywhere. */
export class EventStreamParser {
  /** The newest id seen, over all connections. */
  lastEventId: string | undefined;
  private decoder = new TextDecoder();
  private rest = '';
  private type = '';
  private data: string[] = [];

  /** A new connection: what the last one left unfinished is dropped. */
  restart(): void {
    this.decoder = new TextDecoder();
    this.rest = '';
    this.type = '';
    this.data = [];
  }

  push(chunk: Uint8Array): ServerEvent[] {
    this.rest += this.decoder.decode(chunk, { stream: true });
    const events: ServerEvent[] = [];
    // A carriage return at the very end may be half of a line's end: it waits for the next chunk.
    for (let match = LINE_END.exec(this.rest); match !== null; match = LINE_END.exec(this.rest)) {
      const line = this.rest.slice(0, match.index);
      this.rest = this.rest.slice(match.index + match[0].length);
      this.takeLine(line, events);
    }
    return events;
  }

  private takeLine(line: string, events: ServerEvent[]): void {
    if (line === '') {
      if (this.data.length > 0) {
        events.push({ type: this.type === '' ? 'message' : this.type, data: this.data.join('\n') });
      }
      this.type = '';
      this.data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') {
      this.data.push(value);
    } else if (field === 'event') {
      this.type = value;
    } else if (field === 'id' && !value.includes('\0')) {
      this.lastEventId = value;
    }
  }
}

const LINE_END = /\r\n|\n|\r(?!$)/;
