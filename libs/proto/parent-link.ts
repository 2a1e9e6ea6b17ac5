// What a process that `lockstep` started shares with it: the IPC channel whose end means that the parent is gone.
// Refuses to know what either process does. Without a channel (a container, a shell) every call does nothing.

/** Told to the parent: `drained` means that this process ends on purpose and is not to be started again. */
export type ParentNotice = 'ready' | 'drained';

export interface ParentLink {
  /** Whether a parent that supervises this process is there. */
  readonly supervised: boolean;
  /** Never blocks and never throws. */
  tell(notice: ParentNotice): void;
}

/**
 * Call it first thing in `main`, before anything that may take long. With a parent: this process is killed at once when the
 * parent ends, however it ends, and Ctrl-C, which a terminal sends to the whole process group, is left to the parent: it
 * stops its children in order, by SIGTERM. Killed rather than stopped, because nobody is left to wait for a grace period
 * and everything here survives a kill anyway.
 */
export function linkToParent(): ParentLink {
  if (process.send === undefined || !process.connected) {
    return { supervised: false, tell: () => {} };
  }
  process.on('SIGINT', () => {});
  // A closed terminal: like Ctrl-C, the parent's business.
  process.on('SIGHUP', () => {});
  process.on('disconnect', () => {
    // process.exit would wait for threads that are inside TensorFlow for seconds.
    process.kill(process.pid, 'SIGKILL');
  });
  process.channel?.unref();
  return {
    supervised: true,
    tell: (notice) => {
      // A parent that is just dying takes nothing any more, and 'disconnect' follows.
      process.send?.({ notice }, () => {});
    },
  };
}
