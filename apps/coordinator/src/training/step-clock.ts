// How long steps take, and the rate that people are shown. Refuses to know what a step does.

/** Least weight of the newest step in the running means. */
const smoothing = 0.05;
/** Steps before a time left is worth telling. */
const stepsToForetell = 5;

export interface StepTimes {
  readonly stepSeconds: number;
  /** Running mean; null while too few steps were seen to foretell anything by. */
  readonly secondsPerStep: number | null;
  /** Running mean. */
  readonly imagesPerSecond: number;
}

export class StepClock {
  readonly #now: () => number;
  #last: number;
  #steps = 0;
  #secondsPerStep = 0;
  #secondsPerImage = 0;

  /** @param now milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#last = now();
  }

  /** What happened since the last commit was not a step (an evaluation, say) and does not count. */
  paused(): void {
    this.#last = this.#now();
  }

  committed(samples: number): StepTimes {
    const now = this.#now();
    const stepSeconds = Math.max(1e-6, (now - this.#last) / 1000);
    this.#last = now;
    this.#steps += 1;
    // In a run's first step, buffers are made and code is compiled: the second one takes its place.
    const counted = Math.max(1, this.#steps - 1);
    const weight = Math.max(smoothing, 1 / counted);
    this.#secondsPerStep += weight * (stepSeconds - this.#secondsPerStep);
    this.#secondsPerImage += weight * (stepSeconds / samples - this.#secondsPerImage);
    return {
      stepSeconds,
      secondsPerStep: this.#steps < stepsToForetell ? null : this.#secondsPerStep,
      imagesPerSecond: 1 / this.#secondsPerImage,
    };
  }
}
