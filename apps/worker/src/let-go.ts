// Notices that the compute thread does not let go of a task that nobody wants, which only the end of the process mends.
// Refuses to end it: whoever asks for `hung` does (main.ts).
import { type TaskEntry, taskName } from '#proto/task-entry.js';

/** The compute thread lets go of a task between two gradients; this long without means that it hangs. */
const longestLetGoMs = 30_000;

/** The compute thread hangs; the message is for people. */
export class ComputeHangs extends Error {
  override readonly name = 'ComputeHangs';
}

export class LetGoWatch {
  /** Rejects with `ComputeHangs`; never resolves. */
  readonly hung: Promise<never>;
  readonly #limitMs: number;
  #hang!: (error: ComputeHangs) => void;
  #timer: NodeJS.Timeout | undefined;

  /** `limitMs`: how long it may take. @default 30,000 ms */
  constructor(limitMs = longestLetGoMs) {
    this.#limitMs = limitMs;
    this.hung = new Promise((_, reject) => (this.#hang = reject));
    // Who looks for it looks later.
    this.hung.catch(() => undefined);
  }

  /** The task that computes is no longer wanted. */
  begin(task: TaskEntry): void {
    this.#timer ??= setTimeout(() => {
      const held = `has not let go of ${taskName(task.key)} for ${this.#limitMs / 1000} s`;
      this.#hang(new ComputeHangs(`The compute thread hangs: it ${held} since nobody wants it; this worker ends.`));
    }, this.#limitMs);
  }

  /** The compute thread is free. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
