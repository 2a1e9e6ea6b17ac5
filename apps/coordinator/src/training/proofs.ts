// Tasks that are computed twice, by different workers, and compared bit by bit (faults.proofShare): which ones, and what
// the comparison says. Pure; refuses to know how tasks are handed out.
import { randomStream } from '#model/random.js';

/** What a comparison needs of a contribution. */
export interface Provable {
  readonly worker: string;
  readonly key: { readonly task: number };
  readonly checksum: number;
  readonly totals: { readonly lossSum: number };
}

/** Two agree: one of them counts, and whoever came to something else is not to be trusted. */
export interface Proof<Contribution> {
  readonly accepted: Contribution;
  readonly provedBy: string;
  readonly differing: readonly Contribution[];
}

export class Proofs<Contribution extends Provable> {
  readonly #share: number;
  readonly #seed: number;
  readonly #step: number;
  readonly #candidates = new Map<number, Contribution[]>();

  /** @param share of all tasks, 0 to 1; which ones is a function of seed and step */
  constructor(share: number, seed: number, step: number) {
    this.#share = share;
    this.#seed = seed;
    this.#step = step;
  }

  wants(task: number): boolean {
    return this.#share > 0 && randomStream(this.#seed, 'proof', this.#step, task).uniform() < this.#share;
  }

  /** Contributions to a task that wait for another that agrees. */
  waiting(task: number): readonly Contribution[] {
    return this.#candidates.get(task) ?? [];
  }

  /** Tasks with contributions that wait. */
  tasks(): number[] {
    return [...this.#candidates.keys()];
  }

  holds(contribution: Contribution): boolean {
    return this.waiting(contribution.key.task).includes(contribution);
  }

  /** Takes a whole, valid contribution. The proof, once two workers agree; undefined while more are needed. */
  offer(contribution: Contribution): Proof<Contribution> | undefined {
    const { task } = contribution.key;
    const others = this.waiting(task);
    if (others.some(({ worker }) => worker === contribution.worker))
      throw new RangeError('One worker proves nothing by itself.');
    const accepted = others.find((other) => agrees(other, contribution));
    if (accepted === undefined) {
      this.#candidates.set(task, [...others, contribution]);
      return undefined;
    }
    this.#candidates.delete(task);
    const differing = others.filter((other) => !agrees(other, contribution));
    return { accepted, provedBy: contribution.worker, differing };
  }

  /** Gives up waiting: nobody else is there who could compute the task. */
  take(task: number): readonly Contribution[] {
    const waiting = this.waiting(task);
    this.#candidates.delete(task);
    return waiting;
  }
}

function agrees(one: Provable, other: Provable): boolean {
  return one.checksum === other.checksum && one.totals.lossSum === other.totals.lossSum;
}
