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
}

interface EpochCount {
  expected: number;
  committed: number;
  duplicated: number;
  missing: number;
}

/**
 * @param records all records in file order
 * @param version the version that the job has reached
 * @param expected what step s must consume; the hash is over the samples that are left without some shards
 * @param problems what reading the file has already found
 */
export function audit(
  records: Iterable<LedgerRecord>,
  version: number,
  expected: (step: number, excludedShards?: readonly number[]) => ExpectedStep,
  problems: readonly string[] = [],
): AuditReport {
  const found = [...problems];
  const byStep = new Map<number, StepRecord[]>();
  for (const record of records) {
    if (record.kind === 'rollback') {
      for (const step of [...byStep.keys()]) if (step >= record.toVersion) byStep.delete(step);
      continue;
    }
    const known = byStep.get(record.step);
    if (known === undefined) byStep.set(record.step, [record]);
    else known.push(record);
  }

  const epochs = new Map<number, EpochCount>();
  let excluded = 0;
  for (let step = 0; step < version; step += 1) {
    const want = expected(step);
    const count = epochs.get(want.epoch) ?? { expected: 0, committed: 0, duplicated: 0, missing: 0 };
    epochs.set(want.epoch, count);
    count.expected += want.samples;
    const committedAt = new Uint32Array(want.samples);
    for (const record of byStep.get(step) ?? []) {
      found.push(...problemsOf(record, expected(step, record.excludedShards)));
      excluded += record.excluded.length;
      const offset = record.epoch === want.epoch ? record.first - want.first : Number.NaN;
      for (let i = 0; i < record.samples; i += 1) {
        const position = offset + i;
        if (position >= 0 && position < want.samples) committedAt[position]! += 1;
        else count.duplicated += 1;
      }
    }
    for (const times of committedAt) {
      if (times === 0) count.missing += 1;
      else {
        count.committed += 1;
        count.duplicated += times - 1;
      }
    }
    const times = byStep.get(step)?.length ?? 0;
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
    excluded,
    epochs: [...epochs].map(([epoch, count]) => ({ epoch, ...count })),
    problems: found,
  };
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
  const indices = record.tasks.map((task) => task.task);
  if (indices.some((index, i) => index !== i)) problems.push(`Step ${record.step} lists tasks ${indices.join(', ')}.`);
  if (record.sampleIdsSha256 !== want.sampleIdsSha256) {
    problems.push(`The sample ids that step ${record.step} consumed are not those of its mini-batch.`);
  }
  return problems;
}
