// How many contributions the slices hold at once, and which come next: lower tasks first, and the lowest one that is not yet
// accepted always, so that nothing waits for what cannot come in. Pure; refuses to know what becomes of those inside.
import { TreeAccumulator } from '#model/reduction.js';

/** What the room needs to know of a contribution. */
export interface Occupant {
  readonly key: { readonly task: number };
}

export interface RoomOptions<Contribution> {
  /** Tasks of the step. */
  readonly tasks: number;
  /** Contributions for which there is room; the lowest task's is always let in. */
  readonly stagedAtOnce: number;
  /** How many of them a partial sum takes up, which is float32 whatever the wire. */
  readonly contributionsPerSum: number;
  /** The lowest task that is not accepted yet. */
  readonly lowest: () => number | undefined;
  /** A contribution that waited is let in. */
  readonly onAdmitted: (contribution: Contribution) => void;
}

export class StagingRoom<Contribution extends Occupant> {
  readonly #options: RoomOptions<Contribution>;
  /** Let in, and not decided yet. */
  readonly #inside = new Set<Contribution>();
  /** Begun, and not let in yet: their streams are held back. */
  readonly #waiting = new Set<Contribution>();
  /** The same shape as the slices' sums: how many partial sums they hold. */
  readonly #sums: TreeAccumulator<null>;

  constructor(options: RoomOptions<Contribution>) {
    this.#options = options;
    this.#sums = new TreeAccumulator<null>(Math.max(1, options.tasks), () => null);
  }

  has(contribution: Contribution): boolean {
    return this.#inside.has(contribution);
  }

  get waiting(): readonly Contribution[] {
    return [...this.#waiting];
  }

  /** Lets it in now, or when there is room. */
  enter(contribution: Contribution): void {
    this.#waiting.add(contribution);
    this.admit();
  }

  /** It was decided against, wherever it stood. */
  leave(contribution: Contribution): void {
    this.#waiting.delete(contribution);
    if (this.#inside.delete(contribution)) this.admit();
  }

  /** It joined the sum. Whoever says so admits others when all that follows from it is settled. */
  sum(contribution: Contribution): void {
    this.#sums.add(contribution.key.task, null);
    this.#inside.delete(contribution);
  }

  /** Lets waiting contributions in, lower tasks first, as far as there is room. */
  admit(): void {
    const { stagedAtOnce, contributionsPerSum, lowest, onAdmitted } = this.#options;
    for (const contribution of this.waiting.toSorted((a, b) => a.key.task - b.key.task)) {
      const used = this.#inside.size + this.#sums.held * contributionsPerSum;
      if (used >= stagedAtOnce && contribution.key.task !== lowest()) return;
      this.#waiting.delete(contribution);
      this.#inside.add(contribution);
      onAdmitted(contribution);
    }
  }
}
