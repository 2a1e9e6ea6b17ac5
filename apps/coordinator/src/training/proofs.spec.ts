import { describe, expect, it } from 'vitest';
import { Proofs } from './proofs.js';

const from = (worker: string, checksum: number, lossSum = 1) => ({
  worker,
  checksum,
  key: { task: 0 },
  totals: { lossSum },
});

describe('Proofs', () => {
  it('chooses about its share of tasks, the same ones every time', () => {
    const chosen = (seed: number) => {
      return Array.from({ length: 2000 }, (_, step) => new Proofs(0.25, seed, step).wants(1)).filter(Boolean).length;
    };
    expect(chosen(3)).toBeGreaterThan(400);
    expect(chosen(3)).toBeLessThan(600);
    expect(chosen(3)).toBe(chosen(3));
    expect(new Proofs(0, 1, 1).wants(0)).toBe(false);
    expect(new Proofs(1, 1, 1).wants(0)).toBe(true);
  });

  it('accepts the first of two that agree', () => {
    const proofs = new Proofs<ReturnType<typeof from>>(1, 1, 1);
    const [one, two] = [from('a', 7), from('b', 7)];
    expect(proofs.offer(one)).toBeUndefined();
    expect(proofs.holds(one)).toBe(true);
    expect(proofs.offer(two)).toEqual({ accepted: one, provedBy: 'b', differing: [] });
    expect(proofs.tasks()).toEqual([]);
  });

  it('names who differs once two others agree, and does not take one worker twice', () => {
    const proofs = new Proofs<ReturnType<typeof from>>(1, 1, 1);
    const [wrong, right, witness] = [from('a', 8), from('b', 7), from('c', 7)];
    expect(proofs.offer(wrong)).toBeUndefined();
    expect(() => proofs.offer(from('a', 8))).toThrow(RangeError);
    expect(proofs.offer(right)).toBeUndefined();
    const proof = proofs.offer(witness);
    expect(proof?.accepted).toBe(right);
    expect(proof?.differing.map(({ worker }) => worker)).toEqual(['a']);
    expect(proofs.offer(from('d', 7, 2))).toBeUndefined();
  });
});
