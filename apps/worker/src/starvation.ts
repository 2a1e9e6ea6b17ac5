// How long the compute thread had nothing to do because images were not ready, though everything else was.
// Refuses to know tasks; waiting for work, for a version or for another worker is not starvation.

export class StarvationClock {
  readonly #now: () => number;
  /** Undefined while something computes. */
  #idleSinceMs: number | undefined;
  #waitedMs = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#idleSinceMs = now();
  }

  /** Since the start. */
  get seconds(): number {
    return this.#waitedMs / 1000;
  }

  computing(): void {
    this.#idleSinceMs = undefined;
  }

  idle(): void {
    this.#idleSinceMs = this.#now();
  }

  /** Watches a task being prepared: to be told when each part is there, then that both are. */
  preparation(): { readonly images: () => void; readonly parameters: () => void; readonly done: () => void } {
    let [imagesMs, parametersMs] = [0, 0];
    return {
      images: () => (imagesMs = this.#now()),
      parameters: () => (parametersMs = this.#now()),
      done: () => {
        if (this.#idleSinceMs === undefined) return;
        this.#waitedMs += Math.max(0, imagesMs - Math.max(parametersMs, this.#idleSinceMs));
      },
    };
  }
}
