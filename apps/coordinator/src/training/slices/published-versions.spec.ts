import { describe, expect, it } from 'vitest';
import type { PublishedVersion } from './messages.js';
import { PublishedVersions, VersionGoneError } from './published-versions.js';

const version = (number: number, lineage = 1): PublishedVersion => {
  return { jobId: 'j', lineage, version: number, checksum: number, buffer: number % 2 };
};
const never = new AbortController().signal;

describe('PublishedVersions', () => {
  it('wakes who waits for a version when it comes', async () => {
    const versions = new PublishedVersions('j');
    const waiting = versions.when(1, 3, never);
    versions.publish(version(2));
    versions.publish(version(3));
    expect(await waiting).toEqual(version(3));
    expect(await versions.when(1, 3, never)).toEqual(version(3));
  });

  it('turns away who asks for what is over', async () => {
    const versions = new PublishedVersions('j');
    const early = versions.when(1, 3, never);
    versions.publish(version(0, 2));
    await expect(early).rejects.toThrow(VersionGoneError);
    versions.publish(version(5, 2));
    await expect(versions.when(2, 4, never)).rejects.toThrow('Version 4 of job j is over.');
  });

  it('lets go of who went away, and of all when the job ends', async () => {
    const versions = new PublishedVersions('j');
    const gone = new AbortController();
    const left = versions.when(1, 1, gone.signal);
    const stays = versions.when(1, 1, never);
    gone.abort();
    await expect(left).rejects.toThrow('went away');
    versions.close();
    await expect(stays).rejects.toThrow('does not run any more');
  });

  it('ends the readers of a buffer before it is written to, and of that one only', () => {
    const versions = new PublishedVersions('j');
    const [zero, one] = [versions.readerSignal(0), versions.readerSignal(1)];
    versions.overwrite(1);
    expect([zero.aborted, one.aborted]).toEqual([false, true]);
    expect(versions.readerSignal(1).aborted).toBe(false);
  });
});
