// A training image that is not finite, whoever computes it: the job pauses and names it, or goes on without its shard, with
// the bits of a plain loop that leaves the same shards out, whatever happens. Refuses to know how culprits are found.
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { miniBatchPositions, sampleIds } from '#model/sampler.js';
import type { AuditReport } from '../apps/coordinator/src/jobs/ports.js';
import { readLedger } from '../apps/coordinator/src/training/ledger.js';
import type { StepRecord } from '../apps/coordinator/src/training/ledger-format.js';
import { hashesOf, type Hashes } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { syntheticSpec, syntheticStepsPerEpoch } from './support/specs.js';
import { distribution, startSystem, type TestSystem } from './support/system.js';
import type { SystemOptions } from './support/test-system.js';

const samples = 209;
const [batchSize, shardSize, seed] = [48, 16, 5];
const order = { seed, shuffle: { kind: 'global' } } as const;
/** Two epochs and three steps. */
const steps = 2 * syntheticStepsPerEpoch + 3;
const expected = 2 * samples + 3 * batchSize;

/** Where a sample is in an epoch: in which step, and in which shard of it. */
function placeOf(sample: number, epoch: number): { step: number; shard: number } {
  const position = sampleIds(order, epoch, samples, 0, samples).indexOf(sample);
  const step = epoch * syntheticStepsPerEpoch + Math.floor(position / batchSize);
  return { step, shard: Math.floor((position % batchSize) / shardSize) };
}

/**
 * Comes up twice, early, so that steps remain in which nothing happens; and not in the first step, which the probe computes.
 */
const poisoned = Array.from({ length: samples }, (_, sample) => sample).find((sample) => {
  const [first, second, third] = [placeOf(sample, 0), placeOf(sample, 1), placeOf(sample, 2)];
  return first.step === 1 && second.step === syntheticStepsPerEpoch + 1 && third.step >= steps;
})!;
const places = [placeOf(poisoned, 0), placeOf(poisoned, 1)];
/** Ids of the samples of its shards, in the order of steps. */
const leftOut = places.map(({ step, shard }) => {
  const { epoch, first } = miniBatchPositions(samples, batchSize, step);
  return [...sampleIds(order, epoch, samples, first + shard * shardSize, shardSize)];
});

/** Two shards in a task: which of them is to blame has to be found. */
const spec = (onNotFinite: 'pause' | 'exclude'): object =>
  syntheticSpec({ steps, training: { seed, shardsPerTask: 2 }, rest: { faults: { onNotFinite } } });

function startPoisoned(options: SystemOptions): Promise<TestSystem> {
  const script = pathToFileURL(join(distribution, 'test/support/poisoned-images.js'));
  script.searchParams.set('sample', String(poisoned));
  return startSystem({ ...options, environment: { NODE_OPTIONS: `--import ${script.href}` } });
}

async function recordsOf(system: TestSystem, id: string): Promise<StepRecord[]> {
  return (await system.api.ledger(id)) as unknown as StepRecord[];
}

describe('onNotFinite: exclude', () => {
  let quiet: Hashes;
  beforeAll(async () => {
    const excluded = Object.fromEntries(places.map(({ step, shard }) => [step, [shard]]));
    quiet = hashesOf(await trainPlainly(spec('exclude'), { excluded }));
  });

  async function expectThatEnd(system: TestSystem, id: string): Promise<void> {
    const job = await system.api.untilState(id, 'completed');
    expect(hashesOf(job)).toEqual(quiet);
    const audit: AuditReport = await system.api.audit(id);
    const excluded = leftOut.flat().length;
    expect(audit).toMatchObject({ clean: true, version: steps, expected, duplicated: 0, missing: 0, problems: [] });
    expect(audit).toMatchObject({ excluded, committed: expected - excluded });
    const records = await recordsOf(system, id);
    expect(records).toHaveLength(steps);
    for (const [index, { step, shard }] of places.entries()) {
      expect(records[step]).toMatchObject({ excludedShards: [shard], excluded: leftOut[index] });
      expect(records[step]!.excluded).toContain(poisoned);
    }
    const others = records.filter(({ step }) => places.every((place) => place.step !== step));
    expect(others.flatMap((record) => record.excluded)).toEqual([]);
  }

  it('one worker goes on without the shard, scaled to the samples left', async () => {
    const system = await startPoisoned({ workers: 1 });
    await expectThatEnd(system, await system.api.submit(spec('exclude')));
    const [worker] = await system.api.workers();
    expect(worker!.refused['not_finite']).toBeGreaterThanOrEqual(2 * places.length);
  });

  it('three workers come to the same bits, and a coordinator that was killed repeats what it decided', async () => {
    const system = await startPoisoned({ workers: 3, reducers: 2 });
    const id = await system.api.submit(spec('exclude'));
    await system.api.untilJob(id, ({ step }) => step > places[1]!.step);
    await system.coordinator.killNow();
    const { records: before } = readLedger(join(system.dataDir, 'jobs', id, 'ledger.txt'));
    expect(before.length).toBeGreaterThan(places[1]!.step);
    await system.restartCoordinator();
    await expectThatEnd(system, id);
    // There was no checkpoint: all steps were run again, and none of them computed what is left out.
    expect((await recordsOf(system, id)).slice(0, before.length)).toEqual(before);
    for (const { refused } of await system.api.workers()) expect(refused).not.toHaveProperty('not_finite');
  });
});

describe('onNotFinite: pause', () => {
  it('pauses the job and names samples, worker and layer', async () => {
    const system = await startPoisoned({ workers: 2 });
    const id = await system.api.submit(spec('pause'));
    const { step, reason } = await system.api.untilState(id, 'paused');
    expect(step).toBe(places[0]!.step);
    expect(reason).toMatch(
      /^The gradient of step 1 is not finite, also when computed again \(last by worker worker-[12]\): \S/,
    );
    expect(reason).toContain(`It comes from the samples ${leftOut[0]!.join(', ')} (shard ${places[0]!.shard}).`);
    expect(reason).toContain('faults.onNotFinite: "exclude"');
    // What is wrong with the data stays wrong.
    await system.api.act(id, 'resume');
    await system.api.untilJob(id, ({ state }) => state === 'running');
    expect((await system.api.untilState(id, 'paused')).step).toBe(step);
  });
});
