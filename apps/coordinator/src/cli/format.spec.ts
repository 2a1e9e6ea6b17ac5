import { describe, expect, it } from 'vitest';
import { formatDuration, formatLoss, formatRate, formatShare, formatTime } from './format.js';

describe('formatDuration', () => {
  it.each([
    [0, '0.0 s'],
    [0.42, '0.4 s'],
    [9.94, '9.9 s'],
    [9.96, '10 s'],
    [59.4, '59 s'],
    [59.6, '1 min 00 s'],
    [185, '3 min 05 s'],
    [3599.7, '1 h 00 min'],
    [7620, '2 h 07 min'],
    [86_399, '1 d 00 h'],
    [273_600, '3 d 04 h'],
    [null, '–'],
    [undefined, '–'],
    [Number.NaN, '–'],
    [-1, '–'],
  ])('%s seconds are %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });
});

describe('figures', () => {
  it('keeps the digits that matter', () => {
    expect([formatShare(0.764), formatShare(1), formatShare(null)]).toEqual(['76.4 %', '100.0 %', '–']);
    expect([formatLoss(2.30258), formatLoss(0), formatLoss(0.0001234)]).toEqual(['2.303', '0.000', '1.23e-4']);
    expect([formatRate(946.4), formatRate(12_345.6), formatRate(3.83)]).toEqual(['946', '12,346', '3.8']);
    expect(formatTime('no time')).toBe('–');
  });
});
