// How long steps take, and the rate that people are shown. Refuses to know what a step does.

/** Weight of the newest step in the running mean. */
const smoothing = 0.05;

export interface StepTimes {
  readonly stepSeconds: number;
  /** Running means. */
  readonly secondsPerStep: number;
  readonly imagesPerSecond: number;
}

export class StepClock {
  readonly #now: () => number;
  #last: number;
  #secondsPerStep: number | undefined;
  #secondsPerImage: number | undefined;

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
    this.#secondsPerStep = blend(this.#secondsPerStep, stepSeconds);
    this.#secondsPerImage = blend(this.#secondsPerImage, stepSeconds / samples);
    return { stepSeconds, secondsPerStep: this.#secondsPerStep, imagesPerSecond: 1 / this.#secondsPerImage };
  }
}

function blend(mean: number | undefined, value: number): number {
  return mean === undefined ? value : mean + smoothing * (value - mean);
}
