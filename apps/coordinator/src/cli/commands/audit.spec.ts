import { describe, expect, it } from 'vitest';
import { auditTable, verdict } from './audit.js';

const clean = {
  clean: true,
  version: 4,
  expected: 20,
  committed: 20,
  duplicated: 0,
  missing: 0,
  excluded: 0,
  problems: [],
};

describe('audit', () => {
  it('has a row per epoch and one for all', () => {
    const epochs = [
      { epoch: 0, expected: 10, committed: 10, excluded: 0, duplicated: 0, missing: 0 },
      { epoch: 1, expected: 10, committed: 8, excluded: 1, duplicated: 1, missing: 1 },
    ];
    const report = { ...clean, clean: false, committed: 18, excluded: 1, duplicated: 1, missing: 1, epochs };
    expect(auditTable(report, undefined)).toEqual([
      'EPOCH  EXPECTED  COMMITTED  EXCLUDED  DUPLICATED  MISSING',
      '1            10         10         0           0        0',
      '2            10          8         1           1        1',
      'all          20         18         1           1        1',
    ]);
    expect(verdict(report)).toBe(
      'not clean: of 20 samples up to version 4, 1 are missing and 1 duplicated; 1 more were left out as not finite, as the job asks for',
    );
  });

  it('says what was proved', () => {
    expect(verdict({ ...clean, epochs: [] })).toBe(
      'clean: each of 20 samples up to version 4 was committed exactly once',
    );
  });
});
