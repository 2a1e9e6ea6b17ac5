import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { audit } from './audit.js';
import type { LedgerRecord, StepRecord } from './ledger-format.js';
import { planStep } from './step-plan.js';
import { stepRecord } from './testing/step-record.js';

const training = { batchSize: 8, shardSize: 4, shardsPerTask: 1, seed: 3, shuffle: { kind: 'global' } } as const;
const trainCount = 21;
const expected = (step: number, excluded?: readonly number[]) => planStep(training, trainCount, step, excluded);

function record(step: number): StepRecord {
  const { epoch, first, samples, sampleIdsSha256, tasks } = expected(step);
  const consumed = tasks.map((task) => ({
    task: task.task,
    samples: task.samples,
    worker: 'w',
    attempt: 1,
    seconds: 1,
    checksum: 1,
    provedBy: null,
  }));
  return stepRecord(step, { epoch, first, samples, sampleIdsSha256, tasks: consumed });
}

function steps(count: number): LedgerRecord[] {
  return Array.from({ length: count }, (_, step) => record(step));
}

/** The same figures with a list of all records and a count of each sample. */
function countedSingly(records: readonly LedgerRecord[], version: number) {
  let counting: StepRecord[] = [];
  for (const one of records) {
    if (one.kind === 'step') counting.push(one);
    else counting = counting.filter(({ step }) => step < one.toVersion);
  }
  const figures = { committed: 0, duplicated: 0, missing: 0 };
  for (let step = 0; step < version; step += 1) {
    const want = expected(step);
    const times = new Map<number, number>();
    for (let i = 0; i < want.samples; i += 1) times.set(want.first + i, 0);
    for (const { epoch, first, samples } of counting.filter((one) => one.step === step)) {
      for (let position = first; position < first + samples; position += 1) {
        const known = epoch === want.epoch ? times.get(position) : undefined;
        if (known === undefined) figures.duplicated += 1;
        else times.set(position, known + 1);
      }
    }
    for (const count of times.values()) {
      figures[count === 0 ? 'missing' : 'committed'] += 1;
      figures.duplicated += Math.max(0, count - 1);
    }
  }
  return figures;
}

describe('audit', () => {
  it('is clean when every step consumed its mini-batch, over short last mini-batches and epochs', () => {
    const report = audit(steps(7), 7, expected);
    expect(report).toMatchObject({ clean: true, expected: 50, committed: 50, duplicated: 0, missing: 0, problems: [] });
    expect(report.epochs.map((epoch) => epoch.committed)).toEqual([21, 21, 8]);
  });

  it('finds a missing step', () => {
    const report = audit(steps(7).toSpliced(2, 1), 7, expected);
    expect(report).toMatchObject({ clean: false, missing: 5, committed: 45 });
    expect(report.problems).toEqual(['Step 2 has no record.']);
  });

  it('finds a step that was committed twice', () => {
    const report = audit([...steps(3), record(1)], 3, expected);
    expect(report).toMatchObject({ clean: false, duplicated: 8, missing: 0 });
    expect(report.problems).toEqual(['Step 1 was committed 2 times.']);
  });

  it('finds samples of another step', () => {
    const report = audit(
      steps(3).with(1, { ...record(1), first: 0, sampleIdsSha256: record(0).sampleIdsSha256 }),
      3,
      expected,
    );
    expect(report).toMatchObject({ clean: false, duplicated: 8, missing: 8 });
    expect(report.problems).toHaveLength(2);
  });

  it('finds a task that was left out', () => {
    const one = record(1);
    const report = audit(steps(3).with(1, { ...one, tasks: one.tasks.slice(1) }), 3, expected);
    expect(report.clean).toBe(false);
    expect(report.problems[0]).toBe('The tasks of step 1 consumed 4 samples, not 8.');
  });

  it('does not count what a rollback took back, nor what is beyond the version', () => {
    const rollback: LedgerRecord = { kind: 'rollback', toVersion: 1, reason: '', committedAt: '' };
    expect(audit([...steps(3), rollback, record(1)], 2, expected).clean).toBe(true);
    expect(audit(steps(5), 3, expected).clean).toBe(true);
  });

  it('goes through the records once, and asks for the problems of reading when it is through', () => {
    const problems: string[] = [];
    function* reading(): Generator<LedgerRecord> {
      yield* steps(2);
      problems.push('Line 3 is damaged.');
    }
    expect(audit(reading(), 3, expected, problems).problems).toEqual(['Line 3 is damaged.', 'Step 2 has no record.']);
  });

  it('counts what is excluded, and asks what a step without those shards must consume', () => {
    const plan = expected(1, [0]);
    const tasks = record(1)
      .tasks.slice(1)
      .map((task) => ({ ...task, task: 0 }));
    const without = { ...record(1), excluded: [...plan.excluded], excludedShards: [0], tasks };
    const report = audit(steps(3).with(1, { ...without, sampleIdsSha256: plan.sampleIdsSha256 }), 3, expected);
    expect(report).toMatchObject({ clean: true, expected: 21, excluded: 4, committed: 17, missing: 0 });
    expect(audit(steps(3).with(1, without), 3, expected).problems).toHaveLength(1);
    const others = {
      ...without,
      sampleIdsSha256: plan.sampleIdsSha256,
      excluded: expected(1, [1]).excluded.slice(0, 4),
    };
    expect(audit(steps(3).with(1, others), 3, expected).problems).toEqual([
      `Step 1 says that it left out the samples ${others.excluded.join(', ')}, not ${plan.excluded.join(', ')}, which its left out shards hold.`,
    ]);
  });

  it('counts sample by sample what any records took, of any mini-batches', () => {
    const change = fc.record({ step: fc.nat(7), epoch: fc.nat(2), first: fc.nat(24), samples: fc.nat(30) });
    const act = fc.oneof(change, fc.record({ toVersion: fc.nat(7) }), fc.constant('as it should be' as const));
    fc.assert(
      fc.property(fc.array(act, { maxLength: 15 }), fc.nat(7), (acts, version) => {
        const records = acts.map((what, index): LedgerRecord => {
          if (what === 'as it should be') return record(index % 7);
          if ('toVersion' in what) return { kind: 'rollback', ...what, reason: '', committedAt: '' };
          return { ...record(what.step), ...what };
        });
        const { committed, duplicated, missing } = audit(records, version, expected);
        expect({ committed, duplicated, missing }).toEqual(countedSingly(records, version));
      }),
    );
  });

  it('is never clean when records are dropped, doubled or swapped for those of another step', () => {
    fc.assert(
      fc.property(fc.nat(6), fc.nat(6), fc.constantFrom('drop', 'double', 'swap'), (one, other, how) => {
        const records = steps(7) as StepRecord[];
        if (how === 'drop') records.splice(one, 1);
        else if (how === 'double') records.push(records[one]!);
        else {
          fc.pre(one !== other);
          const { step, version } = records[one]!;
          records[one] = { ...records[other]!, step, version };
        }
        expect(audit(records, 7, expected).clean).toBe(false);
      }),
    );
  });
});
