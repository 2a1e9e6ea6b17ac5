// Numbers as people read them.
import { describe, expect, it } from 'vitest';
import * as format from './format.js';

describe('format', () => {
  it.each([
    [format.formatCount(3519), '3,519'],
    [format.formatPercent(0.764), '76.4 %'],
    [format.formatLoss(2.302585), '2.303'],
    [format.formatLoss(0.05123), '0.0512'],
    [format.formatLoss(1.2e-7), '1.2e-7'],
    [format.formatLoss(0), '0.0000'],
    [format.formatRate(946.2), '946'],
    [format.formatRate(3.83), '3.8'],
    [format.formatRate(0), '0'],
    [format.formatPlain(0.1 + 0.2), '0.3'],
    [format.formatPlain(12_500), '12,500'],
    [format.formatShortTime(0.1844), '184 ms'],
    [format.formatShortTime(0.0042), '4.2 ms'],
    [format.formatShortTime(2.409), '2.41 s'],
    [format.formatTickPercent(0.6000000001), '60 %'],
    [format.formatTickPercent(0.625), '62.5 %'],
    [format.formatTickTime(0), '0'],
    [format.formatTickTime(0.05), '50 ms'],
    [format.formatTickTime(1.5), '1.5 s'],
    [format.formatDuration(42.4), '42 s'],
    [format.formatDuration(185), '3 min 05 s'],
    [format.formatDuration(7800), '2 h 10 min'],
    [format.formatDuration(99 * 3600), '4 d 3 h'],
    [format.formatBytes(0), '0 B'],
    [format.formatBytes(1.62e9), '1.6 GB'],
    [format.formatBytes(999_999), '1,000 kB'],
    [format.formatParameters(272_474), '272,474'],
    [format.formatParameters(60_192_808), '60.2 M'],
  ])('writes %s', (written, expected) => {
    expect(written).toBe(expected);
  });

  it('tells where a list of names may be broken', () => {
    expect(format.wordsOf('cpu EPYC, avx2,avx512_bf16, 1 thread')).toEqual([
      'cpu EPYC, avx2,',
      'avx512_bf16, 1 thread',
    ]);
  });

  it('writes a dash for what is not known', () => {
    for (const write of [format.formatCount, format.formatPercent, format.formatLoss, format.formatDuration]) {
      expect(write(null)).toBe('–');
      expect(write(NaN)).toBe('–');
    }
    expect(format.formatInstant('nonsense')).toBe('–');
  });
});
