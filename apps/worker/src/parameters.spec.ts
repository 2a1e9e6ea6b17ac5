import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clientCredentials } from '#proto/channel.js';
import { ParameterCache, type ParameterLease } from './parameters.js';
import { Slices } from './pool-caller.js';
import { FakeCoordinator } from './testing/fake-coordinator.js';

const sizes = { parameterCount: 300_000, statisticCount: 4 };

describe('ParameterCache', () => {
  let coordinator: FakeCoordinator;
  let slices: Slices;
  let cache: ParameterCache;

  beforeEach(async () => {
    const job = {
      ...{ specJson: '', layoutHash: '', datasetLocation: '', datasetsUrl: '', datasetIndex: '', datasetHash: '' },
      ...{ datasetContentsHash: '', datasetFiles: [], probeJson: '', kernelsJson: '' },
    };
    coordinator = new FakeCoordinator({ job, ...sizes, wire: 'float32', slices: 2 });
    await coordinator.start();
    slices = new Slices(coordinator.sliceAddresses, { credentials: clientCredentials(), token: undefined });
    cache = new ParameterCache(slices, pino({ level: 'silent' }));
  });

  afterEach(() => {
    cache.close();
    slices.close();
    coordinator.stop();
  });

  function publish(version: number, jobId = 'j'): void {
    coordinator.publish(jobId, 0, version, {
      parameters: new Float32Array(sizes.parameterCount).fill(version),
      statistics: new Float32Array(sizes.statisticCount).fill(version),
    });
  }

  async function acquire(version: number, jobId = 'j'): Promise<ParameterLease> {
    const request = { jobId, lineage: 0, version, layoutHash: '', ...sizes, exactCount: undefined };
    const lease = await cache.acquire(request, new AbortController().signal);
    await lease.whole;
    expect([lease.parameters[0], lease.parameters.at(-1), lease.statistics[3]]).toEqual([version, version, version]);
    return lease;
  }

  it('puts a version in the place of the one before, also where that was in use when it was asked for', async () => {
    publish(1);
    const first = await acquire(1);
    const waiting = acquire(2);
    await coordinator.until(() => coordinator.pulls === 4);
    first.release();
    publish(2);
    const second = await waiting;
    expect(second.parameters.buffer).toBe(first.parameters.buffer);
    expect(second.key).not.toBe(first.key);
    // What one holds another holds too, without another pull.
    expect((await acquire(2)).key).toBe(second.key);
    expect(coordinator.pulls).toBe(4);
  });

  it('leaves a version alone that is still computed with', async () => {
    publish(1);
    publish(2);
    const first = await acquire(1);
    const second = await acquire(2);
    expect(second.parameters.buffer).not.toBe(first.parameters.buffer);
    expect(first.parameters[7]).toBe(1);
  });

  it('keeps the versions of two jobs, and no third', async () => {
    for (const job of ['j', 'k', 'l']) publish(1, job);
    for (const job of ['j', 'k', 'j', 'k']) (await acquire(1, job)).release();
    expect(coordinator.pulls).toBe(4);
    (await acquire(1, 'l')).release();
    (await acquire(1, 'k')).release();
    expect(coordinator.pulls).toBe(6);
    (await acquire(1, 'j')).release();
    expect(coordinator.pulls).toBe(8);
  });
});
