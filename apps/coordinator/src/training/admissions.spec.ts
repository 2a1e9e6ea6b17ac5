import { describe, expect, it } from 'vitest';
import { Admissions } from './admissions.js';

describe('Admissions', () => {
  it('takes the first checksum as the right one, keeps it, and refuses another', () => {
    const kept: number[] = [];
    const admissions = new Admissions(true, { checksum: null, keep: (checksum) => kept.push(checksum) });
    expect(admissions.admits('a')).toBe(false);
    expect(admissions.judge('a', 'worker a', 7)).toBe(true);
    expect(admissions.judge('b', 'worker b', 8)).toBe(false);
    expect(admissions.judge('c', 'worker c', 7)).toBe(true);
    expect([admissions.admits('a'), admissions.admits('b'), admissions.admits('c')]).toEqual([true, false, true]);
    expect([admissions.refuses('a'), admissions.refuses('b')]).toEqual([false, true]);
    expect(admissions.refusedNames).toEqual(['worker b']);
    expect(admissions.agreeing).toBe(2);
    expect(kept).toEqual([7]);
    admissions.forget('a');
    expect(admissions.admits('a')).toBe(false);
  });

  it('knows the right checksum after a restart', () => {
    const admissions = new Admissions(true, { checksum: 7, keep: () => expect.unreachable() });
    expect(admissions.judge('a', 'worker a', 8)).toBe(false);
    expect(admissions.judge('b', 'worker b', 7)).toBe(true);
  });

  it('checks nobody where bits need not repeat', () => {
    const admissions = new Admissions(false, { checksum: null, keep: () => undefined });
    expect(admissions.wanted).toBe(false);
    expect(admissions.admits('anyone')).toBe(true);
  });
});
