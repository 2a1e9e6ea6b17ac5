import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TaskKind } from './generated/lockstep/v1/pool.js';
import {
  entryId,
  fromWireKey,
  samplesOf,
  taskEntrySchema,
  taskId,
  type TaskKey,
  taskKinds,
  taskName,
  toWireKey,
} from './task-entry.js';

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const keys: fc.Arbitrary<TaskKey> = fc.record({
  jobId: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  lineage: uint32,
  step: uint32,
  round: uint32,
  task: uint32,
  kind: fc.constantFrom(...taskKinds),
});
const key: TaskKey = { jobId: 'J1', lineage: 0, step: 12, round: 0, task: 1, kind: 'train' };

describe('task keys', () => {
  it('come back from the wire as they were', () => {
    fc.assert(
      fc.property(keys, (each) => {
        expect(fromWireKey(toWireKey(each))).toEqual(each);
      }),
    );
  });

  it('that cannot be are not taken from the wire', () => {
    expect(fromWireKey(undefined)).toBeUndefined();
    expect(fromWireKey({ ...toWireKey(key), kind: TaskKind.UNSPECIFIED })).toBeUndefined();
    expect(fromWireKey({ ...toWireKey(key), jobId: '../etc' })).toBeUndefined();
  });

  it('give ids that differ whenever key or attempt differ, without colons', () => {
    fc.assert(
      fc.property(keys, keys, uint32, uint32, (a, b, m, n) => {
        expect(entryId(a, m)).not.toContain(':');
        expect(entryId(a, m) === entryId(b, n)).toBe(taskId(a) === taskId(b) && m === n);
      }),
    );
  });

  it('have names for people', () => {
    expect(taskName(key)).toBe('train task 1 of step 12 of job J1');
    expect(taskName({ ...key, kind: 'evaluate', round: 2, lineage: 1 })).toBe(
      'evaluate task 1 of version 12 of job J1, round 2, lineage 1',
    );
  });
});

describe('taskEntrySchema', () => {
  const entry = {
    key,
    attempt: 1,
    version: 12,
    epoch: 0,
    shards: [
      { first: 64, samples: 32 },
      { first: 96, samples: 32 },
    ],
    miniBatchSamples: 128,
  };

  it('takes an entry and refuses one with a field that is unknown, missing or out of range', () => {
    expect(taskEntrySchema.parse(structuredClone(entry))).toEqual(entry);
    expect(samplesOf(entry)).toBe(64);
    const evaluation = { key: { ...key, kind: 'evaluate' } };
    const gap = { shards: [entry.shards[0], { first: 97, samples: 1 }] };
    for (const good of [gap, evaluation]) expect(taskEntrySchema.safeParse({ ...entry, ...good }).success).toBe(true);
    expect(taskEntrySchema.safeParse({ ...entry, ...evaluation, ...gap }).error?.message).toContain(
      'follow each other',
    );
    for (const change of [
      { extra: 1 },
      { shards: [] },
      { shards: [{ first: 0, samples: 0 }] },
      { shards: [{ first: -1, samples: 1 }] },
      { version: 1.5 },
      { key: { ...key, jobId: 'a:b' } },
      { epoch: undefined },
      { ...evaluation, shards: [entry.shards[1], entry.shards[0]] },
    ]) {
      expect(taskEntrySchema.safeParse({ ...entry, ...change }).success).toBe(false);
    }
  });
});
