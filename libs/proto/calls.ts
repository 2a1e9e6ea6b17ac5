// One call from beginning to end, as a promise or an iterable, with a deadline and errors that name it.
// Refuses to know the services: callers start the call on a stub with the options given to them.
import type { CallOptions, ClientReadableStream, ClientUnaryCall, ClientWritableStream } from '@grpc/grpc-js';
import { bounded, type WaitLimits } from './bounded.js';
import { callOptions } from './channel.js';
import { messagesOf, writeAll } from './streams.js';
import { abortedError, type CallSite, WireError, wireErrorOf } from './wire-error.js';

export interface CallLimits extends WaitLimits {
  /** The whole call, milliseconds. Sent to the server too, which ends its side by itself. */
  readonly deadlineMs: number;
}

type Done<Response> = (error: Error | null, response?: Response) => void;

/** A unary call: `unaryCall(site, limits, (options, done) => client.register(request, metadata, options, done))`. */
export async function unaryCall<Response>(
  site: CallSite,
  limits: CallLimits,
  start: (options: CallOptions, done: Done<Response>) => ClientUnaryCall,
): Promise<Response> {
  if (limits.signal?.aborted) throw abortedError(limits.signal, site);
  let call: ClientUnaryCall | undefined;
  const answer = new Promise<Response>((resolve, reject) => {
    call = start(callOptions(limits.deadlineMs), (error, response) => {
      if (error) reject(wireErrorOf(error, site));
      else resolve(response as Response);
    });
  });
  return cancelledUnlessDone(bounded(answer, site, { signal: limits.signal }, ''), () => call?.cancel());
}

/**
 * A client stream: sends `messages` and gives the answer. The server may answer before it has seen all (a contribution
 * that is not wanted is refused by its header): then the rest is not sent and `messages` is told to return.
 */
export async function pushStream<Request, Response>(
  site: CallSite,
  limits: CallLimits,
  start: (options: CallOptions, done: Done<Response>) => ClientWritableStream<Request>,
  messages: Iterable<Request> | AsyncIterable<Request>,
): Promise<Response> {
  if (limits.signal?.aborted) throw abortedError(limits.signal, site);
  const answered = new AbortController();
  let call!: ClientWritableStream<Request>;
  const answer = new Promise<Response>((resolve, reject) => {
    call = start(callOptions(limits.deadlineMs), (error, response) => {
      if (error) reject(wireErrorOf(error, site));
      else resolve(response as Response);
      answered.abort();
    });
  });
  const forwardAbort = (): void => answered.abort(limits.signal?.reason);
  limits.signal?.addEventListener('abort', forwardAbort, { once: true });
  const written = writeAll(call, messages, site, {
    stallMs: limits.stallMs,
    signal: answered.signal,
  }).then(
    () => void call.end(),
    (error: unknown) => {
      // Of a stream that ended, the answer tells the cause; a failed write only that it did.
      if (!(error instanceof WireError) || error.fault === 'stalled') throw error;
    },
  );
  const outcome = Promise.all([answer, written]).then(([response]) => response);
  outcome.catch(() => undefined);
  try {
    return await cancelledUnlessDone(bounded(outcome, site, { signal: limits.signal }, ''), () => call.cancel());
  } finally {
    limits.signal?.removeEventListener('abort', forwardAbort);
  }
}

/** A server stream as an iterable of its messages; leaving the loop early cancels the call. */
export async function* pullStream<Response>(
  site: CallSite,
  limits: CallLimits,
  start: (options: CallOptions) => ClientReadableStream<Response>,
): AsyncGenerator<Response, void, undefined> {
  if (limits.signal?.aborted) throw abortedError(limits.signal, site);
  const call = start(callOptions(limits.deadlineMs));
  // Cancelling makes it emit an error that nobody waits for any more.
  call.on('error', () => undefined);
  let ended = false;
  try {
    yield* messagesOf<Response>(call, site, limits);
    ended = true;
  } finally {
    if (!ended) call.cancel();
  }
}

async function cancelledUnlessDone<T>(outcome: Promise<T>, cancel: () => void): Promise<T> {
  let done = false;
  try {
    const value = await outcome;
    done = true;
    return value;
  } finally {
    if (!done) cancel();
  }
}
