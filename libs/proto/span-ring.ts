// What a process did when: spans of its newest work, in bounded memory, so that the timeline of a past step can be had.
// Refuses to know who asks and how spans are drawn.

/** One piece of work on one step of one job; times by `hostClockMs`. */
export interface Span {
  readonly jobId: string;
  /** Step that it was done for; for an evaluation and its parameters, the version that is evaluated. */
  readonly step: number;
  /** Index of the task within the step; undefined where the work is the whole step's. */
  readonly task?: number | undefined;
  /** What does the work, such as `compute` or `send`; spans of a row lie beside or within each other. */
  readonly row: string;
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
}

export interface StepSpans {
  readonly spans: readonly Span[];
  /** What was done for steps before this one is not kept, or not all of it. */
  readonly firstWholeStep: number;
}

/** Some 30 spans per task of ResNet-20, 120 of ResNet-152: hundreds of tasks, in 2 MB. */
const defaultCapacity = 16_384;

/** The newest spans of a process, over all jobs. */
export class SpanRing {
  readonly #capacity: number;
  readonly #spans: Span[] = [];
  #next = 0;

  constructor(capacity = defaultCapacity) {
    this.#capacity = capacity;
  }

  record(span: Span): void {
    this.#spans[this.#next] = span;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  /** What is kept of the steps [from, to] of a job, in the order in which it was recorded. */
  of(jobId: string, from: number, to: number): StepSpans {
    const full = this.#spans.length === this.#capacity;
    const ordered = full ? [...this.#spans.slice(this.#next), ...this.#spans.slice(0, this.#next)] : this.#spans;
    const job = ordered.filter((span) => span.jobId === jobId);
    // Of the oldest step that is left some spans may be gone.
    const oldest = job.reduce((least, { step }) => Math.min(least, step), Infinity);
    return {
      spans: job.filter(({ step }) => step >= from && step <= to),
      firstWholeStep: full && oldest < Infinity ? oldest + 1 : 0,
    };
  }
}
