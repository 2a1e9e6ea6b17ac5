// Waits that cannot hang: every one has a limit, a signal, or both.
// Refuses to know what is waited for.
import { abortedError, type CallSite, WireError } from './wire-error.js';

export interface WaitLimits {
  /** Longest wait for a single message to move, milliseconds. No limit when absent. */
  readonly stallMs?: number | undefined;
  /** Ends the wait when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * `work`'s own outcome, or a WireError `stalled` after `stallMs` or `aborted` by the signal, whichever comes first.
 * `what` names what did not happen, such as 'no block arrived'.
 */
export function bounded<T>(work: PromiseLike<T>, site: CallSite, limits: WaitLimits, what: string): Promise<T> {
  const { signal, stallMs } = limits;
  return new Promise<T>((resolve, reject) => {
    const timer =
      stallMs === undefined
        ? undefined
        : setTimeout(() => {
            stop();
            reject(new WireError('stalled', site, `${what} for ${stallMs} ms`));
          }, stallMs);
    const onAbort = (): void => {
      stop();
      reject(abortedError(signal as AbortSignal, site));
    };
    const stop = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    if (signal?.aborted) return onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    work.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error: unknown) => {
        stop();
        reject(error);
      },
    );
  });
}
