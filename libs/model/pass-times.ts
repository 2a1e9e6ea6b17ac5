// Owns: telling an observer when the parts of a pass through a net began and ended: loading, forward, backward, blocks.
// Refuses to know: what becomes of the times. On a GPU they are those of queueing kernels, not of running them.

/** Called as each part ends, inner ones first; times by this thread's `performance.now()`, milliseconds. */
export type PassObserver = (part: string, startMs: number, endMs: number) => void;

let observer: PassObserver | undefined;

/** Runs `work`, telling `next` of every timed part inside it, in this thread. */
export function observingPasses<Result>(next: PassObserver, work: () => Result): Result {
  const outer = observer;
  observer = next;
  try {
    return work();
  } finally {
    observer = outer;
  }
}

/** Runs `work` as a part of a pass; without an observer that is all it does. What throws has not been done: it is not told. */
export function timed<Result>(part: string, work: () => Result): Result {
  if (observer === undefined) return work();
  const start = performance.now();
  const result = work();
  observer(part, start, performance.now());
  return result;
}
