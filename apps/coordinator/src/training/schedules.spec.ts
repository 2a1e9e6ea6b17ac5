import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Outcome, type Scenario, simulate } from './testing/simulation.js';

const quiet = { seed: 1, workers: 1, slices: 1, stagingBytes: 1e6, faultRate: 0 } as const;

function bitsOf({ parameters, momentum, statistics }: Outcome): string {
  return [parameters, momentum, statistics].map((part) => new Uint32Array(part.buffer).join()).join('/');
}

/** Schedules for each kind of wire; long runs ask for more. */
const runs = Number(process.env['LOCKSTEP_SCHEDULES'] ?? 5000);
/** Schedules take some milliseconds each; machines that do other things at the same time take many times as long. */
const longestMs = Math.max(600_000, 200 * runs);

/** Schedules in which jobs once did not end. */
const examples = [
  // Evaluation tasks that the only worker held and did not begin.
  { seed: 1474682464, workers: 1, slices: 2, proofShare: 0.3, speculation: false, stagingBytes: 1e6, faultRate: 0.02 },
  // A worker stuck with a task for which an earlier attempt of its own counts, for a proof and without one.
  { seed: 352598185, workers: 2, slices: 1, proofShare: 1, speculation: true, stagingBytes: 32, faultRate: 0.1 },
  { seed: 1796422342, workers: 2, slices: 2, proofShare: 0, speculation: false, stagingBytes: 1e6, faultRate: 0.1 },
] as const;

describe.each(['float32', 'bfloat16'] as const)('a job with %s on the wire', (wire) => {
  it('comes to the same bits and a clean audit under any schedule of faults', { timeout: longestMs }, async () => {
    const reference = await simulate({ ...quiet, wire });
    expect(reference.audit).toMatchObject({ clean: true, committed: 25 });
    const seen: Record<string, number> = {};
    const scenario = fc.record({
      seed: fc.nat(),
      workers: fc.integer({ min: 1, max: 4 }),
      slices: fc.integer({ min: 1, max: 2 }),
      proofShare: fc.constantFrom(0, 0.3, 1),
      speculation: fc.boolean(),
      // One contribution has 20 or 32 bytes: room for all, or for one.
      stagingBytes: fc.constantFrom(1e6, 32),
      faultRate: fc.constantFrom(0, 0.02, 0.1, 0.3),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async (drawn) => {
        const outcome = await simulate({ ...drawn, wire } satisfies Scenario);
        expect(bitsOf(outcome)).toBe(bitsOf(reference));
        expect(outcome.audit).toMatchObject({ clean: true, problems: [] });
        for (const [fault, times] of Object.entries(outcome.faults)) seen[fault] = (seen[fault] ?? 0) + times;
      }),
      { numRuns: runs, endOnFailure: true, examples: examples.map((drawn): [typeof drawn] => [drawn]) },
    );
    expect(Object.keys(seen).toSorted()).toEqual([
      'coordinator killed',
      'cut',
      'flipped bit',
      'long wait',
      'not finite',
      'queue away',
      'queue back',
      'queue flushed',
      'sent twice',
      'worker frozen',
      'worker killed',
      'worker killed with an entry',
      'worker stuck',
      'worker thawed',
      'wrong samples',
      'wrong version',
    ]);
  });
});

describe('a sample whose gradient is never finite', () => {
  const poisoned = (onNotFinite: 'pause' | 'exclude') =>
    ({ ...quiet, wire: 'float32', poison: { sampleId: 5, onNotFinite } }) as const;

  it('pauses the job, which names the samples of the shard, the worker and the layer', async () => {
    await expect(simulate(poisoned('pause'))).rejects.toThrow(
      /step \d is not finite, also when computed again \(last by worker simulated\): (w|The batch statistics) of train task .* samples \d+, 5 \(shard \d\)|samples 5, \d+ \(shard \d\)/,
    );
  });

  it(
    'leaves that shard out where the job allows it, with the same bits under any schedule',
    { timeout: 300_000 },
    async () => {
      const reference = await simulate(poisoned('exclude'));
      // Id 5 comes up once in each of the two epochs that five steps of 6 out of 13 samples touch.
      expect(reference.audit).toMatchObject({ clean: true, problems: [] });
      expect(reference.audit.excluded).toBeGreaterThanOrEqual(2);
      await fc.assert(
        fc.asyncProperty(
          fc.nat(),
          fc.integer({ min: 1, max: 3 }),
          fc.constantFrom(1, 2),
          async (seed, workers, slices) => {
            const outcome = await simulate({ ...poisoned('exclude'), seed, workers, slices, faultRate: 0.05 });
            expect(bitsOf(outcome)).toBe(bitsOf(reference));
            expect(outcome.audit).toEqual(reference.audit);
          },
        ),
        // A worker stuck with a task that was given up was not told once, and the job did not end.
        { numRuns: Math.ceil(runs / 10), endOnFailure: true, examples: [[2, 2, 2]] },
      );
    },
  );
});

describe('a worker that computes other bits', () => {
  it('is found by proofs and sent away, and nothing of it counts', { timeout: 300_000 }, async () => {
    const reference = await simulate({ ...quiet, wire: 'float32' });
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 3, max: 4 }), async (seed, workers) => {
        const scenario = { ...quiet, seed, workers, proofShare: 1, biased: true, wire: 'float32' } as const;
        const outcome = await simulate(scenario);
        expect(bitsOf(outcome)).toBe(bitsOf(reference));
        expect(outcome.sentAway).toBeLessThanOrEqual(1);
        expect(outcome.audit.clean).toBe(true);
      }),
      { numRuns: 100, endOnFailure: true },
    );
  });

  it('pauses the job where there are only two, and names both', async () => {
    const scenario = { ...quiet, workers: 2, proofShare: 1, biased: true, wire: 'float32' } as const;
    await expect(simulate(scenario)).rejects.toThrow(/The workers simulated and simulated computed different bits/);
  });
});
