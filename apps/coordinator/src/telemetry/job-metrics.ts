// A running job's metrics on their way: into the store at once, to those who watch a few times a second.
// Refuses to know what the series mean.
import type { EventHub } from './event-hub.js';
import type { MetricsStore } from './metrics-store.js';

const publishEveryMs = 250;

/** What a trainer needs of metrics. */
export interface MetricsSink {
  append(step: number, values: Readonly<Record<string, number>>): void;
  /** Drops the points at or after `step`: it is run again. */
  truncateFrom(step: number): void;
  flush(): void;
}

export class JobMetrics implements MetricsSink {
  readonly #jobId: string;
  readonly #store: MetricsStore;
  readonly #hub: EventHub;
  readonly #onProblem: (error: Error) => void;
  #waiting: Record<string, [number, number][]> = {};
  #timer: NodeJS.Timeout | undefined;

  /** @param onProblem told when points cannot be kept: that stops no training */
  constructor(jobId: string, store: MetricsStore, hub: EventHub, onProblem: (error: Error) => void) {
    this.#onProblem = onProblem;
    this.#jobId = jobId;
    this.#store = store;
    this.#hub = hub;
  }

  append(step: number, values: Readonly<Record<string, number>>): void {
    try {
      this.#store.append(step, values);
    } catch (error) {
      this.#onProblem(error as Error);
    }
    for (const [name, value] of Object.entries(values)) {
      if (Number.isFinite(value)) (this.#waiting[name] ??= []).push([step, value]);
    }
    this.#timer ??= setTimeout(() => this.#publish(), publishEveryMs).unref();
  }

  truncateFrom(step: number): void {
    this.#store.truncateFrom(step);
  }

  flush(): void {
    this.#publish();
    try {
      this.#store.flush();
    } catch (error) {
      this.#onProblem(error as Error);
    }
  }

  #publish(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const series = this.#waiting;
    if (Object.keys(series).length === 0) return;
    this.#waiting = {};
    this.#hub.publish('points', this.#jobId, { jobId: this.#jobId, series });
  }
}
