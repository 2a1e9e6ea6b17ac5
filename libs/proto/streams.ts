// Reading and writing grpc-js streams with back-pressure and bounds, on either side.
// Refuses to know what the messages mean and how a call is opened or answered.
import type { Readable } from 'node:stream';
import { bounded, type WaitLimits } from './bounded.js';
import { type CallSite, type WireError, wireErrorOf } from './wire-error.js';

/** The part of grpc-js's writable streams that is needed here; clients' and servers' both fit. */
export interface MessageSink<Message> {
  write(message: Message, done: (error?: Error | null) => void): boolean;
  on(event: 'close' | 'cancelled' | 'error', listener: (error?: Error) => void): unknown;
  off(event: 'close' | 'cancelled' | 'error', listener: (error?: Error) => void): unknown;
}

/**
 * Writes all messages, asking for the next one when the one before has left (HTTP/2's flow control let it go; letting
 * several wait was measured to be slower, as their bytes fall out of the processor's cache), and resolves when the last
 * has left. Does not end the stream. Throws WireError `stalled`, `aborted`,
 * `closed`, …; an error of `messages` itself is thrown as it is.
 */
export async function writeAll<Message>(
  stream: MessageSink<Message>,
  messages: Iterable<Message> | AsyncIterable<Message>,
  site: CallSite,
  limits: WaitLimits = {},
): Promise<void> {
  const writer = new BoundedWriter(stream, site, limits);
  const source = iteratorOf(messages);
  let exhausted = false;
  try {
    for (;;) {
      const next = await writer.unlessBroken(source.next());
      if (next.done === true) break;
      await writer.write(next.value);
    }
    exhausted = true;
  } finally {
    writer.release();
    // Not awaited: a generator that still waits for its own next message could not end before that comes.
    if (!exhausted) void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

/**
 * Counts what is on its way and notices a stream that broke, even between two writes. For long-lived streams that
 * several parts of a program write to, such as a session.
 */
export class BoundedWriter<Message> {
  readonly #stream: MessageSink<Message>;
  readonly #site: CallSite;
  readonly #limits: WaitLimits;
  readonly #waiting = new Set<(failure?: WireError) => void>();
  #failure: WireError | undefined;
  #inFlight = 0;

  constructor(stream: MessageSink<Message>, site: CallSite, limits: WaitLimits = {}) {
    this.#stream = stream;
    this.#site = site;
    this.#limits = limits;
    stream.on('close', this.#onEnd);
    stream.on('cancelled', this.#onEnd);
    stream.on('error', this.#onEnd);
  }

  /** Hands one message over; resolves when it and all before it have left. */
  async write(message: Message): Promise<void> {
    this.#inFlight += 1;
    this.#stream.write(message, (error) => {
      this.#inFlight -= 1;
      this.#changed(error);
    });
    if (this.#failure !== undefined) throw this.#failure;
    while (this.#inFlight > 0) {
      await bounded(this.#change(), this.#site, this.#limits, 'no message could be sent');
    }
  }

  /** `work`'s outcome, unless the stream breaks or the signal is aborted before. */
  unlessBroken<T>(work: PromiseLike<T> | T): Promise<T> {
    const guarded = new Promise<T>((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      const listener = (failure?: WireError): void => {
        if (failure !== undefined) reject(failure);
      };
      this.#waiting.add(listener);
      const forget = (): boolean => this.#waiting.delete(listener);
      Promise.resolve(work).finally(forget).then(resolve, reject);
    });
    return bounded(guarded, this.#site, { signal: this.#limits.signal }, '');
  }

  /** Stops listening to the stream; needed, as streams may outlive their writers. */
  release(): void {
    this.#stream.off('close', this.#onEnd);
    this.#stream.off('cancelled', this.#onEnd);
    this.#stream.off('error', this.#onEnd);
    this.#waiting.clear();
  }

  readonly #onEnd = (error?: unknown): void => {
    this.#changed(error instanceof Error ? error : prematureClose());
  };

  #changed(error?: Error | null): void {
    if (error) this.#failure ??= wireErrorOf(error, this.#site);
    for (const listener of this.#waiting) listener(this.#failure);
  }

  /** The next time that a message has left; rejects when the stream breaks. */
  #change(): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const listener = (failure?: WireError): void => {
        this.#waiting.delete(listener);
        if (failure === undefined) resolve();
        else reject(failure);
      };
      this.#waiting.add(listener);
    });
  }
}

/**
 * The messages of a stream, one at a time; the peer is held back while the consumer is busy. `stallMs` bounds each wait
 * for a message, not the consumer. Throws WireError. On a server the end of the
 * messages proves nothing, since grpc-js reports it before it notices that the call was cancelled or cut: the last message
 * must say that it is the last. Leaving the loop early leaves the stream open: cancel or answer it.
 */
export async function* messagesOf<Message>(
  stream: Readable,
  site: CallSite,
  limits: WaitLimits = {},
): AsyncGenerator<Message, void, undefined> {
  const source = stream.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Message>;
  try {
    for (;;) {
      const next = await failuresNamed(bounded(source.next(), site, limits, 'no message arrived'), site);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

function prematureClose(): Error {
  return Object.assign(new Error('The stream was closed before its end.'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}

async function failuresNamed<T>(work: Promise<T>, site: CallSite): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw wireErrorOf(error, site);
  }
}

function iteratorOf<T>(messages: Iterable<T> | AsyncIterable<T>): Iterator<T> | AsyncIterator<T> {
  return Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
}
