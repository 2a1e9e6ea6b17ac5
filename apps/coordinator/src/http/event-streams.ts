// Server-sent events on the wire: framing, heartbeats, back-pressure, an end to each stream.
// Refuses to know what the events say.
import { once } from 'node:events';
import { Inject, Injectable } from '@nestjs/common';
import type { OnModuleDestroy } from '@nestjs/common';
import type { Request, Response } from 'express';
import type { Logger } from '../log.js';
import { HttpProblem } from './problems.js';
import { LOGGER } from './tokens.js';

export interface ServerSentEvent {
  readonly event: string;
  readonly id: number;
  /** Sent as JSON. */
  readonly data: unknown;
}

export interface EventStreamOptions {
  /** A comment goes out this often, so that proxies and clients know that the line is alive. */
  readonly heartbeatMs: number;
  /** A client that reads nothing for this long is cut off. */
  readonly stallMs: number;
  readonly maxStreams: number;
}

export const eventStreamDefaults: EventStreamOptions = { heartbeatMs: 10_000, stallMs: 60_000, maxStreams: 256 };
export const EVENT_STREAM_OPTIONS = Symbol('EventStreamOptions');

/** What a client waits before it connects again, milliseconds. */
const RETRY_MS = 1_000;

@Injectable()
export class EventStreams implements OnModuleDestroy {
  private readonly open = new Set<AbortController>();
  private stopping = false;

  constructor(
    @Inject(EVENT_STREAM_OPTIONS) private readonly options: EventStreamOptions,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  get count(): number {
    return this.open.size;
  }

  onModuleDestroy(): void {
    this.stopping = true;
    for (const stream of this.open) stream.abort();
  }

  /**
   * Sends what `events` yields until it ends, the client goes or the application stops; `signal` aborts with any of these.
   * Nothing is asked of `events` while the client has not taken what was sent, so a slow client costs one socket buffer.
   * @throws HttpProblem 503 while stopping or when too many streams are open
   */
  async serve(
    request: Request,
    response: Response,
    events: (signal: AbortSignal) => AsyncIterable<ServerSentEvent>,
  ): Promise<void> {
    if (this.stopping) throw new HttpProblem('unavailable', 'The coordinator is stopping.');
    if (this.open.size >= this.options.maxStreams) {
      throw new HttpProblem('unavailable', `There are ${this.open.size} event streams already; close some.`);
    }
    const stop = new AbortController();
    response.once('close', () => stop.abort());
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store, no-transform',
      'X-Accel-Buffering': 'no',
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    this.open.add(stop);
    response.write(`retry: ${RETRY_MS}\n\n`);
    const heartbeat = setInterval(() => {
      if (!response.writableNeedDrain) response.write(': alive\n\n');
    }, this.options.heartbeatMs);
    try {
      for await (const event of events(stop.signal)) {
        if (!response.write(frame(event))) await this.drained(response, stop.signal);
        if (stop.signal.aborted) break;
      }
    } catch (error) {
      if (!stop.signal.aborted) this.logger.warn({ err: error, path: request.path }, 'an event stream broke off');
    } finally {
      clearInterval(heartbeat);
      this.open.delete(stop);
      response.end();
    }
  }

  private async drained(response: Response, stop: AbortSignal): Promise<void> {
    const stalled = setTimeout(() => response.destroy(), this.options.stallMs);
    try {
      await once(response, 'drain', { signal: stop });
    } catch (error) {
      if (!stop.aborted) throw error;
      // Stopped while waiting: the loop sees it next.
    } finally {
      clearTimeout(stalled);
    }
  }
}

function frame({ id, event, data }: ServerSentEvent): string {
  return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
