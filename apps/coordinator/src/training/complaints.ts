// Why a job gets nowhere although its workers are there: what they could not do since something last got through.
// Pure; refuses to know tasks and steps, and what becomes of either.

/** One or two are how faults are survived; so many in a row are worth a person's attention. */
const shownFrom = 3;

export class Complaints {
  #last = '';
  #inARow = 0;

  /** @param complaint a sentence that names worker, task and cause */
  add(complaint: string): void {
    this.#last = complaint;
    this.#inARow += 1;
  }

  /** A task was done: whatever it was is survived. */
  clear(): void {
    this.#inARow = 0;
  }

  /** For people; undefined while there is nothing to worry about. */
  get reason(): string | undefined {
    if (this.#inARow < shownFrom) return undefined;
    return `No task has been done since ${this.#inARow} came back undone, the last because: ${this.#last}`;
  }
}
