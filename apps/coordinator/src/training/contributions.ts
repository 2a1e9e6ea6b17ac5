// Puts together what the slices report of one contribution, and keeps the one verdict on it.
// Pure: refuses to know threads and which contribution should win; `onPush…` callers act on what it returns.
import { versionChecksum } from '#proto/blocks.js';
import { taskId, type TaskKey } from '#proto/task-entry.js';
import type { OutcomeName } from './outcome.js';
import type { PushTotalsReport } from './slices/messages.js';
import { inBlockOrder } from './slices/block-order.js';

interface Part {
  readonly slice: number;
  readonly pushId: number;
  totals: PushTotalsReport | undefined;
  blockChecksums: Float64Array | undefined;
}

/** One worker's answer to one task, delivered in a part per slice. */
export class Contribution {
  readonly parts: Part[] = [];
  verdict: { readonly outcome: OutcomeName; readonly detail: string } | undefined;

  constructor(
    readonly worker: string,
    readonly key: TaskKey,
    readonly attempt: number,
  ) {}

  /** What the worker says of the whole task; the slices heard the same. */
  get totals(): PushTotalsReport {
    return this.parts[0]!.totals!;
  }

  /** CRC32C over all block checksums, in index order. */
  get checksum(): number {
    return versionChecksum(inBlockOrder(bySlice(this.parts).map((part) => part.blockChecksums!)));
  }
}

function bySlice(parts: readonly Part[]): Part[] {
  return parts.toSorted((a, b) => a.slice - b.slice);
}

export class Contributions {
  readonly #slices: number;
  readonly #open = new Set<Contribution>();
  readonly #byPush = new Map<string, Contribution>();

  constructor(slices: number) {
    this.#slices = slices;
  }

  /** A slice saw a header. The same task sent twice over one slice makes two contributions. */
  begin(slice: number, pushId: number, worker: string, key: TaskKey, attempt: number): Contribution {
    const id = taskId(key);
    let contribution = [...this.#open].find(
      (open) =>
        open.worker === worker &&
        open.attempt === attempt &&
        taskId(open.key) === id &&
        !open.parts.some((part) => part.slice === slice),
    );
    if (contribution === undefined) this.#open.add((contribution = new Contribution(worker, key, attempt)));
    contribution.parts.push({ slice, pushId, totals: undefined, blockChecksums: undefined });
    this.#byPush.set(pushKey(slice, pushId), contribution);
    return contribution;
  }

  /** A slice has its part whole. Returns the contribution when it now is whole in all slices and still undecided. */
  whole(
    slice: number,
    pushId: number,
    totals: PushTotalsReport,
    blockChecksums: Float64Array,
  ): Contribution | undefined {
    const contribution = this.#byPush.get(pushKey(slice, pushId));
    const part = contribution?.parts.find((candidate) => candidate.slice === slice && candidate.pushId === pushId);
    if (contribution === undefined || part === undefined || contribution.verdict !== undefined) return undefined;
    part.totals = totals;
    part.blockChecksums = blockChecksums;
    const wholeParts = contribution.parts.filter((candidate) => candidate.totals !== undefined).length;
    return wholeParts === this.#slices ? contribution : undefined;
  }

  of(slice: number, pushId: number): Contribution | undefined {
    return this.#byPush.get(pushKey(slice, pushId));
  }

  /** Contributions of a task (or of all) that have no verdict yet. */
  undecided(task?: number): Contribution[] {
    return [...this.#open].filter(
      (open) => open.verdict === undefined && (task === undefined || open.key.task === task),
    );
  }

  /** Settles a contribution: returns its parts, which are to be told. */
  decide(contribution: Contribution, outcome: OutcomeName, detail: string): readonly Part[] {
    contribution.verdict = { outcome, detail };
    // Parts that are still to begin in other slices find the verdict; all is let go of with the step.
    return contribution.parts;
  }

  /** The step is over: forgets what was decided. Undecided ones must have been decided before. */
  clear(): void {
    this.#open.clear();
    this.#byPush.clear();
  }
}

function pushKey(slice: number, pushId: number): string {
  return `${slice}/${pushId}`;
}
