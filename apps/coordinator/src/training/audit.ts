// Proves from a ledger that each sample of an epoch was committed exactly once (invariant 1 of the design).
// Pure: refuses to know files and jobs; compares records with what the sampler says a step must consume.
import type { AuditReport } from '../jobs/ports.js';
import type { LedgerRecord, StepRecord } from './ledger-format.js';

/** What a step must consume: positions [first, first + samples) of the order of `epoch`, and the hash of their ids. */
export interface ExpectedStep {
  readonly epoch: number;
  readonly first: number;
  readonly samples: number;
  readonly sampleIdsSha256: string;
  /** Ids of the samples that the shards that were left out hold, in order. */
  readonly excluded: readonly number[];
}

interface EpochCount {
  expected: number;
  committed: number;
  excluded: number;
  duplicated: number;
  missing: number;
}

/** Kept of a step that is more than one record of exactly its mini-batch; of most steps nothing is. */
interface Oddities {
  readonly problems: string[];
  /** Samples [from, to) of the mini-batch that a record took, one pair a record. */
  readonly taken: (readonly [from: number, to: number])[];
  /** Samples that do not belong to the mini-batch. */
  outside: number;
  excluded: number;
}

/** What the records say of each step below `version`, in a few bytes a step: the records themselves may be too many. */
class Tally {
  /** Records of a step that count, and what the step was to consume. */
  readonly #times: Uint32Array;
  readonly #epochs: Uint32Array;
  readonly #samples: Uint32Array;
  readonly #odd = new Map<number, Oddities>();

  constructor(version: number) {
    this.#times = new Uint32Array(version);
    this.#epochs = new Uint32Array(version);
    this.#samples = new Uint32Array(version);
  }

  add(record: StepRecord, want: ExpectedStep): void {
    const { step } = record;
    const before = this.#times[step]!;
    this.#times[step] = before + 1;
    this.#epochs[step] = want.epoch;
    this.#samples[step] = want.samples;
    const problems = problemsOf(record, want);
    const [from, to] = overlap(record, want);
    const whole = to - from === want.samples && record.samples === want.samples;
    if (before === 0 && whole && problems.length === 0 && record.excluded.length === 0) return;
    const first: Oddities = { problems: [], taken: before === 0 ? [] : [[0, want.samples]], outside: 0, excluded: 0 };
    const odd = this.#odd.get(step) ?? first;
    this.#odd.set(step, odd);
    odd.problems.push(...problems);
    odd.taken.push([from, to]);
    odd.outside += record.samples - (to - from);
    odd.excluded += record.excluded.length;
  }

  /** Forgets the records of all steps from `version` on. */
  takeBack(version: number): void {
    this.#times.fill(0, version);
    for (const step of this.#odd.keys()) if (step >= version) this.#odd.delete(step);
  }

  times(step: number): number {
    return this.#times[step]!;
  }

  /** Of a step that has a record. */
  wanted(step: number): Pick<ExpectedStep, 'epoch' | 'samples'> {
    return { epoch: this.#epochs[step]!, samples: this.#samples[step]! };
  }

  odd(step: number): Oddities | undefined {
    return this.#odd.get(step);
  }
}

/**
 * @param records all records in file order; gone through once and not kept
 * @param version the version that the job has reached
 * @param expected what step s must consume; the hash is over the samples that are left without some shards
 * @param problems what reading the file finds; asked for once all records are read
 */
export function audit(
  records: Iterable<LedgerRecord>,
  version: number,
  expected: (step: number, excludedShards?: readonly number[]) => ExpectedStep,
  problems: readonly string[] = [],
): AuditReport {
  const tally = new Tally(version);
  for (const record of records) {
    if (record.kind === 'rollback') tally.takeBack(record.toVersion);
    else if (record.step < version) tally.add(record, expected(record.step, record.excludedShards));
  }

  const found = [...problems];
  const epochs = new Map<number, EpochCount>();
  for (let step = 0; step < version; step += 1) {
    const times = tally.times(step);
    const want = times === 0 ? expected(step) : tally.wanted(step);
    const count = epochs.get(want.epoch) ?? { expected: 0, committed: 0, excluded: 0, duplicated: 0, missing: 0 };
    epochs.set(want.epoch, count);
    count.expected += want.samples;
    const odd = tally.odd(step);
    if (odd === undefined) count[times === 0 ? 'missing' : 'committed'] += want.samples;
    else {
      found.push(...odd.problems);
      countSamples(count, want.samples, odd);
    }
    if (times === 0) found.push(`Step ${step} has no record.`);
    if (times > 1) found.push(`Step ${step} was committed ${times} times.`);
  }

  const sum = (field: keyof EpochCount) => [...epochs.values()].reduce((total, count) => total + count[field], 0);
  const duplicated = sum('duplicated');
  const missing = sum('missing');
  return {
    clean: found.length === 0 && duplicated === 0 && missing === 0,
    version,
    expected: sum('expected'),
    committed: sum('committed'),
    duplicated,
    missing,
    excluded: sum('excluded'),
    epochs: [...epochs].map(([epoch, count]) => ({ epoch, ...count })),
    problems: found,
  };
}

/** Which of the samples of its mini-batch, [from, to), a record took. */
function overlap(record: StepRecord, want: ExpectedStep): readonly [from: number, to: number] {
  if (record.epoch !== want.epoch) return [0, 0];
  const first = record.first - want.first;
  const from = Math.min(Math.max(first, 0), want.samples);
  return [from, Math.max(from, Math.min(first + record.samples, want.samples))];
}

/** What is excluded was taken, and given back on purpose: it counts as neither committed nor missing. */
function countSamples(count: EpochCount, samples: number, odd: Oddities): void {
  count.excluded += odd.excluded;
  count.committed -= odd.excluded;
  const committed = new Uint32Array(samples);
  for (const [from, to] of odd.taken) for (let sample = from; sample < to; sample += 1) committed[sample]! += 1;
  count.duplicated += odd.outside;
  for (const times of committed) {
    if (times === 0) count.missing += 1;
    else {
      count.committed += 1;
      count.duplicated += times - 1;
    }
  }
}

function problemsOf(record: StepRecord, want: ExpectedStep): string[] {
  const problems: string[] = [];
  if (record.version !== record.step + 1) problems.push(`Step ${record.step} names version ${record.version}.`);
  if (record.epoch !== want.epoch || record.first !== want.first || record.samples !== want.samples) {
    problems.push(
      `Step ${record.step} consumed positions ${record.first} to ${record.first + record.samples - 1} of epoch ${record.epoch}, ` +
        `not ${want.first} to ${want.first + want.samples - 1} of epoch ${want.epoch}.`,
    );
  }
  const inTasks = record.tasks.reduce((total, task) => total + task.samples, 0);
  if (inTasks !== record.samples - record.excluded.length) {
    problems.push(
      `The tasks of step ${record.step} consumed ${inTasks} samples, not ${record.samples - record.excluded.length}.`,
    );
  }
  if (record.excluded.join() !== want.excluded.join()) {
    problems.push(
      `Step ${record.step} says that it left out the samples ${record.excluded.join(', ') || 'of no shard'}, ` +
        `not ${want.excluded.join(', ') || 'none'}, which its left out shards hold.`,
    );
  }
  const indices = record.tasks.map((task) => task.task);
  if (indices.some((index, i) => index !== i)) problems.push(`Step ${record.step} lists tasks ${indices.join(', ')}.`);
  if (record.sampleIdsSha256 !== want.sampleIdsSha256) {
    problems.push(`The sample ids that step ${record.step} consumed are not those of its mini-batch.`);
  }
  return problems;
}
