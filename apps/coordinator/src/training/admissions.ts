// Which workers may contribute to a job. A numerics class is a promise, so it is checked: each worker computes the probe
// (task 0 of step 0 with the initial parameters), and its checksum must be that of the first one. Pure.

/** The checksum that counts, kept with the job over restarts. */
export interface ProbeRecord {
  readonly checksum: number | null;
  /** Keeps the first worker's. */
  keep(checksum: number): void;
}

export class Admissions {
  readonly #strict: boolean;
  readonly #record: ProbeRecord;
  readonly #admitted = new Set<string>();
  /** Names by id. */
  readonly #refused = new Map<string, string>();
  #checksum: number | null;

  /** @param strict false: everybody may contribute, unchecked */
  constructor(strict: boolean, record: ProbeRecord) {
    this.#strict = strict;
    this.#record = record;
    this.#checksum = record.checksum;
  }

  /** Whether workers have to compute the probe first. */
  get wanted(): boolean {
    return this.#strict;
  }

  admits(worker: string): boolean {
    return !this.#strict || this.#admitted.has(worker);
  }

  /** Workers of this run that came to the checksum that counts. */
  get agreeing(): number {
    return this.#admitted.size;
  }

  /** Names of connected workers that came to another checksum. */
  get refusedNames(): string[] {
    return [...this.#refused.values()];
  }

  refuses(worker: string): boolean {
    return this.#refused.has(worker);
  }

  /** True when a worker with this checksum may contribute from now on. */
  judge(worker: string, name: string, checksum: number): boolean {
    if (this.#checksum === null) {
      this.#checksum = checksum;
      this.#record.keep(checksum);
    }
    if (checksum !== this.#checksum) {
      this.#refused.set(worker, name);
      return false;
    }
    this.#admitted.add(worker);
    return true;
  }

  forget(worker: string): void {
    this.#admitted.delete(worker);
    this.#refused.delete(worker);
  }
}
