// Ctrl-C and its relatives as something to wait for.
// Refuses to know what is to be stopped.

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interruption {
  /** Aborts at the first signal, or when a parent that holds our IPC channel is gone. */
  readonly signal: AbortSignal;
  /** Gives the signals back to Node. */
  release(): void;
}

/** `onAgain` is called for each further signal: the user does not want to wait. */
export function interruption(onAgain?: () => void): Interruption {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) {
      onAgain?.();
    }
    controller.abort();
  };
  // A set-up script that started us and died is no second Ctrl-C.
  const orphaned = (): void => controller.abort();
  for (const signal of signals) {
    process.on(signal, stop);
  }
  process.on('disconnect', orphaned);
  return {
    signal: controller.signal,
    release: () => {
      for (const signal of signals) {
        process.removeListener(signal, stop);
      }
      process.removeListener('disconnect', orphaned);
    },
  };
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
