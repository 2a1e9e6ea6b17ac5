// Why a task leaves the worker without a contribution, and how waiting code learns of it.
// Refuses to know who decides and who is told.

/** Reasons that the coordinator hears, the enum names of the wire in lower case. */
export type ReleaseReason = 'draining' | 'yielded' | 'failed' | 'no-parameters' | 'undelivered';

/** The task is given up from outside; the reason of an abort signal. Whoever has to know has been told. */
export class Withdrawn extends Error {
  override readonly name = 'Withdrawn';
  constructor() {
    super('The task is no longer wanted here.');
  }
}

/** The worker cannot do the task; the message says why, for people. */
export class TaskFailure extends Error {
  override readonly name = 'TaskFailure';
  constructor(
    readonly release: Extract<ReleaseReason, 'failed' | 'no-parameters' | 'undelivered'>,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Waits `ms` milliseconds; rejects with the signal's reason when it aborts first. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The outcome of `work`, unless the signal aborts first: then its reason. `work` itself goes on. */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.finally(() => signal.removeEventListener('abort', onAbort)).then(resolve, reject);
  });
}

/** True when `work` settled within `ms` milliseconds. */
export async function settlesWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  const settled = work.then(
    () => true,
    () => true,
  );
  const inTime = await Promise.race([settled, late]);
  clearTimeout(timer);
  return inTime;
}

/** What an unknown thrown thing says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
