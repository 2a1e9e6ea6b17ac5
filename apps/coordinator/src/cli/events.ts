// Server-sent events read from the coordinator, connecting again from where the stream broke.
// Refuses to know how they are cut out of the text (the dashboard's parser) and what they mean.
import { SseParser } from '../../dashboard/state/sse-parser.js';
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
  let lastEventId: string | undefined;
  let failures = 0;
  let lastContact: number | undefined;
  let lost = false;
  while (!options.signal.aborted) {
    const idle = new AbortController();
    const idleTimer = setTimeout(() => idle.abort(), idleTimeoutMs);
    try {
      const chunks = await source.open(lastEventId, AbortSignal.any([options.signal, idle.signal]));
      // What the connection before left unfinished is dropped.
      const parser = new SseParser(lastEventId);
      const decoder = new TextDecoder();
      failures = 0;
      lost = false;
      lastContact = performance.now();
      yield { type: 'connected', data: '' };
      for await (const chunk of chunks) {
        idleTimer.refresh();
        lastContact = performance.now();
        for (const event of parser.push(decoder.decode(chunk, { stream: true }))) {
          lastEventId = event.lastEventId === '' ? undefined : event.lastEventId;
          yield { type: event.type, data: event.data };
        }
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
