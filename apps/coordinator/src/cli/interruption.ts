// Ctrl-C and its relatives as something to wait for.
// Refuses to know what is to be stopped.

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interruption {
  /** Aborts at the first signal, or when a parent that holds our IPC channel is gone. */
  readonly signal: AbortSignal;
  /** Gives the signals back to Node. */
  release(): void;
}

/**
 * One Ctrl-C can come as two signals: from the terminal to the whole process group, and once more from a script that started
 * us and passes it on. A second one counts only after this time.
 */
const SAME_SIGNAL_MS = 1_000;

/** `onAgain` is called for each further Ctrl-C: the user does not want to wait. */
export function interruption(onAgain?: () => void): Interruption {
  const controller = new AbortController();
  let first = 0;
  const stop = (): void => {
    if (!controller.signal.aborted) {
      first = performance.now();
      controller.abort();
    } else if (performance.now() - first > SAME_SIGNAL_MS) {
      onAgain?.();
    }
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
